"""What a wire format must be able to do for the fake provider, and the values it is given."""

import functools
import re
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import msgspec

from tests.fake.script import Script, ToolCall, Usage


class Route(NamedTuple):
    """A method and a path; ``(?P<model>...)`` in the pattern names the model for wires that put it there."""

    name: str
    method: str
    pattern: re.Pattern[str]


def route(name: str, method: str, pattern: str) -> Route:
    """A route whose pattern must match the whole path (without the query)."""
    return Route(name, method, re.compile(pattern))


class Request(msgspec.Struct, frozen=True):
    """A request as it came in, before anyone has judged it. ``json`` is None when the body is not JSON."""

    number: int
    route: str
    path: str
    path_parts: dict[str, str]
    headers: list[tuple[str, str]]
    body: bytes
    json: Any
    models: list[str]  # what this provider serves, the first one by default

    @property
    def fields(self) -> dict[str, Any]:
        """The body as an object; empty when it is anything else."""
        return self.json if isinstance(self.json, dict) else {}


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What a request wants, in no vendor's words."""

    model: str | None
    stream: bool = False
    last_user_text: str = ""
    input_tokens: int = 0
    limit_tokens: int | None = None
    choices: int = 1
    generates: bool = True


class Refusal(msgspec.Struct, frozen=True):
    """A request turned down as the vendor would."""

    status: int
    body: bytes
    content_type: str = "application/json"


class Frame(NamedTuple):
    """One write of a stream and the output tokens that were generated for it."""

    data: bytes
    output_tokens: int = 0


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one request: a script, with everything it left open filled in."""

    request: Request
    ask: Ask
    script: Script
    model: str
    chunks: list[str]
    thinking_chunks: list[str]
    tool_calls: list[ToolCall]
    finish_reason: str  # OpenAI's words: stop, length, tool_calls, or what the script says
    usage: Usage
    generated_tokens: int  # what the frames of a stream add up to; the usage may claim otherwise
    created_s: int

    @property
    def text(self) -> str | None:
        """All that is said; None when only tools are called."""
        return "".join(self.chunks) if self.chunks else None

    @property
    def thinking(self) -> str | None:
        """All that is thought."""
        return "".join(self.thinking_chunks) if self.thinking_chunks else None


class Wire(Protocol):
    """One vendor's wire format, the server's side of it."""

    @property
    def routes(self) -> tuple[Route, ...]:
        """Everything this vendor answers; no two wires share a method and path."""

    @property
    def stream_type(self) -> str:
        """The Content-Type of a stream."""

    @property
    def reply_type(self) -> str:
        """The Content-Type of everything else."""

    def read(self, request: Request) -> Ask:
        """Understand a request without judging it: never fails, whatever the body."""

    def validate(self, request: Request) -> Refusal | None:
        """Judge a request as strictly as the vendor does, and answer in its shape; unknown fields pass."""

    def reply(self, spec: Spec) -> bytes:
        """The whole body of an answer that is not streamed."""

    def stream(self, spec: Spec) -> Iterator[Frame]:
        """The frames of a stream, lazily: there may be a hundred thousand."""

    def error(self, status: int, message: str, code: str | None = None) -> bytes:
        """The body of a refusal; ``code`` is the vendor's word for programs, else the status implies one."""


@functools.lru_cache(maxsize=8192)
def tokens_of(chunk: str) -> int:
    """Words are tokens, and no chunk is free."""
    return max(1, len(chunk.split())) if chunk else 0


def texts_of(content: Any) -> list[str]:
    """The texts in a message's content, be it a string or a list of parts."""
    if isinstance(content, str):
        return [content]
    parts = content if isinstance(content, list) else []
    return [part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)]


def messages_of(fields: dict[str, Any]) -> list[dict[str, Any]]:
    """The messages that are objects."""
    messages = fields.get("messages")
    return [message for message in messages if isinstance(message, dict)] if isinstance(messages, list) else []


def input_tokens_of(messages: list[dict[str, Any]]) -> int:
    """The words of all messages."""
    return sum(len(text.split()) for message in messages for text in texts_of(message.get("content")))


def last_user_text_of(messages: list[dict[str, Any]]) -> str:
    """What the user said last."""
    for message in reversed(messages):
        if message.get("role") == "user":
            return " ".join(texts_of(message.get("content")))
    return ""


def whole_number(value: Any) -> int | None:
    """The value if it is an integer, for fields that may be missing or wrong."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None
