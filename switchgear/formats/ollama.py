"""Ollama's native chat, ``/api/chat``: requests out, whole replies and NDJSON streams in, and the model list.

Follows https://docs.ollama.com/api and ``api/types.go`` of https://github.com/ollama/ollama (August 2026). What a
request says is carried, mapped, dropped (DROPPED says why) or refused by name; nothing is lost in silence. A whole
reply is a stream of one line, so both are read by the same code.

Where the vendor's page leaves room: a tool result has no mark for failure, so a failed one begins with ``Error: ``;
pictures belong to a message, not to a place in its text; a call without an id gets one made from the reply itself,
so that the same bytes always read the same; a reply has no id, so ``Started.id`` is empty.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from hashlib import blake2s
from typing import Any

import msgspec
from msgspec import Raw, Struct

from switchgear.core.errors import InvalidRequest, UpstreamInvalid, UpstreamRejected, UpstreamTruncated
from switchgear.core.fold import fold
from switchgear.core.types import (
    Chat,
    Event,
    Finished,
    FinishReason,
    Image,
    LogprobsDelta,
    Message,
    ModelInfo,
    Prompt,
    Refusal,
    Reply,
    ResponseFormat,
    Started,
    Target,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    Tool,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    Usage,
    UsageReport,
    to_json,
)
from switchgear.formats.body import replace_fields
from switchgear.formats.ndjson import NdjsonReader

FORMAT = "ollama"

DROPPED = {
    "user": "names the end user for the vendor's abuse reports; a local model has none",
    "metadata": "labels for the vendor's own log",
    "service_tier": "Ollama has one tier",
    "store": "Ollama keeps no replies",
    "safety_identifier": "names the end user for the vendor's abuse reports",
    "prompt_cache_key": "a hint; Ollama finds cached prefixes by itself",
    "prompt_cache_retention": "a hint; keep_alive is Ollama's word for it",
    "messages[].name": "Ollama's turns have no speaker besides the role",
    "image.detail": "a hint; each model has one resolution",
    "thinking.signature": "Ollama does not sign what a model thought",
    "parallel_tool_calls": "true is what Ollama does; false is refused",
    "tools[].strict": "Ollama does not constrain calls; the schema is still shown to the model",
    "response_format.name": "Ollama takes the bare schema",
    "response_format.strict": "Ollama always enforces the schema",
}
"""What a request may say that does not reach Ollama, and why that harms nobody."""

_CARRIED_EXTRA = ("keep_alive", "think", "format", "truncate", "shift")
_OPTIONS = {
    "temperature": "temperature", "top_p": "top_p", "top_k": "top_k", "min_p": "min_p", "seed": "seed",
    "max_tokens": "num_predict", "presence_penalty": "presence_penalty", "frequency_penalty": "frequency_penalty",
    "repetition_penalty": "repeat_penalty",
}  # fmt: skip
# As Ollama's own OpenAI front maps them (openai.go, thinkFromReasoningEffort).
_THINK: dict[str, bool | str] = {
    "none": False, "minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "max",
    "ultra": "max", "max": "max",
}  # fmt: skip
_NULL = Raw(b"null")
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


# --- requests ----------------------------------------------------------------------------------------------------


def write_request(chat: Chat, target: Target) -> bytes:
    """The body of ``POST /api/chat``. Raises InvalidRequest, with the field in ``param``, for what it cannot say."""
    if chat.origin is not None and chat.origin.format == FORMAT:
        return replace_fields(chat.origin.body, {"model": to_json(target.model)})
    prompt = chat.prompt
    _refuse_what_cannot_be_said(prompt)
    body: dict[str, Any] = {"model": target.model, "messages": _write_messages(prompt.messages)}
    if prompt.tools and (prompt.tool_choice is None or prompt.tool_choice.mode != "none"):
        body["tools"] = [_write_tool(tool) for tool in prompt.tools]
    body["stream"] = chat.stream
    if (wanted := _write_format(prompt.response_format)) is not None:
        body["format"] = wanted
    if options := _write_options(prompt):
        body["options"] = options
    if prompt.reasoning_effort is not None:
        body["think"] = _write_think(prompt.reasoning_effort)
    if prompt.logprobs:
        body["logprobs"] = True
        if prompt.top_logprobs is not None:
            body["top_logprobs"] = prompt.top_logprobs
    body |= {name: prompt.extra[name] for name in _CARRIED_EXTRA if name in prompt.extra}
    return to_json(body)


def _refuse_what_cannot_be_said(prompt: Prompt) -> None:
    if prompt.n is not None and prompt.n != 1:
        raise _cannot("n", "gives one answer at a time; ask again for another")
    if prompt.logit_bias:
        raise _cannot("logit_bias", "has no bias of single tokens")
    if prompt.parallel_tool_calls is False and prompt.tools:
        raise _cannot("parallel_tool_calls", "cannot keep a model from calling several tools at once")
    if prompt.tool_choice is not None and prompt.tool_choice.mode in ("required", "function"):
        raise _cannot("tool_choice", "cannot make a model call a tool; use 'auto' or 'none'")
    for name, value in prompt.extra.items():
        known = name in DROPPED or name in _CARRIED_EXTRA or name == "options"
        if not known and bytes(value) != b"null":
            raise _cannot(name, "has no such field")


def _cannot(param: str, why: str) -> InvalidRequest:
    return InvalidRequest(f"{param!r} cannot be translated: Ollama {why}.", param=param, code="unsupported_value")


def _write_messages(messages: list[Message]) -> list[dict[str, Any]]:
    names_by_id: dict[str, str] = {}
    written: list[dict[str, Any]] = []
    for number, message in enumerate(messages):
        at = f"messages[{number}]"
        names_by_id |= {part.id: part.name for part in message.parts if isinstance(part, ToolCall)}
        results = [part for part in message.parts if isinstance(part, ToolResult)]
        written += [_write_result(part, names_by_id.get(part.call_id), at) for part in results]
        if not results or len(results) < len(message.parts):
            written.append(_write_turn(message, at))
    return written


def _write_turn(message: Message, at: str) -> dict[str, Any]:
    turn: dict[str, Any] = {"role": "system" if message.role == "developer" else message.role}
    content = thinking = ""
    images: list[str] = []
    calls: list[dict[str, Any]] = []
    for part in message.parts:
        match part:
            case Text(text=text) | Refusal(text=text):
                content += text
            case Thinking(text=text):
                thinking += text
            case Image():
                images.append(_write_image(part, at))
            case ToolCall():
                calls.append(_write_call(part, len(calls), at))
            case ToolResult():
                pass
            case _:
                raise _cannot(f"{at}.content", f"has no {type(part).__name__.lower()} parts")
    more = {"thinking": thinking, "images": images, "tool_calls": calls}
    return turn | {"content": content} | {name: value for name, value in more.items() if value}


def _write_image(image: Image, at: str) -> str:
    if image.data is None:
        raise _cannot(f"{at}.content", "takes pictures as base64 only; send a data: URL")
    return image.data


def _write_call(call: ToolCall, number: int, at: str) -> dict[str, Any]:
    function = {"index": number, "name": call.name, "arguments": _arguments(call, number, at)}
    return {"id": call.id, "type": "function", "function": function}


def _arguments(call: ToolCall, number: int, at: str) -> Raw:
    """The arguments as the object they must be, in the caller's own bytes: numbers keep their digits."""
    text = call.arguments.strip() or "{}"
    try:
        if isinstance(msgspec.json.decode(text), dict):
            return Raw(text.encode())
    except _UNREADABLE:
        pass
    raise InvalidRequest(
        "The arguments of a tool call must be a JSON object.",
        param=f"{at}.tool_calls[{number}].function.arguments",
        code="invalid_value",
    )


