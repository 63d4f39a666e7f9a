"""The gateway inside other applications: FastAPI and Starlette, below a path of theirs."""

import asyncio
import json
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import httpx
import openai
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from switchgear import create_app
from tests.e2e.talk import CHAT, HELLO, payloads, text_of
from tests.fake import FakeProvider, Script

KEY = "sk-mounted"


def gateway_config(fake: FakeProvider) -> dict[str, Any]:
    return {
        "server": {"log_requests": False},
        "providers": {"up": {"kind": "openai_compatible", "base_url": f"{fake.url}/v1"}},
        "models": {"m": {"targets": ["up/fake-model"]}},
        "keys": [{"key": KEY, "name": "outer"}],
    }


def under_fastapi(fake: FakeProvider) -> Any:
    app = FastAPI()
    app.add_api_route("/own", lambda: {"own": "page"})
    app.mount("/llm", create_app(gateway_config(fake)))
    return app


def under_starlette(fake: FakeProvider) -> Any:
    async def own(request: Any) -> PlainTextResponse:
        return PlainTextResponse("own page")

    gateway = create_app(gateway_config(fake))
    return Starlette(routes=[Route("/own", own), Mount("/team", routes=[Mount("/llm", gateway)])])


MOUNTS = [(under_fastapi, "/llm"), (under_starlette, "/team/llm")]


@pytest.fixture(params=MOUNTS, ids=["FastAPI", "Starlette"])
async def client(request: pytest.FixtureRequest, fake: FakeProvider) -> AsyncIterator[httpx.AsyncClient]:
    make, prefix = request.param
    transport = httpx.ASGITransport(make(fake))
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(transport=transport, base_url=f"http://outer{prefix}", headers=headers) as client:
        yield client


async def test_a_chat_is_answered(client: httpx.AsyncClient, fake: FakeProvider) -> None:
    answer = await client.post(CHAT, json={"model": "m", "messages": HELLO})
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"] == "You said: hello"
    assert answer.headers["x-provider"] == "up"
    assert fake.last_request("fake-model").path == CHAT


async def test_a_stream_is_answered(client: httpx.AsyncClient, fake: FakeProvider) -> None:
    fake.script("fake-model", Script(text="one two three"))
    answer = await client.post(CHAT, json={"model": "m", "messages": HELLO, "stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert text_of(payloads(answer.content)) == "one two three"
    assert answer.content.endswith(b"data: [DONE]\n\n")


async def test_errors_and_pages_are_where_they_should_be(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/models/up/fake-model")).json()["id"] == "up/fake-model"
    assert (await client.get("/health/ready")).json() == {"status": "ready"}
    assert "switchgear_requests_total" in (await client.get("/metrics")).text
    assert (await client.get(CHAT)).status_code == 405
    missing = await client.get("/v1/elsewhere")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")
    assert "GET /v1/elsewhere" in missing.json()["error"]["message"]


async def test_the_key_is_the_gateways_own(client: httpx.AsyncClient) -> None:
    answer = await client.post(CHAT, json={"model": "m", "messages": HELLO}, headers={"Authorization": "Bearer no"})
    assert answer.status_code == 401


async def test_the_outer_applications_pages_stay_its_own(client: httpx.AsyncClient) -> None:
    assert "own" in (await client.get("http://outer/own")).text
    assert (await client.get("http://outer/v1/models")).status_code == 404


async def test_the_official_sdk_calls_through_the_mount(client: httpx.AsyncClient, fake: FakeProvider) -> None:
    fake.script("fake-model", Script(text="through two applications"))
    base_url = f"{str(client.base_url).rstrip('/')}/v1"
    messages: Any = HELLO
    http_client: Any = client  # the SDK's own is httpx2's; the two differ in name only
    sdk = openai.AsyncOpenAI(api_key=KEY, base_url=base_url, http_client=http_client, max_retries=0)
    whole = await sdk.chat.completions.create(model="m", messages=messages)
    assert whole.choices[0].message.content == "through two applications"
    stream = await sdk.chat.completions.create(model="m", messages=messages, stream=True)
    pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert "".join(pieces) == "through two applications"
    with pytest.raises(openai.NotFoundError, match="'m'"):
        await sdk.chat.completions.create(model="mm", messages=messages)


@pytest.mark.parametrize("make", [make for make, _ in MOUNTS], ids=["FastAPI", "Starlette"])
async def test_a_mounted_stream_is_passed_on_piece_by_piece(make: Any, fake: FakeProvider) -> None:
    """ASGI by hand, because httpx waits for the whole answer."""
    fake.script("fake-model", Script(chunks=["a ", "b ", "c "], delay_between_chunks_s=0.05))
    prefix = dict(MOUNTS)[make]
    sent: list[MutableMapping[str, Any]] = []
    body = json.dumps({"model": "m", "messages": HELLO, "stream": True}).encode()
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> MutableMapping[str, Any]:
        if waiting:
            return waiting.pop()
        await asyncio.get_running_loop().create_future()  # it stays, and says nothing more
        raise AssertionError

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": prefix + CHAT, "raw_path": (prefix + CHAT).encode(), "query_string": b"", "root_path": "",
        "headers": [(b"authorization", b"Bearer " + KEY.encode())], "client": None, "server": None,
    }  # fmt: skip
    await make(fake)(scope, receive, send)
    pieces = [message["body"] for message in sent if message["type"] == "http.response.body" and message["body"]]
    assert len(pieces) >= 3
    assert text_of(payloads(b"".join(pieces))) == "a b c "
