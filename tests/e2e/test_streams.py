"""Streams: passed on byte for byte, broken in every way, and silent for a while."""

import json
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.conftest import HASTY, KEY
from tests.e2e.gateway import GatewayProcess
from tests.e2e.talk import CHAT, chat, frames, payloads, request_bytes, text_of, the_one_error, unchunked, wire
from tests.fake import FakeProvider, Script, ToolCall, Usage
from tests.fault import FaultProxy

KEEPALIVE_S = 0.15
DONE = b"data: [DONE]\n\n"
CHUNK = (
    b'data: {"id": "x",  "choices": [{"index": 0, "delta": {"content": "%b"}, "finish_reason": null}], "o": 1e2}\n\n'
)
LAST = b'data: {"id": "x", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\n'
FAILURES = pytest.mark.parametrize(("script", "code"), [
    (Script(chunks=["a ", "b ", "c "], cut_after_bytes=700), "upstream_truncated"),
    (Script(chunks=["a ", "b ", "c "], cut_after_bytes=700, cut="reset"), "upstream_truncated"),
    (Script(chunks=["a ", "b ", "c "], cut_after_bytes=700, framing="close"), "upstream_truncated"),
    (Script(raw_frames=[CHUNK % b"a ", b"data: {nonsense\n\n", LAST, DONE]), "upstream_invalid_response"),
    (Script(raw_frames=[CHUNK % b"a ", b'data: {"error": {"message": "cold", "code": "cold"}}\n\n', DONE]), "cold"),
    (Script(raw_frames=[CHUNK % b"a ", b'event: error\ndata: {"message": "cold"}\n\n', DONE]), "upstream_error"),
    (Script(raw_frames=[CHUNK % b"a ", b"data: " + b"x" * (1 << 21)]), "upstream_invalid_response"),
    (Script(raw_frames=[CHUNK % b"a "]), "upstream_truncated"),
])  # fmt: skip


@pytest.fixture(scope="module")
def restless(gateway_config: dict[str, Any]) -> Iterator[GatewayProcess]:
    """A gateway that soon breaks a silence."""
    server = gateway_config["server"] | {"keepalive_s": KEEPALIVE_S}
    with GatewayProcess(gateway_config | {"server": server}) as gateway:
        yield gateway


def stream_of(gateway: GatewayProcess, model: str = "m", **fields: Any) -> Any:
    answer = chat(gateway, model, key=KEY, stream=True, **fields)
    assert answer.status == 200, answer.body
    return answer


# -- as they come -----------------------------------------------------------------------------------------------------


def test_frames_pass_byte_for_byte(gateway: GatewayProcess, fake: FakeProvider) -> None:
    sent = [CHUNK % "snö☃ ".encode(), b": a comment\n\n", b"event: odd\nid: 7\n" + CHUNK % b"b", LAST, DONE]
    fake.script("fake-model", Script(raw_frames=sent))
    assert stream_of(gateway).body == b"".join(sent)


@pytest.mark.parametrize("size", [1, 2, 7, 61, 1000])
def test_however_they_are_cut(gateway: GatewayProcess, fake: FakeProvider, size: int) -> None:
    sent = [CHUNK % "snö☃ ".encode(), CHUNK % b"b", LAST, DONE]
    fake.script("fake-model", Script(raw_frames=sent, split=size, split_pause_s=0.0))
    assert stream_of(gateway).body == b"".join(sent)


def test_what_the_fake_says_is_what_the_client_gets(gateway: GatewayProcess, fake: FakeProvider) -> None:
    script = Script(text="one two three", tool_calls=[ToolCall("c", "f", '{"a": 1}')], thinking="hm hm")
    fake.script("fake-model", script)
    direct = chat(fake, "fake-model", stream=True, stream_options={"include_usage": True})
    through = stream_of(gateway, stream_options={"include_usage": True})

    def comparable(body: bytes) -> bytes:
        said = [one if one == "[DONE]" else one | {"id": "", "created": 0} for one in payloads(body)]
        return json.dumps(said).encode()

    assert comparable(through.body) == comparable(direct.body)
    assert through.body.endswith(DONE)


