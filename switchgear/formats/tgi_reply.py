"""What TGI answers: whole replies and streams, errors, and the one model it serves.

Follows https://huggingface.github.io/text-generation-inference and ``router/src`` of
https://github.com/huggingface/text-generation-inference (3.3). Where tools were offered, a reply is text up to the
first ``{"tool_calls"``, and from there on calls if all the rest parses as such, text if it does not.

A reply names neither itself, its model nor its time: ``Started`` is empty. Stop sequences, which TGI leaves at the end
of the text, are cut off; so the readers are told the chat that was asked.
"""

import re
from collections.abc import Iterator, Mapping
from hashlib import blake2s
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw, Struct

from switchgear.core.errors import UpstreamInvalid, UpstreamRejected, UpstreamTruncated
from switchgear.core.fold import fold
from switchgear.core.types import (
    Chat,
    Event,
    Finished,
    LogprobsDelta,
    ModelInfo,
    Reply,
    Started,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageReport,
    to_json,
)
from switchgear.formats.body import UNREADABLE
from switchgear.formats.sse import SseReader
from switchgear.formats.tgi_grammar import offered_tools

# --- replies and streams -----------------------------------------------------------------------------------------


class _Token(Struct):
    text: str
    logprob: float | None = None
    special: bool = False


class _Details(Struct):
    finish_reason: str
    generated_tokens: int = 0
    seed: int | None = None
    input_length: int | None = None
    prefill: list[Raw] = []
    tokens: list[_Token] = []
    top_tokens: list[list[_Token]] = []


class _Frame(Struct):
    token: _Token | None = None
    top_tokens: list[_Token] = []
    generated_text: str | None = None
    details: _Details | None = None
    error: str | None = None


class _Whole(Struct):
    generated_text: str | None = None
    details: _Details | None = None
    error: str | None = None


class _Asked(NamedTuple):
    """What the readers must know of the request."""

    stop: tuple[str, ...]
    tools: bool
    logprobs: bool
    top_logprobs: int
    messages: int


_FRAME = msgspec.json.Decoder(_Frame)
_WHOLE = msgspec.json.Decoder(_Whole)


def _asked(chat: Chat) -> _Asked:
    prompt = chat.prompt
    logprobs, top = bool(prompt.logprobs), prompt.top_logprobs or 0
    return _Asked(tuple(prompt.stop), bool(offered_tools(prompt)), logprobs, top, len(prompt.messages))


class StreamReader:
    """A Decoder: frames to events. The frame that holds the whole text completes the stream.

    ``chat`` is what was asked: which text is a stop sequence, and whether text may be calls, is not in the reply.
    """

    __slots__ = ("_asked", "_said", "_sse", "_started", "done")

    def __init__(self, chat: Chat) -> None:
        self._asked = _asked(chat)
        self._sse = SseReader()
        self._said = _Said(self._asked)
        self._started = False
        self.done = False

    def feed(self, data: bytes) -> Iterator[Event]:
        """The events in these bytes. Raises UpstreamRejected for an error frame, UpstreamInvalid for nonsense."""
        for event in self._sse.feed(data):
            if not self.done:
                yield from self._read(event.data)

    def close(self) -> Iterator[Event]:
        """The input has ended. Raises UpstreamTruncated if the last frame had not come."""
        if not self.done:
            self._sse.close()
            raise UpstreamTruncated("The provider's stream ended before its end.")
        return iter(())

    def _read(self, data: bytes) -> Iterator[Event]:
        try:
            frame = _FRAME.decode(data)
        except UNREADABLE:
            raise UpstreamInvalid("The provider's stream holds data that is not a token.") from None
        if frame.error is not None:
            raise read_error(0, {}, data)
        if frame.token is None:
            raise UpstreamInvalid("The provider's stream holds an event without a token.")
        if not self._started:
            self._started = True
            yield Started(id="", model="", created_s=0)
        if not frame.token.special:
            yield from self._said.push(frame.token.text)
            yield from _read_logprobs([frame.token], [frame.top_tokens], self._asked)
        if frame.generated_text is not None or frame.details is not None:
            self.done = True
            yield from self._said.end(frame.details)


def read_reply(body: bytes, chat: Chat) -> Reply:
    """A whole reply to ``chat``. Raises UpstreamInvalid where it is none, UpstreamRejected where it is an error."""
    try:
        whole = _WHOLE.decode(body)
    except UNREADABLE:
        raise UpstreamInvalid("The provider's reply is not a generated text.") from None
    if whole.error is not None:
        raise read_error(0, {}, body)
    if whole.generated_text is None:
        raise UpstreamInvalid("The provider's reply holds no generated text.")
    return fold(_read_whole(whole.generated_text, whole.details, _asked(chat)))


def _read_whole(text: str, details: _Details | None, asked: _Asked) -> Iterator[Event]:
    yield Started(id="", model="", created_s=0)
    said = _Said(asked)
    yield from said.push(text)
    if details is not None:
        tops = details.top_tokens or [[] for _ in details.tokens]
        shown = [(token, top) for token, top in zip(details.tokens, tops, strict=False) if not token.special]
        yield from _read_logprobs([token for token, _ in shown], [top for _, top in shown], asked)
    yield from said.end(details)


