"""The edge, spoken to as an ASGI server would; what needs a real one is in tests/e2e."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from switchgear.app import Application, create_app
from switchgear.core.protocols import Call
from switchgear.edge import MAX_PIECE_BYTES, SWEEP_INTERVAL_S, Exchange, Page, PlainRoute
from tests.asgi import Conversation, chat_body, converse
from tests.e2e.talk import CHAT, payloads, text_of, the_one_error
from tests.fake import Accepted, FakeProvider, Script, SocketClosed

MAX_BODY_BYTES = 10_000


@pytest.fixture
async def app(fake: FakeProvider) -> AsyncIterator[Application]:
    app = make_app(fake)
    yield app
    await app.parts.close()


def make_app(fake: FakeProvider, **server: Any) -> Application:
    up = {"kind": "openai_compatible", "base_url": f"{fake.url}/v1", "discover": False}
    settings = {"log_requests": False, "max_body_bytes": MAX_BODY_BYTES, **server}
    return create_app({"server": settings, "providers": {"up": up}, "models": {"m": {"targets": ["up"]}}})


# -- bodies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("announced", [False, True])
async def test_a_body_arrives_in_any_pieces(app: Application, size: int, announced: bool) -> None:
    body = chat_body()
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    headers = {"content-length": str(len(body))} if announced else {}
    assert (await converse(app, pieces=pieces, headers=headers)).status == 200


async def test_a_whole_body_needs_no_empty_piece_after_it(app: Application) -> None:
    """A server may say that more will come and mean nothing; as long as announced is whole."""
    body = chat_body()
    conversation = Conversation(pieces=[body], headers={"content-length": str(len(body))})
    conversation._coming[0]["more_body"] = True
    await app(conversation.scope, conversation.receive, conversation.send)
    assert conversation.answer.status == 200


@pytest.mark.parametrize("length", ["-1", "x", "9" * 30, ""])
async def test_a_length_that_is_none_is_not_believed(app: Application, length: str) -> None:
    assert (await converse(app, pieces=[chat_body()], headers={"content-length": length})).status == 200


async def test_a_short_announcement_does_not_let_a_long_body_in(app: Application) -> None:
    pieces = [b" " * 4000] * 4
    answer = await converse(app, pieces=pieces, headers={"content-length": "100"})
    assert answer.status == 413


async def test_a_client_that_leaves_before_its_body_is_whole_is_never_answered(
    app: Application, fake: FakeProvider
) -> None:
    conversation = Conversation(pieces=[b"{", b""])
    conversation._coming = conversation._coming[:1]
    conversation.leave()
    await app(conversation.scope, conversation.receive, conversation.send)
    assert conversation.sent == []
    assert not fake.requests()


async def test_a_body_that_does_not_come_is_given_up(fake: FakeProvider) -> None:
    app = make_app(fake, body_timeout_s=0.1)
    conversation = Conversation()
    conversation._coming = []
    await asyncio.wait_for(app(conversation.scope, conversation.receive, conversation.send), 2)
    assert conversation.answer.status == 408


# -- paths ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("root", "path", "status"), [
    ("", CHAT, 200),
    ("/llm", f"/llm{CHAT}", 200),
    ("/a/b", f"/a/b{CHAT}", 200),
    ("/llm", CHAT, 200),  # servers that took the mount's path off already
    ("/llm", f"/llmx{CHAT}", 404),
    ("/v1", "/v1/chat/completions", 200),
])  # fmt: skip
async def test_the_path_of_a_mount_is_not_ours(app: Application, root: str, path: str, status: int) -> None:
    answer = await converse(app, path=path, root_path=root, pieces=[chat_body()])
    assert answer.status == status


async def test_the_root_of_a_mount_is_the_welcome_page(app: Application) -> None:
    answer = await converse(app, method="GET", path="/llm", root_path="/llm")
    assert answer.json["name"] == "Switchgear"


# -- headers ----------------------------------------------------------------------------------------------------------


async def test_any_origin_may_read_where_any_is_allowed(app: Application) -> None:
    answer = await converse(app, pieces=[chat_body()], headers={"origin": "https://any.example"})
    assert answer.headers["access-control-allow-origin"] == "*"


async def test_no_origin_may_read_where_none_is_allowed(fake: FakeProvider) -> None:
    app = make_app(fake, cors_origins=[])
    answer = await converse(app, pieces=[chat_body()], headers={"origin": "https://any.example"})
    assert "access-control-allow-origin" not in answer.headers


async def test_a_preflight_cannot_write_headers_of_its_own(app: Application) -> None:
    asked = {"origin": "https://x", "access-control-request-method": "POST"}
    wicked = asked | {"access-control-request-headers": "a\r\nset-cookie: b=c"}
    answer = await converse(app, method="OPTIONS", headers=wicked)
    assert answer.headers["access-control-allow-headers"] == "authorization, content-type"


async def test_extensions_can_be_turned_off(fake: FakeProvider) -> None:
    up = {"kind": "openai_compatible", "base_url": f"{fake.url}/v1", "discover": False}
    app = create_app({"include_extensions": False, "server": {"log_requests": False}, "providers": {"up": up}})
    answer = await converse(app, pieces=[chat_body(model="up/x")])
    assert answer.status == 200
    assert "x_gateway" not in answer.json
    assert answer.headers["x-provider"] == "up"


# -- what goes wrong --------------------------------------------------------------------------------------------------


async def test_a_bug_of_ours_is_a_500_that_says_nothing_of_it(
    app: Application, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(call: Call, rest: str) -> Page:
        raise RuntimeError("the secret of the pyramids")

    app.edge.world.plain_routes["/broken"] = PlainRoute(broken, admits=False)
    answer = await converse(app, method="GET", path="/broken")
    assert answer.status == 500
    assert answer.error["type"] == "api_error"
    assert "pyramids" not in answer.body.decode()
    assert "the secret of the pyramids" in caplog.text


async def test_a_cancellation_that_is_not_ours_goes_on(app: Application, fake: FakeProvider) -> None:
    """The outer application may cancel us; to swallow that would hang it. The upstream is closed all the same."""
    fake.script("m", Script(hang_before_headers=True))
    conversation = Conversation(pieces=[chat_body()])
    task = asyncio.create_task(app(conversation.scope, conversation.receive, conversation.send))
    await fake.until(Accepted)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await fake.until(SocketClosed)
    assert not app.edge.active


async def test_a_client_that_leaves_ends_its_call(app: Application, fake: FakeProvider) -> None:
    fake.script("m", Script(hang_before_headers=True))
    conversation = Conversation(pieces=[chat_body()])
    task = asyncio.create_task(app(conversation.scope, conversation.receive, conversation.send))
    await fake.until(Accepted)
    await asyncio.sleep(SWEEP_INTERVAL_S * 2)
    conversation.leave()
    await asyncio.wait_for(task, 1)
    await fake.until(SocketClosed)
    assert conversation.sent == []


async def test_nothing_is_left_running_after_a_call(app: Application, fake: FakeProvider) -> None:
    fake.script("m", Script(text="a b c", delay_before_headers_s=SWEEP_INTERVAL_S * 3))
    before = asyncio.all_tasks()
    for stream in (False, True):
        assert (await converse(app, pieces=[chat_body(stream=stream)])).status == 200
    await asyncio.sleep(SWEEP_INTERVAL_S * 2)
    assert asyncio.all_tasks() == before
    assert not app.edge.active


# -- streams ----------------------------------------------------------------------------------------------------------


async def test_a_large_piece_goes_out_in_small_ones(app: Application, fake: FakeProvider) -> None:
    text = "x" * (5 * MAX_PIECE_BYTES)
    fake.script("m", Script(chunks=[text]))
    conversation = Conversation(pieces=[chat_body(stream=True)])
    await app(conversation.scope, conversation.receive, conversation.send)
    assert text_of(payloads(conversation.answer.body)) == text
    assert max(len(message.get("body", b"")) for message in conversation.sent) <= MAX_PIECE_BYTES


async def test_a_comment_breaks_a_silence_and_an_error_after_it_is_in_band(fake: FakeProvider) -> None:
    app = make_app(fake, keepalive_s=0.1)
    fake.script("m", Script(delay_before_headers_s=0.4, status=503, error="asleep"))
    answer = await converse(app, pieces=[chat_body(stream=True)])
    assert answer.status == 200
    assert answer.body.startswith(b":")
    assert "asleep" in the_one_error(answer.body)["message"]


async def test_a_comment_that_comes_too_late_is_not_sent(app: Application) -> None:
    """It was due, and then the answer came first: after the end of an answer nothing may follow."""
    conversation = Conversation(pieces=[b"{}"])
    exchange = Exchange(
        app.edge, app.edge.world, conversation.scope, conversation.receive, conversation.send, asyncio.current_task()
    )
    exchange._body_read = exchange._call.streamed = True
    exchange.look_after(exchange.received_at + 1000)
    await exchange._send_whole(503, b"{}", [])
    await asyncio.sleep(0.01)
    assert conversation.answer.body == b"{}"
    exchange._stop_watching()