@pytest.mark.parametrize("model", ["m", "by-ollama", "by-tgi"])
def test_a_stream_has_the_headers_that_keep_proxies_from_holding_it_back(gateway: GatewayProcess, model: str) -> None:
    headers = stream_of(gateway, model).headers
    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    assert headers["cache-control"] == "no-cache, no-transform"
    assert headers["x-accel-buffering"] == "no"
    assert "content-length" not in headers
    assert {"x-request-id", "x-provider", "x-cache-status", "x-gateway-overhead-ms"} <= headers.keys()


@pytest.mark.parametrize("model", ["m", "by-ollama", "by-tgi"])
def test_pieces_arrive_when_they_are_said(gateway: GatewayProcess, fake: FakeProvider, model: str) -> None:
    fake.script("fake-model", Script(chunks=["first ", "second "], delay_between_chunks_s=0.4))
    with wire(gateway) as client:
        client.send(request_bytes({"model": model, "stream": True}, key=KEY))
        client.read_until(b"first")
        first_at = time.monotonic()
        client.read_until(b"second")
        assert time.monotonic() - first_at > 0.2


def test_a_usage_chunk_nobody_asked_for_is_kept_back_and_counted(gateway: GatewayProcess, fake: FakeProvider) -> None:
    fake.script("fake-model", Script(text="a b c", usage=Usage(input_tokens=11, output_tokens=3, cached_tokens=4)))
    answer = chat(gateway, "m", key=KEY, stream=True, headers={"X-Request-ID": "kept-back"})
    assert b'"prompt_tokens"' not in answer.body
    assert fake.last_request("fake-model").json["stream_options"] == {"include_usage": True}
    record = gateway.record_of("kept-back")
    assert (record["input_tokens"], record["output_tokens"], record["cached_input_tokens"]) == (11, 3, 4)


def test_a_stream_without_done_gets_one_when_it_was_complete(gateway: GatewayProcess, fake: FakeProvider) -> None:
    fake.script("fake-model", Script(text="all of it", omit_done=True))
    body = stream_of(gateway).body
    assert body.endswith(DONE)
    assert text_of(payloads(body)) == "all of it"


def test_a_whole_answer_to_a_streamed_request_becomes_a_stream(gateway: GatewayProcess, fake: FakeProvider) -> None:
    body = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "at once"}, "finish_reason": "stop"}]}
    fake.script("fake-model", Script(raw_body=json.dumps(body).encode(), headers={"Content-Type": "application/json"}))
    answer = stream_of(gateway)
    assert text_of(payloads(answer.body)) == "at once"
    assert answer.body.endswith(DONE)
    assert answer.headers["content-type"].startswith("text/event-stream")


# -- broken -----------------------------------------------------------------------------------------------------------


@FAILURES
def test_a_stream_that_fails_ends_in_one_error_and_no_done(
    gateway: GatewayProcess, fake: FakeProvider, script: Script, code: str
) -> None:
    fake.script("fake-model", script)
    body = stream_of(gateway).body
    error = the_one_error(body)
    assert error["code"] == code
    assert error["provider"] == "up"
    assert text_of(payloads(body)).startswith("a ")


@pytest.mark.parametrize("model", ["by-ollama", "by-tgi"])
@pytest.mark.parametrize("how", ["close", "reset"])
def test_so_does_one_that_is_translated(gateway: GatewayProcess, fake: FakeProvider, model: str, how: Any) -> None:
    fake.script("fake-model", Script(chunks=["a ", "b ", "c ", "d "], cut_after_bytes=400, cut=how))
    body = stream_of(gateway, model).body
    assert the_one_error(body)["code"] == "upstream_truncated"
    assert text_of(payloads(body)).startswith("a ")


