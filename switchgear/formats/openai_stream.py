"""OpenAI chat completion streams: passed on verbatim, read into events, written out of events.

Follows https://platform.openai.com/docs/api-reference/chat-streaming. A stream is complete when it has said ``[DONE]``.
Some servers leave that out; then a finish reason for every choice and a properly ended body will do.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from switchgear.core.errors import SwitchgearError, UpstreamError, UpstreamInvalid, UpstreamTruncated
from switchgear.core.types import (
    Event,
    Finished,
    LogprobsDelta,
    RefusalDelta,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    Usage,
    UsageReport,
    to_json,
)
from switchgear.formats.body import UNREADABLE
from switchgear.formats.openai_error import read_error, write_error
from switchgear.formats.openai_reply import WireUsage, read_finish, read_usage, write_usage
from switchgear.formats.sse import SseEvent, SseReader, SseRelay, data_frame

DONE = b"[DONE]"
DONE_FRAME = data_frame(DONE)

_NULL = Raw(b"null")
_TRUNCATED = "The provider's stream ended before its end."


class _SeenChoice(Struct):
    index: int = 0
    finish_reason: str | None = None


class _SeenChunk(Struct):
    choices: list[_SeenChoice] | None = None
    usage: WireUsage | None = None
    error: Raw = _NULL


class _FunctionPiece(Struct):
    name: str | None = None
    arguments: str | None = None


class _CallPiece(Struct):
    index: int = 0
    id: str | None = None
    function: _FunctionPiece | None = None


class _Delta(Struct):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_CallPiece] | None = None


class _ChunkChoice(Struct):
    index: int = 0
    delta: _Delta | None = None
    finish_reason: str | None = None
    logprobs: Raw = _NULL


class _Chunk(Struct):
    id: str = ""
    model: str = ""
    created: float = 0
    choices: list[_ChunkChoice] | None = None
    usage: WireUsage | None = None
    error: Raw = _NULL


_SEEN = msgspec.json.Decoder(_SeenChunk)
_CHUNK = msgspec.json.Decoder(_Chunk)


class _Progress:
    """Which choices have begun and which are complete; shared by the one who passes on and the one who reads."""

    __slots__ = ("begun", "done", "finished")

    def __init__(self) -> None:
        self.begun: set[int] = set()
        self.finished: set[int] = set()
        self.done = False

    @property
    def complete(self) -> bool:
        return self.done or (bool(self.begun) and self.begun == self.finished)


class _ChatWatch:
    """Watches a stream go by for its usage, its errors and its end."""

    __slots__ = ("_hide_usage", "_progress", "usage")

    def __init__(self, hide_usage: bool) -> None:
        self.usage: Usage | None = None
        self._hide_usage = hide_usage
        self._progress = _Progress()

    @property
    def done(self) -> bool:
        return self._progress.done

    def see(self, event: str, data: bytes) -> bool:
        progress = self._progress
        if progress.done:
            return False  # nothing counts after the end
        if data == DONE:
            progress.done = True
            return True
        try:
            chunk = _SEEN.decode(data)
        except UNREADABLE:
            raise _not_a_chunk(event, data) from None
        if event == "error" or (chunk.error is not _NULL and bytes(chunk.error) != b"null"):
            raise read_error(502, {}, data)
        for choice in chunk.choices or ():
            progress.begun.add(choice.index)
            if choice.finish_reason:
                progress.finished.add(choice.index)
        if chunk.usage is not None:
            self.usage = read_usage(chunk.usage) or self.usage
            return bool(chunk.choices) or not self._hide_usage
        return True

    def see_lines(self, lines: bytes, count: int) -> list[int] | None:
        progress, hidden = self._progress, list[int]()
        if progress.done:
            return None
        ends = lines == DONE or lines.endswith(b"\n" + DONE)
        if ends:
            lines, count = lines[: -len(DONE) - 1], count - 1
        try:
            chunks = _SEEN.decode_lines(lines)
        except UNREADABLE:
            return None
        if len(chunks) != count:
            return None
        for number, chunk in enumerate(chunks):
            if chunk.error is not _NULL:
                return None
            for choice in chunk.choices or ():
                progress.begun.add(choice.index)
                if choice.finish_reason:
                    progress.finished.add(choice.index)
            if chunk.usage is not None:
                self.usage = read_usage(chunk.usage) or self.usage
                if self._hide_usage and not chunk.choices:
                    hidden.append(number)
        progress.done = ends
        return hidden

    def end(self) -> bytes:
        if self._progress.done:
            return b""
        if not self._progress.complete:
            raise UpstreamTruncated(_TRUNCATED)
        self._progress.done = True
        return DONE_FRAME


def relay(include_usage: bool) -> SseRelay:
    """A relay of one stream; a usage chunk that the client did not ask for (``include_usage``) is kept from it."""
    return SseRelay(_ChatWatch(hide_usage=not include_usage))


class StreamReader:
    """A Decoder: chunks to events."""

    def __init__(self) -> None:
        self._sse = SseReader()
        self._progress = _Progress()
        self._started = False

    def feed(self, data: bytes) -> Iterator[Event]:
        """The events in these bytes. Raises UpstreamError for an error, or data that is no chunk."""
        for event in self._sse.feed(data):
            if event.data == DONE:
                self._progress.done = True
            elif not self._progress.done:
                yield from self._read(event)

    def close(self) -> Iterable[Event]:
        """Raises UpstreamTruncated if the stream had not said that it was complete."""
        self._sse.close()
        if not self._progress.complete:
            raise UpstreamTruncated(_TRUNCATED)
        return ()

    def _read(self, event: SseEvent) -> Iterator[Event]:
        try:
            chunk = _CHUNK.decode(event.data)
        except UNREADABLE:
            raise _not_a_chunk(event.event, event.data) from None
        if event.event == "error" or bytes(chunk.error) != b"null":
            raise read_error(502, {}, event.data)
        if not self._started and (chunk.id or chunk.choices):  # Azure's first chunk has neither
            self._started = True
            yield Started(id=chunk.id, model=chunk.model, created_s=int(chunk.created))
        for choice in chunk.choices or ():
            self._progress.begun.add(choice.index)
            yield from _read_choice(choice)
            if choice.finish_reason:
                self._progress.finished.add(choice.index)
        if (usage := read_usage(chunk.usage)) is not None:
            yield UsageReport(usage=usage)


def _read_choice(choice: _ChunkChoice) -> Iterator[Event]:
    index, delta = choice.index, choice.delta
    if delta is not None:
        if thinking := delta.reasoning_content or delta.reasoning:
            yield ThinkingDelta(index=index, text=thinking)
        if delta.content:
            yield TextDelta(index=index, text=delta.content)
        if delta.refusal:
            yield RefusalDelta(index=index, text=delta.refusal)
        for call in delta.tool_calls or ():
            function = call.function or _FunctionPiece()
            yield ToolCallDelta(
                index=index, call=call.index, id=call.id, name=function.name, arguments=function.arguments or ""
            )
    if bytes(choice.logprobs) != b"null":
        yield LogprobsDelta(index=index, logprobs=choice.logprobs.copy())
    if (reason := read_finish(choice.finish_reason)) is not None:
        yield Finished(index=index, reason=reason)


def _not_a_chunk(event: str, data: bytes) -> UpstreamError:
    """Data that is no chunk: an error in a shape of its own, or nonsense."""
    if event == "error":
        return read_error(502, {}, data)
    return UpstreamInvalid("The provider's stream holds data that is not a chat completion chunk.")


class StreamWriter:
    """Events to chunks, under the model name the client asked for."""

    def __init__(self, model: str, *, include_usage: bool) -> None:
        self._include_usage = include_usage
        self._head: dict[str, Any] = {"id": "", "object": "chat.completion.chunk", "created": 0, "model": model}
        self._begun: set[int] = set()
        self._usage: Usage | None = None

    def write(self, events: Sequence[Event]) -> bytes:
        """The frames for these events."""
        return b"".join(frame for event in events if (frame := self._write(event)))

    def close(self) -> bytes:
        """The usage, if it was asked for and is known, and the end mark."""
        if not self._include_usage or self._usage is None:
            return DONE_FRAME
        return data_frame(to_json({**self._head, "choices": [], "usage": write_usage(self._usage)})) + DONE_FRAME

    def _write(self, event: Event) -> bytes:
        match event:
            case Started(id=reply_id, created_s=created_s):
                self._head |= {"id": reply_id, "created": created_s}
                return b""
            case UsageReport(usage=usage):
                self._usage = usage
                return b""
            case TextDelta(text=text):
                return self._frame(event.index, {"content": text})
            case ThinkingDelta(text=text):
                return self._frame(event.index, {"reasoning_content": text}) if text else b""
            case RefusalDelta(text=text):
                return self._frame(event.index, {"refusal": text})
            case ToolCallDelta():
                return self._frame(event.index, {"tool_calls": [_write_call(event)]})
            case LogprobsDelta(logprobs=logprobs):
                return self._frame(event.index, {}, logprobs=logprobs)
            case Finished(reason=reason):
                return self._frame(event.index, {}, finish_reason=reason)
            case _:
                return b""

    def _frame(self, index: int, delta: dict[str, Any], **more: Any) -> bytes:
        if index not in self._begun:
            self._begun.add(index)
            delta = {"role": "assistant", "content": "", **delta}
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None, **more}
        body = {**self._head, "choices": [choice]}
        if self._include_usage:
            body["usage"] = None
        return data_frame(to_json(body))


def _write_call(event: ToolCallDelta) -> dict[str, Any]:
    call: dict[str, Any] = {"index": event.call}
    function: dict[str, Any] = {"arguments": event.arguments}
    if event.id is not None:
        call |= {"id": event.id, "type": "function"}
    if event.name is not None:
        function = {"name": event.name, **function}
    return {**call, "function": function}


def write_stream_error(error: SwitchgearError) -> bytes:
    """The one frame that ends a stream that failed after it began. No ``[DONE]`` follows it."""
    return data_frame(write_error(error))