class _Said:
    """The text of one reply while it arrives: cuts the stop sequence off its end, and tells calls from text."""

    _CALLS = re.compile(r'\{\s*"tool_calls"')

    def __init__(self, asked: _Asked) -> None:
        # TGI's pattern for "ends with" also matches before a last line feed.
        self._ends = [end for stop in asked.stop if stop for end in (stop + "\n", stop)]
        self._asked = asked
        self._tail = ""
        self._held = ""
        self._spoke = False

    def push(self, text: str) -> Iterator[Event]:
        """More of it; what may be the beginning of a stop sequence or of a call is held back."""
        self._tail += text
        keep = _overlap(self._tail, self._ends)
        ready, self._tail = self._tail[: len(self._tail) - keep], self._tail[len(self._tail) - keep :]
        yield from self._pass_on(ready)

    def end(self, details: _Details | None) -> Iterator[Event]:
        """All of it has come: what was held, the finish reason and the usage."""
        reason = details.finish_reason if details else "eos_token"
        if reason == "stop_sequence":
            cut = max((len(end) for end in self._ends if self._tail.endswith(end)), default=0)
            self._tail = self._tail[: len(self._tail) - cut]
        yield from self._pass_on(self._tail)
        calls = _read_calls(self._held) if self._asked.tools else []
        if not calls and self._held:
            yield TextDelta(text=self._held)
        for number, call in enumerate(calls):
            call_id = self._mint(number, details.seed if details else None)
            yield ToolCallDelta(call=number, id=call_id, name=call.name, arguments=bytes(call.arguments).decode())
        yield Finished(reason="tool_calls" if calls else "length" if reason == "length" else "stop")
        if details is not None:
            counted = details.input_length if details.input_length is not None else len(details.prefill)
            yield UsageReport(usage=Usage(counted, details.generated_tokens))

    def _mint(self, number: int, seed: int | None) -> str:
        """An id made from the reply itself: the same bytes, read again, must read the same."""
        seen = f"{self._asked.messages}\n{number}\n{seed}\n{self._held}"
        return f"call_{blake2s(seen.encode(), digest_size=12).hexdigest()}"

    def _pass_on(self, text: str) -> Iterator[Event]:
        self._held += text
        ready = len(self._held) - self._may_be_calls()
        if ready and (self._spoke or not self._held[:ready].isspace()):
            self._spoke = True
            yield TextDelta(text=self._held[:ready])
            self._held = self._held[ready:]

    def _may_be_calls(self) -> int:
        """How many characters at the end may be calls."""
        if not self._asked.tools:
            return 0
        if (match := self._CALLS.search(self._held)) is not None:
            return len(self._held) - match.start()
        start = self._held.rfind("{")
        begins = start >= 0 and '"tool_calls"'.startswith(self._held[start + 1 :].lstrip())
        return len(self._held) - start if begins else 0


class _Call(Struct):
    name: str
    arguments: Raw = Raw(b"{}")


class _Calls(Struct):
    tool_calls: list[_Call]


def _read_calls(text: str) -> list[_Call]:
    """The calls that this text is; none where it is anything else. A code fence that a model closes is overlooked."""
    try:
        calls = msgspec.json.decode(text.rstrip("` \n"), type=_Calls).tool_calls
    except UNREADABLE:
        return []
    return calls if all(bytes(call.arguments).startswith(b"{") for call in calls) else []


def _overlap(text: str, ends: list[str]) -> int:
    """The length of the longest end of ``text`` that one of ``ends`` begins with."""
    lengths = (n for end in ends for n in range(min(len(end), len(text)), 0, -1) if text.endswith(end[:n]))
    return max(lengths, default=0)


def _read_logprobs(tokens: list[_Token], tops: list[list[_Token]], asked: _Asked) -> Iterator[Event]:
    """OpenAI's ``logprobs`` object, where it was asked for; TGI gives its tokens in any case."""
    if asked.logprobs and tokens:
        content = [
            _read_token(token) | {"top_logprobs": [_read_token(other) for other in top[: asked.top_logprobs]]}
            for token, top in zip(tokens, tops, strict=False)
        ]
        yield LogprobsDelta(logprobs=Raw(to_json({"content": content, "refusal": None})))


def _read_token(token: _Token) -> dict[str, Any]:
    # -9999 is OpenAI's word for "too unlikely to say"; TGI writes null.
    logprob = -9999.0 if token.logprob is None else token.logprob
    return {"token": token.text, "logprob": logprob, "bytes": list(token.text.encode())}


# --- errors and models -------------------------------------------------------------------------------------------


# server.rs, From<InferError>: an error inside a stream has no status of its own.
_STATUS_BY_TYPE = {
    "overloaded": 429, "validation": 422, "generation": 424, "incomplete_generation": 500,
    "incomplete_generation_stream": 500, "template_error": 422, "tool_error": 422, "missing_template_variable": 422,
    "stream_serialization_error": 500, "healthcheck": 503,
}  # fmt: skip


class _Error(Struct):
    error: str
    error_type: str | None = None


class _Info(Struct):
    model_id: str
    max_total_tokens: int | None = None


def read_error(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamRejected:
    """What an error of TGI says, ``{"error": "text", "error_type": "word"}`` or plain text.

    Status 0 stands for an error inside a reply of status 200: then the word decides, 500 where it is unknown.
    """
    try:
        said = msgspec.json.decode(body, type=_Error)
    except UNREADABLE:
        text = body[:500].decode("utf-8", "replace").strip()
        said = _Error("" if text.startswith("<") else text)
    return UpstreamRejected(
        status or _STATUS_BY_TYPE.get(said.error_type or "", 500),
        (said.error or f"The provider answered {status}.")[:2000],
        retry_after=headers.get("retry-after"),
        upstream_code=said.error_type,
    )


def read_models(body: bytes) -> list[ModelInfo]:
    """The one model in the answer to ``GET /info``. Raises UpstreamInvalid where it is not one."""
    try:
        info = msgspec.json.decode(body, type=_Info)
    except UNREADABLE:
        raise UpstreamInvalid("The provider's /info names no model.") from None
    owner = info.model_id.partition("/")[0] if "/" in info.model_id.strip("/") else ""
    return [ModelInfo(id=info.model_id, owned_by=owner, context_window_tokens=info.max_total_tokens)]