def test_the_log_says_what_became_of_a_broken_stream(gateway: GatewayProcess, fake: FakeProvider) -> None:
    fake.script("fake-model", Script(chunks=["a ", "b ", "c "], cut_after_bytes=700))
    chat(gateway, "m", key=KEY, stream=True, headers={"X-Request-ID": "broken-stream"})
    record = gateway.record_of("broken-stream")
    assert record["error"]["code"] == "upstream_truncated"
    assert record["delivered_bytes"] > 0


def test_a_stream_that_fails_before_its_first_frame_is_a_plain_error(
    gateway: GatewayProcess, fake: FakeProvider
) -> None:
    fake.script("fake-model", Script(chunks=["a "], cut_after_bytes=10))
    answer = chat(gateway, "m", key=KEY, stream=True)
    assert answer.status == 502
    assert answer.error["code"] == "upstream_truncated"


def test_a_stream_that_fails_before_its_first_frame_goes_to_the_next_target(fake: FakeProvider) -> None:
    up = {"kind": "openai_compatible", "base_url": f"{fake.url}/v1", "discover": False}
    config = {"providers": {"one": up, "two": up}, "models": {"x": {"targets": ["one/first", "two/second"]}}}
    fake.script("first", Script(cut_after_bytes=10))
    with GatewayProcess(config) as gateway:
        answer = stream_of(gateway, "x")
    assert answer.headers["x-provider"] == "two"
    assert answer.body.endswith(DONE)
    assert len(fake.requests("first")) == len(fake.requests("second")) == 1


# -- deadlines --------------------------------------------------------------------------------------------------------


def timed(gateway: GatewayProcess, model: str, **fields: Any) -> tuple[Any, float]:
    began_at = time.monotonic()
    answer = chat(gateway, model, key=KEY, **fields)
    return answer, time.monotonic() - began_at


def test_a_connection_that_is_not_made_is_given_up_in_time(gateway: GatewayProcess) -> None:
    answer, took_s = timed(gateway, "deaf/x")
    assert answer.status == 504
    assert "timeouts.connect_s" in answer.error["message"]
    assert HASTY["connect_s"] <= took_s < HASTY["connect_s"] + 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_first_byte_that_does_not_come_is_given_up_in_time(
    gateway: GatewayProcess, fake: FakeProvider, stream: bool
) -> None:
    fake.script("slow", Script(hang_before_headers=True))
    answer, took_s = timed(gateway, "hasty/slow", stream=stream)
    assert answer.status == 504
    assert answer.error["type"] == "timeout_error"
    assert "timeouts.first_byte_s" in answer.error["message"]
    assert HASTY["first_byte_s"] <= took_s < HASTY["first_byte_s"] + 1


def test_headers_alone_are_no_first_byte_of_a_stream(gateway: GatewayProcess, fake: FakeProvider) -> None:
    fake.script("slow", Script(delay_before_first_byte_s=30))
    answer, took_s = timed(gateway, "hasty/slow", stream=True)
    assert answer.status == 504
    assert took_s < HASTY["first_byte_s"] + 1


def test_a_silence_between_chunks_is_given_up_in_time_and_in_band(gateway: GatewayProcess, fake: FakeProvider) -> None:
    fake.script("slow", Script(chunks=["a ", "b "], cut_after_bytes=300, cut="hang"))
    answer, took_s = timed(gateway, "hasty/slow", stream=True)
    error = the_one_error(answer.body)
    assert error["code"] == "upstream_timeout"
    assert "timeouts.between_chunks_s" in error["message"]
    assert HASTY["between_chunks_s"] <= took_s < HASTY["between_chunks_s"] + 1


def test_a_call_that_never_ends_is_given_up_in_time(gateway: GatewayProcess, fake: FakeProvider) -> None:
    fake.script("slow", Script(chunks=["a "], repeat_chunks=1000, delay_between_chunks_s=0.1))
    answer, took_s = timed(gateway, "hasty/slow", stream=True)
    assert "timeouts.total_s" in the_one_error(answer.body)["message"]
    assert HASTY["total_s"] <= took_s < HASTY["total_s"] + 1


