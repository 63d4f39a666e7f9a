"""Plain HTTP: what is refused and how, what headers come back, and what goes wrong behind the gateway."""

import json
import re
import socket
from typing import Any

import pytest

from tests.conftest import BODY_TIMEOUT_S, KEY, MAX_BODY_BYTES, ORIGIN
from tests.e2e.gateway import GatewayProcess
from tests.e2e.talk import CHAT, HELLO, Wire, ask, chat, request_bytes, wire
from tests.fake import FakeProvider, Script

JSON_TYPE = "application/json"


def post(gateway: GatewayProcess, body: bytes, **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ask(gateway, "POST", CHAT, body, key=KEY, headers=named)


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "method", "allowed"), [
    (CHAT, "GET", "POST"), (CHAT, "PUT", "POST"), (CHAT, "DELETE", "POST"), ("/v1/models", "POST", "GET"),
    ("/v1/models/m", "DELETE", "GET"), ("/health", "POST", "GET"), ("/metrics", "PUT", "GET"),
])  # fmt: skip
def test_a_wrong_method_is_told_the_right_one(gateway: GatewayProcess, path: str, method: str, allowed: str) -> None:
    answer = ask(gateway, method, path, key=KEY)
    assert answer.status == 405
    assert answer.headers["allow"] == allowed
    assert answer.error["code"] == "method_not_allowed"
    assert answer.error["type"] == "invalid_request_error"


@pytest.mark.parametrize("path", ["/", "/v1", "/v2/chat/completions", "/v1/chat/completions/", "/v1/embeddings/x"])
def test_an_unknown_path_is_a_404_in_openais_shape(gateway: GatewayProcess, path: str) -> None:
    answer = ask(gateway, "POST", path, {"model": "m"}, key=KEY)
    assert answer.status in (404, 405 if path == "/" else 404)
    assert answer.headers["content-type"] == JSON_TYPE
    assert answer.error["message"]


def test_a_path_beyond_the_known_ones_says_so_to_those_with_a_key_only(gateway: GatewayProcess) -> None:
    assert ask(gateway, "GET", "/v1/secret-plans").status == 401
    answer = ask(gateway, "GET", "/v1/secret-plans", key=KEY)
    assert answer.status == 404
    assert answer.error["code"] == "not_found"
    assert "GET /v1/secret-plans" in answer.error["message"]


@pytest.mark.parametrize(("body", "code", "said"), [
    (b"", "empty_body", "empty"),
    (b"{", "invalid_json", "not valid JSON"),
    (b"{'model': 'm'}", "invalid_json", "not valid JSON"),
    (b"[1, 2]", "invalid_json", "must be a JSON object"),
    (b'"text"', "invalid_json", "must be a JSON object"),
    (b'{"model": "m", "messages": [], "x": "\xff"}', "invalid_json", "not UTF-8"),
    (b'{"x": ' + b"[" * 200 + b"]" * 200 + b"}", "json_too_deep", "deeper than 128"),
    (b'{"model": "by-tgi", "model": "m", "messages": [{"role": "user", "content": "hi"}]}', "duplicate_field", "twice"),
])  # fmt: skip
def test_a_body_that_cannot_be_read_says_why(gateway: GatewayProcess, body: bytes, code: str, said: str) -> None:
    answer = post(gateway, body)
    assert answer.status == 400
    assert answer.error["code"] == code
    assert said in answer.error["message"]


@pytest.mark.parametrize(("fields", "param", "code"), [
    ({"messages": HELLO}, "model", "missing_field"),
    ({"model": "", "messages": HELLO}, "model", "missing_field"),
    ({"model": 7, "messages": HELLO}, "model", "invalid_type"),
    ({"model": "m"}, "messages", "missing_field"),
    ({"model": "m", "messages": None}, "messages", None),
    ({"model": "m", "messages": "hello"}, "messages", "invalid_type"),
    ({"model": "m", "messages": HELLO, "stream": "yes"}, "stream", "invalid_type"),
])  # fmt: skip
def test_a_missing_or_wrong_field_is_named(
    gateway: GatewayProcess, fake: FakeProvider, fields: Any, param: str, code: str | None
) -> None:
    answer = post(gateway, json.dumps(fields).encode())
    assert answer.status == 400
    assert answer.error["param"] == param
    assert code is None or answer.error["code"] == code
    assert f"'{param}'" in answer.error["message"]
    assert not fake.requests("fake-model")


@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
)
def test_a_media_type_that_is_not_json_is_a_415(gateway: GatewayProcess, media_type: str) -> None:
    answer = post(gateway, json.dumps({"model": "m", "messages": HELLO}).encode(), content_type=media_type)
    assert answer.status == 415
    assert answer.error["code"] == "unsupported_media_type"
    assert media_type.partition(";")[0] in answer.error["message"]


