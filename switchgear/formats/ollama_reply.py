"""What Ollama answers: whole replies and NDJSON streams of ``/api/chat``, errors, and the model list.

Follows https://docs.ollama.com/api and ``api/types.go`` of https://github.com/ollama/ollama (August 2026). A whole
reply is a stream of one line, so both are read by the same code.

Where the vendor's page leaves room: a call without an id gets one made from the reply itself, so that the same bytes
always read the same; a reply has no id, so ``Started.id`` is empty.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from hashlib import blake2s
from typing import Any

import msgspec
from msgspec import Raw, Struct

from switchgear.core.errors import UpstreamInvalid, UpstreamRejected, UpstreamTruncated
from switchgear.core.fold import fold
from switchgear.core.types import (
    Event,
    Finished,
    FinishReason,
    LogprobsDelta,
    ModelInfo,
    Reply,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    Usage,
    UsageReport,
    to_json,
)
from switchgear.formats.body import UNREADABLE
from switchgear.formats.ndjson import NdjsonReader

_NULL = Raw(b"null")


# --- replies and streams -----------------------------------------------------------------------------------------


class _Function(Struct):
    name: str
    arguments: Raw = Raw(b"{}")


class _Call(Struct):
    function: _Function
    id: str = ""


class _Message(Struct):
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[_Call] | None = None


class _Token(Struct):
    token: str
    logprob: float
    bytes: list[int] | None = None
    top_logprobs: "list[_Token] | None" = None


class _Line(Struct):
    model: str = ""
    created_at: str = ""
    message: _Message | None = None
    done: bool = False
    done_reason: str | None = None
    prompt_eval_count: int | None = None
    eval_count: int | None = None
    logprobs: list[_Token] | None = None
    error: Raw = _NULL


_LINE = msgspec.json.Decoder(_Line)


class StreamReader:
    """A Decoder: lines to events. A line that says ``"done": true`` completes the stream; what follows is not read."""

    __slots__ = ("_calls", "_created_at", "_lines", "done")

    def __init__(self) -> None:
        self._lines = NdjsonReader()
        self._created_at: str | None = None
        self._calls = 0
        self.done = False

    def feed(self, data: bytes) -> Iterator[Event]:
        """The events in these bytes. Raises UpstreamRejected for an ``error`` line, UpstreamInvalid for nonsense."""
        for line in self._lines.feed(data):
            if not self.done:
                yield from self.read(line)

    def close(self) -> Iterator[Event]:
        """The input has ended. Raises UpstreamTruncated if no line had said that the reply is done."""
        if not self.done:
            self._lines.close()
            raise UpstreamTruncated("The provider's stream ended before its end.")
        return iter(())

    def read(self, line: bytes) -> Iterator[Event]:
        """The events of one line."""
        try:
            said = _LINE.decode(line)
        except UNREADABLE:
            raise UpstreamInvalid("The provider's reply holds a line that is not a chat response.") from None
        if bytes(said.error) != b"null":
            raise read_error(500, {}, line)
        if said.message is None:
            raise UpstreamInvalid("The provider's reply holds a line without a message.")
        if self._created_at is None:
            self._created_at = said.created_at
            yield Started(id="", model=said.model, created_s=_unix_s(said.created_at))
        yield from self._read_message(said.message)
        if said.logprobs:
            yield LogprobsDelta(logprobs=_read_logprobs(said.logprobs))
        if said.done:
            self.done = True
            yield Finished(reason=self._finish(said.done_reason))
            if said.prompt_eval_count is not None or said.eval_count is not None:
                yield UsageReport(usage=Usage(said.prompt_eval_count or 0, said.eval_count or 0))

    def _read_message(self, message: _Message) -> Iterator[Event]:
        if message.thinking:
            yield ThinkingDelta(text=message.thinking)
        if message.content:
            yield TextDelta(text=message.content)
        for call in message.tool_calls or ():
            arguments = _read_arguments(call.function.arguments)
            call_id = call.id or self._mint(call.function.name, arguments)
            yield ToolCallDelta(call=self._calls, id=call_id, name=call.function.name, arguments=arguments)
            self._calls += 1

    def _mint(self, name: str, arguments: str) -> str:
        seen = f"{self._created_at}\n{self._calls}\n{name}\n{arguments}"
        return f"call_{blake2s(seen.encode(), digest_size=12).hexdigest()}"

    def _finish(self, reason: str | None) -> FinishReason:
        # Ollama has no word for tool calls: it just stops. Its other words, load and unload, are stops too.
        if reason == "length":
            return "length"
        return "tool_calls" if self._calls else "stop"


def read_reply(body: bytes) -> Reply:
    """A whole reply. Raises UpstreamInvalid where it is none or is not done, UpstreamRejected where it is an error."""
    reader = StreamReader()
    reply = fold(reader.read(body))
    if not reader.done:
        raise UpstreamInvalid("The provider's reply does not say that it is done.")
    return reply


def _read_arguments(arguments: Raw) -> str:
    """The object as compact JSON; numbers keep their digits."""
    try:
        text = msgspec.json.format(bytes(arguments), indent=-1).decode()
    except UNREADABLE:
        text = ""
    if not text.startswith("{"):
        raise UpstreamInvalid("The provider's reply holds a tool call whose arguments are not an object.")
    return text


def _read_logprobs(tokens: list[_Token]) -> Raw:
    """OpenAI's ``logprobs`` object: the same words, but no field may be missing."""
    content = [
        _read_token(token) | {"top_logprobs": [_read_token(t) for t in token.top_logprobs or ()]} for token in tokens
    ]
    return Raw(to_json({"content": content, "refusal": None}))


def _read_token(token: _Token) -> dict[str, Any]:
    return {"token": token.token, "logprob": token.logprob, "bytes": token.bytes}


def _unix_s(timestamp: str) -> int:
    """Seconds since 1970 of an RFC 3339 timestamp with up to nanoseconds; 0 where it is none."""
    try:
        return int(datetime.fromisoformat(timestamp).timestamp())
    except (ValueError, OverflowError):
        return 0


# --- errors and models -------------------------------------------------------------------------------------------


class _Error(Struct):
    error: str


class _Details(Struct):
    context_length: int | None = None


class _Listed(Struct):
    name: str = ""
    model: str = ""
    modified_at: str = ""
    details: _Details | None = None
    capabilities: list[str] | None = None


class _Models(Struct):
    models: list[_Listed]


def read_error(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamRejected:
    """What an error of Ollama says, ``{"error": "text"}``; also copes with a proxy's plain text."""
    try:
        message = msgspec.json.decode(body, type=_Error).error
    except UNREADABLE:
        text = body[:500].decode("utf-8", "replace").strip()
        message = "" if text.startswith("<") else text
    return UpstreamRejected(
        status,
        (message or f"The provider answered {status}.")[:2000],
        retry_after=headers.get("retry-after"),
        upstream_code="model_not_found" if status == 404 and message.startswith("model ") else None,
    )


def read_models(body: bytes) -> list[ModelInfo]:
    """The models in the answer to ``GET /api/tags``. Raises UpstreamInvalid where it is not one."""
    try:
        listed = msgspec.json.decode(body, type=_Models).models
    except UNREADABLE:
        raise UpstreamInvalid("The provider's model list is not one.") from None
    return [
        ModelInfo(
            id=model.model or model.name,
            owned_by="ollama",
            created_s=_unix_s(model.modified_at),
            context_window_tokens=(model.details.context_length if model.details else None) or None,
            capabilities=model.capabilities or [],
        )
        for model in listed
        if model.model or model.name
    ]