def test_a_provider_that_freezes_is_given_up_in_time(gateway: GatewayProcess, proxy: FaultProxy) -> None:
    """No FIN, no RST, only nothing: the default deadlines are long, so the client's patience is what ends it."""
    assert chat(gateway, "proxied/x", key=KEY).status == 200
    proxy.black_hole()
    with wire(gateway) as client:
        client.send(request_bytes({"model": "proxied/x"}, key=KEY, more="X-Request-ID: frozen\r\n"))
        time.sleep(0.3)
    assert gateway.record_of("frozen")["status"] == 499


# -- silences ---------------------------------------------------------------------------------------------------------


def test_comments_break_the_silence_before_the_first_token(restless: GatewayProcess, fake: FakeProvider) -> None:
    fake.script("fake-model", Script(text="at last", delay_before_headers_s=KEEPALIVE_S * 5))
    body = stream_of(restless).body
    comments = [frame for frame in frames(body) if frame.startswith(b":")]
    assert 2 <= len(comments) <= 6
    assert frames(body)[: len(comments)] == comments
    assert text_of(payloads(body)) == "at last"
    assert body.endswith(DONE)


@pytest.mark.parametrize("model", ["m", "by-ollama", "by-tgi"])
def test_comments_break_the_silence_between_chunks(restless: GatewayProcess, fake: FakeProvider, model: str) -> None:
    fake.script("fake-model", Script(chunks=["a ", "b "], delay_between_chunks_s=KEEPALIVE_S * 2.5))
    body = stream_of(restless, model).body
    assert any(frame.startswith(b":") for frame in frames(body)[1:-1])
    assert text_of(payloads(body)) == "a b "
    assert body.endswith(DONE)


def test_no_comment_comes_while_there_is_something_to_say(restless: GatewayProcess, fake: FakeProvider) -> None:
    fake.script("fake-model", Script(chunks=["a "], repeat_chunks=40, delay_between_chunks_s=KEEPALIVE_S / 8))
    assert not any(frame.startswith(b":") for frame in frames(stream_of(restless).body))


def test_a_reply_that_is_not_streamed_has_no_comments(restless: GatewayProcess, fake: FakeProvider) -> None:
    fake.script("fake-model", Script(text="at last", delay_before_headers_s=KEEPALIVE_S * 3))
    answer = chat(restless, "m", key=KEY)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json["choices"][0]["message"]["content"] == "at last"


@pytest.mark.parametrize("script", [
    Script(delay_before_headers_s=KEEPALIVE_S * 3, status=429, error="slow down"),
    Script(delay_before_headers_s=KEEPALIVE_S * 3, cut_after_bytes=0, cut="reset"),
])  # fmt: skip
def test_an_error_after_a_comment_comes_in_band(restless: GatewayProcess, fake: FakeProvider, script: Script) -> None:
    fake.script("fake-model", script)
    answer = chat(restless, "m", key=KEY, stream=True)
    assert answer.status == 200
    assert frames(answer.body)[0].startswith(b":")
    assert the_one_error(answer.body)["provider"] == "up"
    fake.script("fake-model", script)
    with (
        OpenAI(api_key=KEY, base_url=f"{restless.url}/v1", max_retries=0) as client,
        pytest.raises(openai.APIError),
    ):
        list(client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}], stream=True))


def test_the_sdk_does_not_see_the_comments(restless: GatewayProcess, fake: FakeProvider) -> None:
    fake.script("fake-model", Script(chunks=["a ", "b "], delay_between_chunks_s=KEEPALIVE_S * 2))
    with OpenAI(api_key=KEY, base_url=f"{restless.url}/v1", max_retries=0) as client:
        stream = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}], stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "a b "


def test_a_stream_over_http_1_0_ends_with_its_connection(gateway: GatewayProcess) -> None:
    data = request_bytes({"model": "m", "stream": True}, key=KEY).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    with wire(gateway) as client:
        client.send(data)
        received = client.read_all()
    assert unchunked(received).endswith(DONE)
    assert CHAT.encode() in data
