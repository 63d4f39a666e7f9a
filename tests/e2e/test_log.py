"""One JSON record per request on standard output, and not one secret anywhere."""

import time
from datetime import datetime
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.conftest import KEY, UPSTREAM_KEY
from tests.e2e.gateway import GatewayProcess
from tests.e2e.talk import CHAT, HELLO, ask, chat
from tests.fake import FakeProvider, Script, Usage

CANARIES = {
    "upstream key": "sk-canary-upstream-51c9e4",
    "upstream header": "canary-header-8d20ab",
    "client key": "sk-canary-client-77e1f0",
    "a wrong key": "sk-canary-wrong-2b6d94",
    "content": "canary-content-c03f5e",
    "another header": "canary-cookie-19aa7d",
}


def logged(gateway: GatewayProcess, request_id: str, model: str = "m", **fields: Any) -> dict[str, Any]:
    chat(gateway, model, key=KEY, headers={"X-Request-ID": request_id}, **fields)
    return gateway.record_of(request_id)


def test_a_record_says_what_happened(gateway: GatewayProcess, fake: FakeProvider) -> None:
    usage = Usage(input_tokens=9, output_tokens=4, cached_tokens=2, reasoning_tokens=1)
    fake.script("fake-model", Script(text="a b c d", usage=usage, delay_before_headers_s=0.1))
    record = logged(gateway, "log-whole")
    datetime.fromisoformat(record.pop("time"))
    assert record.pop("duration_ms") >= 100
    assert record.pop("upstream_ms") >= 100
    assert record.pop("first_byte_ms") >= 100
    assert record.pop("delivered_bytes") > 100
    assert record == {
        "level": "info", "event": "request", "request_id": "log-whole", "surface": "openai", "method": "POST",
        "path": CHAT, "status": 200, "key": "full", "model": "m", "stream": False, "provider": "up",
        "upstream_model": "fake-model", "attempts": 1, "input_tokens": 9, "output_tokens": 4,
        "cached_input_tokens": 2, "reasoning_tokens": 1,
    }  # fmt: skip


def test_a_stream_is_recorded_when_it_has_ended(gateway: GatewayProcess, fake: FakeProvider) -> None:
    fake.script("fake-model", Script(chunks=["a ", "b "], delay_between_chunks_s=0.1))
    record = logged(gateway, "log-stream", stream=True)
    assert record["stream"] is True
    assert record["duration_ms"] >= 100 > record["first_byte_ms"] >= 0
    assert record["output_tokens"] == 2


@pytest.mark.parametrize(("request_id", "model", "fields", "status", "code"), [
    ("log-404", "nonesuch", {}, 404, "model_not_found"),
    ("log-400", "m", {"messages": "x"}, 400, "invalid_type"),
    ("log-502", "closed/x", {}, 502, "upstream_unavailable"),
])  # fmt: skip
def test_an_error_is_in_its_record(
    gateway: GatewayProcess, request_id: str, model: str, fields: Any, status: int, code: str
) -> None:
    record = logged(gateway, request_id, model, **fields)
    assert record["status"] == status
    assert record["error"]["code"] == code
    assert record["error"]["message"]


def test_attempts_at_several_targets_are_counted(gateway: GatewayProcess) -> None:
    record = logged(gateway, "log-second", "second-best")
    assert (record["attempts"], record["provider"], record["upstream_model"]) == (2, "up", "second")


def test_requests_without_a_model_are_recorded_and_open_pages_are_not(gateway: GatewayProcess) -> None:
    ask(gateway, "GET", "/v1/models", key=KEY, headers={"X-Request-ID": "log-models"})
    ask(gateway, "GET", "/v1/nowhere", headers={"X-Request-ID": "log-nowhere"})
    for path in ("/health", "/health/ready", "/metrics"):
        ask(gateway, "GET", path, headers={"X-Request-ID": "log-page"})
    assert gateway.record_of("log-models")["path"] == "/v1/models"
    assert gateway.record_of("log-nowhere")["status"] == 401
    time.sleep(0.2)
    assert not [record for record in gateway.log_records() if record["request_id"] == "log-page"]