def test_a_compressed_body_is_a_415(gateway: GatewayProcess) -> None:
    assert post(gateway, b"\x1f\x8b", content_encoding="gzip").status == 415


@pytest.mark.parametrize("media_type", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/x+json"])
def test_other_spellings_of_json_are_fine(gateway: GatewayProcess, media_type: str) -> None:
    assert post(gateway, json.dumps({"model": "m", "messages": HELLO}).encode(), content_type=media_type).status == 200


def test_a_body_announced_too_long_is_a_413_before_it_is_sent(gateway: GatewayProcess) -> None:
    head = request_bytes({"model": "m"}, key=KEY).partition(b"Content-Length")[0]
    with wire(gateway) as client:
        client.send(head + b"Content-Length: %d\r\n\r\n{" % (MAX_BODY_BYTES + 1))
        received = client.read_until(b"}}")
    assert received.startswith(b"HTTP/1.1 413 ")
    assert b"request_too_large" in received


def test_a_chunked_body_is_a_413_once_it_is_too_long(gateway: GatewayProcess, fake: FakeProvider) -> None:
    head = request_bytes({"model": "m"}, key=KEY).partition(b"Content-Length")[0]
    with wire(gateway) as client:
        client.send(head + b"Transfer-Encoding: chunked\r\n\r\n")
        piece = b"%x\r\n%b\r\n" % (65_536, b" " * 65_536)
        for _ in range(MAX_BODY_BYTES // 65_536 + 2):
            client.send(piece)
        received = client.read_until(b"}}")
    assert received.startswith(b"HTTP/1.1 413 ")
    assert not fake.requests("fake-model")


def test_a_body_of_the_longest_length_allowed_passes_in_either_framing(gateway: GatewayProcess) -> None:
    body = json.dumps({"model": "m", "messages": HELLO}).encode()
    body += b" " * (MAX_BODY_BYTES - len(body))
    assert post(gateway, body).status == 200
    head = request_bytes({"model": "m"}, key=KEY).partition(b"Content-Length")[0]
    with wire(gateway) as client:
        client.send(head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        assert client.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("sent", [b"", b'{"model":'])
def test_a_body_that_does_not_come_is_a_408(gateway: GatewayProcess, sent: bytes) -> None:
    head = request_bytes({"model": "m"}, key=KEY, more="X-Request-ID: late-body\r\n").partition(b"\r\n\r\n")[0]
    with wire(gateway, timeout_s=BODY_TIMEOUT_S + 3) as client:
        client.send(head + b"\r\n\r\n" + sent)
        received = client.read_until(b"}}")
    assert received.startswith(b"HTTP/1.1 408 ")
    assert b"request_timeout" in received


def test_a_body_that_trickles_in_is_read_whole(gateway: GatewayProcess) -> None:
    data = request_bytes({"model": "m"}, key=KEY)
    with wire(gateway) as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(data), 3):
            client.send(data[start : start + 3])
        assert client.read_until(b"You said: hello").startswith(b"HTTP/1.1 200 ")


# -- pages ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/health", "/v1/health", "/health/live", "/health/ready", "/ready", "/metrics"])
def test_open_pages_need_no_key_and_answer_head_without_a_body(gateway: GatewayProcess, path: str) -> None:
    assert ask(gateway, "GET", path).body
    answer = ask(gateway, "HEAD", path)
    assert (answer.status, answer.body) == (200, b"")


def test_the_model_list_answers_head(gateway: GatewayProcess) -> None:
    answer = ask(gateway, "HEAD", "/v1/models", key=KEY)
    assert (answer.status, answer.body) == (200, b"")


def test_paths_without_v1_work_too(gateway: GatewayProcess) -> None:
    assert ask(gateway, "GET", "/models", key=KEY).json["object"] == "list"
    assert ask(gateway, "POST", "/chat/completions", {"model": "m", "messages": HELLO}, key=KEY).status == 200


def test_a_query_changes_nothing(gateway: GatewayProcess) -> None:
    assert ask(gateway, "POST", f"{CHAT}?api-version=1", {"model": "m", "messages": HELLO}, key=KEY).status == 200


# -- browsers ---------------------------------------------------------------------------------------------------------


def test_a_preflight_is_told_what_a_browser_may_send(gateway: GatewayProcess) -> None:
    answer = ask(gateway, "OPTIONS", CHAT, headers={
        "Origin": ORIGIN, "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type, x-stainless-lang",
    })  # fmt: skip
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "x-stainless-lang" in answer.headers["access-control-allow-headers"]
    assert int(answer.headers["access-control-max-age"]) > 0


def test_a_preflight_from_elsewhere_gets_no_permission(gateway: GatewayProcess) -> None:
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    answer = ask(gateway, "OPTIONS", CHAT, headers=asked)
    assert "access-control-allow-origin" not in answer.headers


def test_options_without_a_preflight_is_a_405(gateway: GatewayProcess) -> None:
    assert ask(gateway, "OPTIONS", CHAT, key=KEY).status == 405


@pytest.mark.parametrize("model", ["m", "nonesuch"])
def test_a_page_of_an_allowed_origin_may_read_answers_and_errors(gateway: GatewayProcess, model: str) -> None:
    answer = chat(gateway, model, key=KEY, headers={"Origin": ORIGIN})
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert answer.headers["vary"] == "origin"
    assert "x-request-id" in answer.headers["access-control-expose-headers"]


def test_a_page_of_another_origin_may_read_nothing(gateway: GatewayProcess) -> None:
    answer = chat(gateway, "m", key=KEY, headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in answer.headers


# -- what comes back with an answer -----------------------------------------------------------------------------------


def test_a_request_id_is_accepted_echoed_and_passed_on(gateway: GatewayProcess, fake: FakeProvider) -> None:
    answer = chat(gateway, "m", key=KEY, headers={"X-Request-ID": "trace-1:a.b_c"})
    assert answer.headers["x-request-id"] == "trace-1:a.b_c"
    assert fake.last_request("fake-model").header("x-request-id") == "trace-1:a.b_c"


@pytest.mark.parametrize("given", ["has space", "x" * 129, "semi;colon", "caf\xe9", ""])
def test_an_unfit_request_id_is_replaced_by_a_minted_one(gateway: GatewayProcess, given: str) -> None:
    answer = chat(gateway, "m", key=KEY, headers={"X-Request-ID": given})
    assert re.fullmatch("req_[0-9a-f]{24}", answer.headers["x-request-id"])


def test_request_ids_are_minted_and_differ(gateway: GatewayProcess) -> None:
    minted = {chat(gateway, "m", key=KEY).headers["x-request-id"] for _ in range(5)}
    assert len(minted) == 5


def test_errors_have_a_request_id_too(gateway: GatewayProcess) -> None:
    assert chat(gateway, "m", headers={"X-Request-ID": "err-1"}).headers["x-request-id"] == "err-1"


def test_an_answer_says_who_gave_it_and_what_the_gateway_took(gateway: GatewayProcess, fake: FakeProvider) -> None:
    fake.script("fake-model", Script(delay_before_headers_s=0.2))
    answer = chat(gateway, "m", key=KEY)
    assert answer.headers["x-provider"] == "up"
    assert answer.headers["x-cache-status"] == "MISS"
    assert answer.headers["content-type"] == JSON_TYPE
    assert 0 <= float(answer.headers["x-gateway-overhead-ms"]) < 150
    extension = answer.json["x_gateway"]
    assert extension["provider"] == "up"
    assert extension["latency_ms"] >= 200
    assert extension["cost_usd"] is None


def test_a_whole_reply_is_the_providers_own_but_for_the_extension(gateway: GatewayProcess, fake: FakeProvider) -> None:
    choice = b'{"index":0,"message":{"role":"assistant","content":"\\u2603"},"finish_reason":"stop"}'
    body = b'{ "id":"x",  "choices": [' + choice + b'], "later": 1e2}'
    fake.script("fake-model", Script(raw_body=body))
    answer = chat(gateway, "m", key=KEY)
    assert answer.body.startswith(body[:-1])
    assert answer.json["x_gateway"]["provider"] == "up"


def test_a_target_that_cannot_be_reached_is_passed_over(gateway: GatewayProcess, fake: FakeProvider) -> None:
    answer = chat(gateway, "second-best", key=KEY)
    assert answer.status == 200
    assert answer.headers["x-provider"] == "up"
    assert fake.last_request("second").json["model"] == "second"


def test_a_name_under_a_prefix_rule_keeps_its_name(gateway: GatewayProcess, fake: FakeProvider) -> None:
    assert chat(gateway, "rule-of-thumb", key=KEY).status == 200
    assert fake.last_request("rule-of-thumb").json["model"] == "rule-of-thumb"


@pytest.mark.parametrize("model", ["up/any/thing", "up:any/thing"])
def test_a_name_may_say_its_provider(gateway: GatewayProcess, fake: FakeProvider, model: str) -> None:
    assert chat(gateway, model, key=KEY).status == 200
    assert fake.requests("any/thing")


def test_the_upstream_gets_its_own_key_and_no_header_of_the_client(gateway: GatewayProcess, fake: FakeProvider) -> None:
    chat(gateway, "m", key=KEY, headers={"X-Forwarded-For": "10.1.2.3", "Cookie": "a=b", "X-Api-Key": "zzz"})
    sent = dict(fake.last_request("fake-model").headers)
    assert "Cookie" not in {name.title() for name in sent}
    assert not any(name.lower() in ("x-forwarded-for", "x-api-key", "cookie") for name in sent)
    assert KEY not in str(sent)


# -- what goes wrong behind the gateway -------------------------------------------------------------------------------


def test_a_provider_that_refuses_connections_is_a_502(gateway: GatewayProcess) -> None:
    answer = chat(gateway, "closed/x", key=KEY)
    assert answer.status == 502
    assert answer.error["code"] == "upstream_unavailable"
    assert answer.error["type"] == "upstream_error"
    assert answer.json["error"]["provider"] == "closed"
    assert answer.headers["x-provider"] == "closed"


@pytest.mark.parametrize(("script", "code"), [
    (Script(raw_head=b"NONSENSE\r\n\r\n", raw_body=b""), "upstream_unavailable"),
    (Script(raw_body=b"<html>it works</html>"), "upstream_invalid_response"),
    (Script(raw_body=b'{"choices": []'), "upstream_invalid_response"),
    (Script(cut_after_bytes=30), "upstream_truncated"),
    (Script(cut_after_bytes=30, cut="reset"), "upstream_truncated"),
    (Script(header_flood_bytes=1_000_000), "upstream_invalid_response"),
    (Script(redirect_to="http://127.0.0.1:1/v1/elsewhere"), "upstream_invalid_response"),
])  # fmt: skip
def test_an_answer_that_is_none_is_a_502(
    gateway: GatewayProcess, fake: FakeProvider, script: Script, code: str
) -> None:
    fake.script("fake-model", script)
    answer = chat(gateway, "m", key=KEY)
    assert answer.status == 502
    assert answer.error["code"] == code
    assert answer.error["message"].startswith("up: ")


def test_a_200_that_holds_an_error_is_an_error(gateway: GatewayProcess, fake: FakeProvider) -> None:
    fake.script("fake-model", Script(raw_body=b'{"error": {"message": "no credit", "code": 402}}'))
    answer = chat(gateway, "m", key=KEY)
    assert answer.status == 402
    assert "no credit" in answer.error["message"]


@pytest.mark.parametrize("body", [b"<html>Bad gateway</html>", b"", b"upstream connect error", b"{}", b"[]"])
def test_an_upstream_error_in_any_shape_keeps_its_status(
    gateway: GatewayProcess, fake: FakeProvider, body: bytes
) -> None:
    fake.script("fake-model", Script(status=503, raw_body=body))
    answer = chat(gateway, "m", key=KEY)
    assert answer.status == 503
    assert answer.error["message"].startswith("up: ")
    assert "<html>" not in answer.error["message"]


def test_a_full_line_is_a_429_and_one_that_does_not_move_a_504(gateway: GatewayProcess, fake: FakeProvider) -> None:
    fake.script("busy", Script(hang_before_headers=True))
    holder, waiter = Wire(gateway), Wire(gateway)
    try:
        holder.send(request_bytes({"model": "crowded/busy"}, key=KEY))
        fake.wait_for(lambda entry: getattr(entry, "model", "") == "busy")
        waiter.send(request_bytes({"model": "crowded/busy"}, key=KEY))
        refused = chat(gateway, "crowded/busy", key=KEY)
        while refused.status == 504:  # it was here before the waiter
            refused = chat(gateway, "crowded/busy", key=KEY)
        assert refused.status == 429
        assert refused.error["code"] == "queue_full"
        assert refused.headers["retry-after"] == "1"
        waited = waiter.read_until(b"}}")
        assert waited.startswith(b"HTTP/1.1 504 ")
        assert b"queue_timeout" in waited
    finally:
        holder.leave()
        waiter.leave()


def test_a_stale_pooled_connection_costs_the_client_nothing(gateway: GatewayProcess, fake: FakeProvider) -> None:
    assert chat(gateway, "m", key=KEY).status == 200
    for _ in range(3):
        fake.script("fake-model", [Script(close_on_reuse=True), Script()])
        assert chat(gateway, "m", key=KEY).status == 200
        assert chat(gateway, "m", key=KEY).status == 200


def test_many_requests_on_one_connection_are_answered_in_order(gateway: GatewayProcess) -> None:
    with wire(gateway) as client:
        for number in range(10):
            client.send(
                request_bytes({"model": "m", "messages": [{"role": "user", "content": f"n{number}."}]}, key=KEY)
            )
            assert f"You said: n{number}.".encode() in client.read_until(b"x_gateway")