def _write_result(result: ToolResult, name: str | None, at: str) -> dict[str, Any]:
    text = "".join(part.text for part in result.parts if isinstance(part, Text))
    images = [_write_image(part, at) for part in result.parts if isinstance(part, Image)]
    turn: dict[str, Any] = {"role": "tool", "content": f"Error: {text}" if result.is_error else text}
    if images:
        turn["images"] = images
    if name is not None:
        turn["tool_name"] = name
    return turn | {"tool_call_id": result.call_id}


def _write_tool(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    absent = tool.parameters is None or bytes(tool.parameters) == b"null"
    function["parameters"] = {"type": "object", "properties": {}} if absent else tool.parameters
    return {"type": "function", "function": function}


def _write_format(wanted: ResponseFormat | None) -> Raw | str | None:
    if wanted is None or wanted.type == "text":
        return None
    has_schema = wanted.schema is not None and bytes(wanted.schema) != b"null"
    return wanted.schema if wanted.type == "json_schema" and has_schema else "json"


def _write_options(prompt: Prompt) -> dict[str, Any]:
    options = {theirs: getattr(prompt, ours) for ours, theirs in _OPTIONS.items()}
    options["stop"] = prompt.stop or None
    asked = {name: value for name, value in options.items() if value is not None}
    try:
        own = msgspec.json.decode(prompt.extra.get("options", _NULL), type=dict[str, Raw] | None)
    except _UNREADABLE:
        raise InvalidRequest("Field 'options' must be an object.", param="options", code="invalid_type") from None
    return asked | (own or {})


def _write_think(effort: str) -> bool | str:
    if effort not in _THINK:
        raise _cannot("reasoning_effort", f"knows {', '.join(_THINK)}, not {effort[:50]!r}")
    return _THINK[effort]


# --- replies -----------------------------------------------------------------------------------------------------


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
        except _UNREADABLE:
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
    except _UNREADABLE:
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
    except _UNREADABLE:
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
    except _UNREADABLE:
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