def test_every_request_has_exactly_one_record(gateway: GatewayProcess) -> None:
    for number in range(30):
        chat(gateway, "m", key=KEY if number % 3 else None, headers={"X-Request-ID": f"log-one-{number}"})
    for number in range(30):
        gateway.record_of(f"log-one-{number}")


def test_a_line_break_in_a_name_stays_inside_its_record(gateway: GatewayProcess) -> None:
    record = logged(gateway, "log-break", 'm\n{"event": "forged"}\r\n')
    assert record["status"] == 404
    assert not [one for one in gateway.log_records() if one["event"] == "forged"]


def test_no_secret_is_anywhere(fake: FakeProvider) -> None:
    """Through whole and streamed answers, refusals that repeat the key, discovery, pages and every error we know."""
    up = {
        "kind": "openai_compatible",
        "base_url": f"{fake.url}/v1",
        "api_key": CANARIES["upstream key"],
        "headers": {"X-Project": CANARIES["upstream header"]},
    }
    keys = [{"key": CANARIES["client key"], "name": "somebody", "models": ["up/*"]}]
    fake.script("echo", Script(status=401, error=f"Incorrect API key provided: {CANARIES['upstream key']}."))
    fake.script("head", Script(status=403, error=f"Project {CANARIES['upstream header']} is closed"))
    fake.script("mid", Script(chunks=["a "], stream_error=f"expired: {CANARIES['upstream key']}"))
    fake.script("GET /v1/models", Script(status=401, error=f"Incorrect API key: {CANARIES['upstream key']}"))
    config = {"providers": {"up": up, "ollama": {"base_url": fake.url, "api_key": CANARIES["upstream key"]}}}
    with GatewayProcess(config | {"keys": keys}) as gateway:
        seen = []
        for model in ("up/ok", "up/echo", "up/head", "up/mid", "ollama/x", "up", "nonesuch"):
            for stream in (False, True):
                for key in (CANARIES["client key"], CANARIES["a wrong key"]):
                    headers = {"Cookie": CANARIES["another header"]}
                    messages = [{"role": "user", "content": "hi"}]
                    answer = chat(gateway, model, key=key, headers=headers, stream=stream, messages=messages)
                    seen += [answer.body, repr(answer.headers).encode()]
        said = [{"role": "user", "content": CANARIES["content"], "role2": 1}]
        ask(gateway, "POST", CHAT, {"model": "up/quiet", "messages": said}, key=CANARIES["client key"])
        for body in (b"{" + CANARIES["content"].encode(), {"model": CANARIES["content"][:0], "messages": HELLO}):
            seen.append(ask(gateway, "POST", CHAT, body, key=CANARIES["client key"]).body)
        for path in ("/", "/health", "/metrics", "/v1/models", "/v1/models/x"):
            seen.append(ask(gateway, "GET", path, key=CANARIES["client key"]).body)
        gateway.terminate()
        gateway.wait(10)
        seen += [gateway.stdout, gateway.stderr]
    for slot, canary in CANARIES.items():
        found = [text for text in seen if canary.encode() in text]
        assert not found, f"the {slot} leaked: {found[0][:600]!r}"
    assert b"[redacted]" in b"".join(seen)


def test_the_sdks_exception_has_no_upstream_key_in_it(gateway: GatewayProcess, fake: FakeProvider) -> None:
    fake.script("fake-model", Script(status=401, error=f"Incorrect API key provided: {UPSTREAM_KEY}"))
    messages: Any = HELLO
    with (
        OpenAI(api_key=KEY, base_url=f"{gateway.url}/v1", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        client.chat.completions.create(model="m", messages=messages)
    assert UPSTREAM_KEY not in str(caught.value)
    assert "[redacted]" in str(caught.value)
