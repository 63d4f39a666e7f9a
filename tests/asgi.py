"""An ASGI server's side of one request, by hand: what it says to an application, and what it hears."""

import asyncio
import json
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any

from tests.e2e.talk import CHAT, HELLO, Answer

Message = MutableMapping[str, Any]


class Conversation:
    """One request. ``pieces`` is its body; then the client stays until ``leave`` is called."""

    def __init__(
        self,
        *,
        method: str = "POST",
        path: str = CHAT,
        pieces: Iterable[bytes] = (),
        headers: Mapping[str, str] | None = None,
        **scope: Any,
    ) -> None:
        lines = [(name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
        self.scope: MutableMapping[str, Any] = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "headers": lines,
            "client": None, "server": None, **scope,
        }  # fmt: skip
        self.sent: list[Message] = []
        self._left = asyncio.Event()
        given = list(pieces) or [b""]
        self._coming: list[Message] = [
            {"type": "http.request", "body": piece, "more_body": number < len(given)}
            for number, piece in enumerate(given, 1)
        ]

    def leave(self) -> None:
        """The client goes."""
        self._left.set()

    async def receive(self) -> Message:
        """What the application asks for."""
        if self._coming:
            return self._coming.pop(0)
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """What the application says."""
        await asyncio.sleep(0)  # as a server whose buffer is full would
        self.sent.append(message)

    @property
    def answer(self) -> Answer:
        """What the client has got; fails unless it is one whole answer."""
        start, *bodies = self.sent
        assert start["type"] == "http.response.start"
        assert [message.get("more_body", False) for message in bodies] == [True] * (len(bodies) - 1) + [False]
        headers = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
        return Answer(start["status"], headers, b"".join(message["body"] for message in bodies))


async def converse(app: Any, **request: Any) -> Answer:
    """One request to an application and its answer."""
    conversation = Conversation(**request)
    await app(conversation.scope, conversation.receive, conversation.send)
    return conversation.answer


def chat_body(**fields: Any) -> bytes:
    """A chat request's body."""
    return json.dumps({"model": "m", "messages": HELLO} | fields).encode()
