"""OpenAI chat completions: requests and whole replies, both ways.

Follows https://platform.openai.com/docs/api-reference/chat and the types of the ``openai`` package. Streams are in
openai_stream.py. A request is read in two steps: the few fields routing needs at once, the conversation only when
somebody must change or translate it.
"""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct

from switchgear.core.errors import InvalidRequest, SwitchgearError, UpstreamInvalid, UpstreamRejected
from switchgear.core.types import (
    Audio,
    Chat,
    Choice,
    Document,
    FinishReason,
    Image,
    Message,
    ModelInfo,
    Origin,
    Part,
    Prompt,
    Refusal,
    Reply,
    ResponseFormat,
    Role,
    Target,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Usage,
    to_json,
)
from switchgear.formats.body import append_field, invalid_field, read_object, replace_fields

FORMAT = "openai_chat"

_EMPTY = Raw(b"null")
_FINISH: dict[str, FinishReason] = {
    "stop": "stop", "length": "length", "tool_calls": "tool_calls", "function_call": "tool_calls",
    "content_filter": "content_filter", "error": "error",
}  # fmt: skip


# --- the wire's own shapes ---------------------------------------------------------------------------------------


class _Url(Struct, omit_defaults=True):
    url: str
    detail: str | None = None


class _Sound(Struct):
    data: str
    format: str


class _File(Struct, omit_defaults=True):
    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None


class _Piece(Struct, omit_defaults=True):
    """A content part; which of its fields counts depends on ``type``."""

    type: Literal["text", "image_url", "input_audio", "file", "refusal"]
    text: str | None = None
    image_url: _Url | None = None
    input_audio: _Sound | None = None
    file: _File | None = None
    refusal: str | None = None


class _Function(Struct, omit_defaults=True):
    name: str
    arguments: str = ""


class _Call(Struct):
    id: str
    function: _Function
    type: Literal["function"] = "function"


class _Turn(Struct, omit_defaults=True):
    role: Role
    content: str | list[_Piece] | None = None
    name: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None


class _ToolFunction(Struct, omit_defaults=True):
    name: str
    description: str | None = None
    parameters: Raw = _EMPTY
    strict: bool | None = None


class _ToolDefinition(Struct):
    function: _ToolFunction
    type: Literal["function"] = "function"


class _ChosenName(Struct):
    name: str


class _Chosen(Struct):
    function: _ChosenName
    type: Literal["function"] = "function"


class _Schema(Struct, omit_defaults=True):
    name: str
    schema: Raw = _EMPTY
    strict: bool | None = None
    description: str | None = None


class _Wanted(Struct, omit_defaults=True):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: _Schema | None = None


class _Request(Struct, kw_only=True, omit_defaults=True):
    messages: list[_Turn]
    tools: list[_ToolDefinition] | None = None
    tool_choice: Literal["auto", "none", "required"] | _Chosen | None = None
    parallel_tool_calls: bool | None = None
    response_format: _Wanted | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    stop: str | list[str] | None = None
    n: int | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    logit_bias: dict[str, float] | None = None
    reasoning_effort: str | None = None
    service_tier: str | None = None
    user: str | None = None
    metadata: dict[str, str] | None = None


class _StreamOptions(Struct):
    include_usage: bool | None = None


class _Head(Struct):
    """What routing needs of a request; the rest stays bytes."""

    model: str | None = None
    messages: Raw = _EMPTY
    stream: bool | None = None
    stream_options: _StreamOptions | None = None


class PromptDetails(Struct, omit_defaults=True):
    """``prompt_tokens_details`` of a usage object."""

    cached_tokens: int | None = None


class CompletionDetails(Struct, omit_defaults=True):
    """``completion_tokens_details`` of a usage object."""

    reasoning_tokens: int | None = None


class WireUsage(Struct, omit_defaults=True):
    """OpenAI's usage object."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None


class _ReplyTurn(Struct, omit_defaults=True):
    role: str = "assistant"
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_Call] | None = None


class _ReplyChoice(Struct):
    message: _ReplyTurn
    index: int = 0
    finish_reason: str | None = None
    logprobs: Raw = _EMPTY


class _Reply(Struct):
    choices: list[_ReplyChoice]
    id: str = ""
    model: str = ""
    created: float = 0
    usage: WireUsage | None = None


class _Glance(Struct):
    """What must be known of a reply that is passed on verbatim."""

    choices: list[Raw] | None = None
    usage: WireUsage | None = None
    error: Raw = _EMPTY


_REQUEST = msgspec.json.Decoder(_Request)
_REPLY = msgspec.json.Decoder(_Reply)
_GLANCE = msgspec.json.Decoder(_Glance)
_HEAD = msgspec.json.Decoder(_Head)
_KNOWN = frozenset(_Request.__struct_fields__) | {"model", "stream", "stream_options"}


# --- requests ----------------------------------------------------------------------------------------------------


def read_request(body: bytes) -> Chat:
    """A request as a client sent it. Raises InvalidRequest, with the offending field in ``param``."""
    head = read_object(body, _HEAD)
    if not head.model:
        raise _missing("model", "name the model to use")
    if head.messages is _EMPTY:
        raise _missing("messages", "send a list of messages")
    if bytes(memoryview(head.messages)[:1]) != b"[":
        raise InvalidRequest("Field 'messages' must be a list of messages.", param="messages", code="invalid_type")
    options = head.stream_options
    return Chat(
        head.model,
        stream=bool(head.stream),
        include_usage=bool(head.stream and options is not None and options.include_usage),
        origin=Origin(FORMAT, body),
        read_prompt=read_prompt,
    )


def _missing(field: str, what_to_do: str) -> InvalidRequest:
    return InvalidRequest(f"Field {field!r} is missing: {what_to_do}.", param=field, code="missing_field")


def read_prompt(origin: Origin) -> Prompt:
    """The conversation in a request. Raises InvalidRequest, with the offending field in ``param``."""
    try:
        wire = _REQUEST.decode(origin.body)
    except msgspec.ValidationError as error:
        raise invalid_field(error) from None
    if not wire.messages:
        raise InvalidRequest("Field 'messages' is empty.", param="messages", code="invalid_value")
    for name in ("max_tokens", "max_completion_tokens"):
        if (limit := getattr(wire, name)) is not None and limit < 1:
            raise InvalidRequest(f"Field {name!r} must be at least 1.", param=name, code="invalid_value")
    same = {name: getattr(wire, name) for name in _SAME_NAME}
    return Prompt(
        messages=[_read_turn(turn, number) for number, turn in enumerate(wire.messages)],
        tools=[_read_tool(tool.function) for tool in wire.tools or ()],
        tool_choice=_read_tool_choice(wire.tool_choice),
        response_format=_read_response_format(wire.response_format),
        max_tokens=wire.max_completion_tokens or wire.max_tokens,
        stop=[wire.stop] if isinstance(wire.stop, str) else wire.stop or [],
        extra={name: value for name, value in origin.fields.items() if name not in _KNOWN},
        **same,
    )


_SAME_NAME = (
    "parallel_tool_calls", "temperature", "top_p", "top_k", "min_p", "n", "seed", "presence_penalty",
    "frequency_penalty", "repetition_penalty", "logprobs", "top_logprobs", "logit_bias", "reasoning_effort",
    "service_tier", "user", "metadata",
)  # fmt: skip


def write_request(chat: Chat, target: Target) -> bytes:
    """The body for a provider that speaks this format.

    A request that nobody changed keeps its bytes: only the model's name is replaced and, for a stream, usage asked
    for, because a stream that is not counted cannot be billed.
    """
    if chat.origin is not None and chat.origin.format == FORMAT:
        changes = {"model": to_json(target.model)}
        if chat.stream and not chat.include_usage:
            changes["stream_options"] = _with_usage(chat.origin.fields.get("stream_options"))
        return replace_fields(chat.origin.body, changes)
    return _write_prompt(chat, target)


def _write_prompt(chat: Chat, target: Target) -> bytes:
    prompt = chat.prompt
    wire = _Request(
        messages=[turn for message in prompt.messages for turn in _write_turns(message)],
        tools=[_ToolDefinition(_write_tool(tool)) for tool in prompt.tools] or None,
        tool_choice=_write_tool_choice(prompt.tool_choice),
        response_format=_write_response_format(prompt.response_format),
        max_tokens=prompt.max_tokens,
        stop=prompt.stop or None,
        **{name: getattr(prompt, name) for name in _SAME_NAME},
    )
    body: dict[str, Any] = {"model": target.model, **msgspec.to_builtins(wire, builtin_types=(Raw,))}
    body.update(prompt.extra)
    if chat.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return to_json(body)


def _with_usage(options: Raw | None) -> bytes:
    if options is None or bytes(options) == b"null":
        return b'{"include_usage":true}'
    return replace_fields(bytes(options), {"include_usage": b"true"})


# --- turns -------------------------------------------------------------------------------------------------------


def _read_turn(turn: _Turn, number: int) -> Message:
    at = f"messages[{number}]"
    if turn.role == "tool":
        if turn.tool_call_id is None:
            raise InvalidRequest(
                "A tool message needs 'tool_call_id'.", param=f"{at}.tool_call_id", code="missing_field"
            )
        parts = [p for p in _read_content(turn.content, at) if isinstance(p, Text | Image)]
        return Message("tool", [ToolResult(turn.tool_call_id, list(parts))], turn.name)
    parts_: list[Part] = []
    if turn.reasoning_content:
        parts_.append(Thinking(turn.reasoning_content))
    parts_ += _read_content(turn.content, at)
    if turn.refusal:
        parts_.append(Refusal(turn.refusal))
    parts_ += [ToolCall(call.id, call.function.name, call.function.arguments) for call in turn.tool_calls or ()]
    return Message(turn.role, parts_, turn.name)


def _read_content(content: str | list[_Piece] | None, at: str) -> list[Part]:
    if content is None:
        return []
    if isinstance(content, str):
        return [Text(content)]
    return [_read_piece(piece, f"{at}.content[{number}]") for number, piece in enumerate(content)]


def _read_piece(piece: _Piece, at: str) -> Part:
    match piece:
        case _Piece(type="text", text=str(text)):
            return Text(text)
        case _Piece(type="refusal", refusal=str(text)):
            return Refusal(text)
        case _Piece(type="image_url", image_url=_Url(url=url, detail=detail)):
            media_type, data = _split_data_url(url)
            return Image(None if data else url, data, media_type, detail)
        case _Piece(type="input_audio", input_audio=_Sound(data=data, format=sound_format)):
            return Audio(data, sound_format)
        case _Piece(type="file", file=_File() as file):
            media_type, data = _split_data_url(file.file_data or "")
            return Document(data or file.file_data, None, file.file_id, media_type, file.filename)
        case _:
            raise InvalidRequest(f"Part of type {piece.type!r} lacks {piece.type!r}.", param=at, code="missing_field")


def _split_data_url(url: str) -> tuple[str | None, str | None]:
    """Media type and base64 data of a ``data:`` URL (RFC 2397); two None for any other."""
    head, comma, data = url.partition(",")
    if not comma or not head.startswith("data:") or not head.endswith(";base64"):
        return None, None
    return head[5:-7].partition(";")[0] or "application/octet-stream", data


def _write_turns(message: Message) -> list[_Turn]:
    name = message.name if message.role == "tool" else None
    results = [part for part in message.parts if isinstance(part, ToolResult)]
    turns = [_Turn("tool", _write_content(list(r.parts)), name, tool_call_id=r.call_id) for r in results]
    if message.role == "tool" or (results and len(results) == len(message.parts)):
        return turns
    calls = [_Call(p.id, _Function(p.name, p.arguments)) for p in message.parts if isinstance(p, ToolCall)]
    refusal = "".join(p.text for p in message.parts if isinstance(p, Refusal))
    thinking = "".join(p.text for p in message.parts if isinstance(p, Thinking))
    return [
        *turns,
        _Turn(
            message.role,
            _write_content(message.parts),
            name=message.name,
            refusal=refusal or None,
            reasoning_content=thinking or None,
            tool_calls=calls or None,
        ),
    ]


def _write_content(parts: list[Any]) -> str | list[_Piece] | None:
    said = [part for part in parts if isinstance(part, Text | Image | Audio | Document)]
    texts = [part.text for part in said if isinstance(part, Text)]
    if len(texts) == len(said):
        return "".join(texts) if said else None
    return [_write_piece(part) for part in said]


def _write_piece(part: Text | Image | Audio | Document) -> _Piece:
    match part:
        case Text(text=text):
            return _Piece("text", text=text)
        case Image(url=url, data=data, media_type=media_type, detail=detail):
            return _Piece("image_url", image_url=_Url(url or f"data:{media_type or ''};base64,{data}", detail))
        case Audio(data=data, format=sound_format):
            return _Piece("input_audio", input_audio=_Sound(data, sound_format))
        case Document():
            data = f"data:{part.media_type};base64,{part.data}" if part.media_type else part.data
            return _Piece("file", file=_File(data, part.file_id, part.filename))


# --- tools and formats -------------------------------------------------------------------------------------------


def _read_tool(wire: _ToolFunction) -> Tool:
    return Tool(wire.name, wire.description, _raw(wire.parameters), wire.strict)


def _write_tool(tool: Tool) -> _ToolFunction:
    return _ToolFunction(tool.name, tool.description, tool.parameters or _EMPTY, tool.strict)


def _raw(value: Raw) -> Raw | None:
    """A copy that does not keep the whole body alive; None for JSON's null."""
    return None if bytes(value) == b"null" else value.copy()


def _read_tool_choice(choice: Literal["auto", "none", "required"] | _Chosen | None) -> ToolChoice | None:
    if choice is None:
        return None
    return ToolChoice("function", choice.function.name) if isinstance(choice, _Chosen) else ToolChoice(choice)


def _write_tool_choice(choice: ToolChoice | None) -> Literal["auto", "none", "required"] | _Chosen | None:
    if choice is None:
        return None
    return _Chosen(_ChosenName(choice.name or "")) if choice.mode == "function" else choice.mode


def _read_response_format(wanted: _Wanted | None) -> ResponseFormat | None:
    if wanted is None:
        return None
    schema = wanted.json_schema
    if wanted.type != "json_schema":
        return ResponseFormat(wanted.type)
    if schema is None:
        raise InvalidRequest(
            "A response_format of type 'json_schema' needs 'json_schema'.",
            param="response_format.json_schema", code="missing_field",
        )  # fmt: skip
    return ResponseFormat("json_schema", schema.name, _raw(schema.schema), schema.strict)


def _write_response_format(wanted: ResponseFormat | None) -> _Wanted | None:
    if wanted is None:
        return None
    if wanted.type != "json_schema":
        return _Wanted(wanted.type)
    return _Wanted("json_schema", _Schema(wanted.name or "reply", wanted.schema or _EMPTY, wanted.strict))


# --- replies -----------------------------------------------------------------------------------------------------


def read_usage(wire: WireUsage | None) -> Usage | None:
    """OpenAI's usage object in canonical names; None where there is none."""
    if wire is None or (wire.prompt_tokens is None and wire.completion_tokens is None):
        return None
    cached = wire.prompt_tokens_details.cached_tokens if wire.prompt_tokens_details else None
    reasoning = wire.completion_tokens_details.reasoning_tokens if wire.completion_tokens_details else None
    return Usage(wire.prompt_tokens or 0, wire.completion_tokens or 0, cached or 0, 0, reasoning or 0)


def write_usage(usage: Usage) -> WireUsage:
    """Canonical usage in OpenAI's names."""
    return WireUsage(
        usage.input_tokens,
        usage.output_tokens,
        usage.total_tokens,
        PromptDetails(usage.cached_input_tokens) if usage.cached_input_tokens else None,
        CompletionDetails(usage.reasoning_tokens) if usage.reasoning_tokens else None,
    )


def glance_reply(body: bytes) -> Usage | None:
    """The usage in a reply that will be passed on verbatim. Raises UpstreamError where it is no reply."""
    try:
        wire = _GLANCE.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UpstreamInvalid("The provider's answer is not a chat completion.") from None
    if not wire.choices and bytes(wire.error) != b"null":
        raise read_error(502, {}, body)
    if wire.choices is None:
        raise UpstreamInvalid("The provider's answer has no 'choices'.")
    return read_usage(wire.usage)


def read_reply(body: bytes) -> Reply:
    """A whole reply. Raises UpstreamInvalid where it is not one."""
    try:
        wire = _REPLY.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        glance_reply(body)  # an error of the provider's own says so
        raise UpstreamInvalid(f"The provider's answer is not a chat completion: {error}.") from None
    choices = [_read_choice(choice) for choice in wire.choices]
    return Reply(
        id=wire.id,
        model=wire.model,
        created_s=int(wire.created),
        choices=choices,
        usage=read_usage(wire.usage),
    )


def _read_choice(wire: _ReplyChoice) -> Choice:
    turn, parts = wire.message, list[Part]()
    if thinking := turn.reasoning_content or turn.reasoning:
        parts.append(Thinking(thinking))
    if turn.content:
        parts.append(Text(turn.content))
    if turn.refusal:
        parts.append(Refusal(turn.refusal))
    parts += [ToolCall(call.id, call.function.name, call.function.arguments) for call in turn.tool_calls or ()]
    return Choice(wire.index, Message("assistant", parts), read_finish(wire.finish_reason), _raw(wire.logprobs))


def read_finish(reason: str | None) -> FinishReason | None:
    """OpenAI's finish_reason; a word it does not have counts as ``stop``."""
    return _FINISH.get(reason, "stop") if reason else None


def write_reply(reply: Reply, model: str) -> bytes:
    """A whole reply in OpenAI's shape, under the model name the client asked for."""
    return to_json(
        {
            "id": reply.id,
            "object": "chat.completion",
            "created": reply.created_s,
            "model": model,
            "choices": [_write_choice(choice) for choice in reply.choices],
            "usage": write_usage(reply.usage) if reply.usage else None,
        }
    )


def _write_choice(choice: Choice) -> dict[str, Any]:
    parts = choice.message.parts
    message: dict[str, Any] = {"role": "assistant", "content": choice.message.text or None, "refusal": None}
    if refusal := "".join(part.text for part in parts if isinstance(part, Refusal)):
        message["refusal"] = refusal
    if thinking := "".join(part.text for part in parts if isinstance(part, Thinking)):
        message["reasoning_content"] = thinking
    if calls := [_Call(p.id, _Function(p.name, p.arguments)) for p in parts if isinstance(p, ToolCall)]:
        message["tool_calls"] = [_write_call(call) for call in calls]
    elif message["content"] is None and not refusal:
        message["content"] = ""
    return {
        "index": choice.index,
        "message": message,
        "logprobs": choice.logprobs,
        "finish_reason": choice.finish_reason,
    }


def _write_call(call: _Call) -> dict[str, Any]:
    return {
        "id": call.id,
        "type": "function",
        "function": {"name": call.function.name, "arguments": call.function.arguments},
    }


def add_extension(body: bytes, extension: Mapping[str, Any]) -> bytes:
    """A reply with the ``x_gateway`` object at its end."""
    return append_field(body, "x_gateway", to_json(extension))


# --- errors and models -------------------------------------------------------------------------------------------


def write_error(error: SwitchgearError) -> bytes:
    """OpenAI's error object; ``provider`` is added where one was involved."""
    body: dict[str, Any] = {
        "message": error.message,
        "type": getattr(error, "upstream_type", None) or error.type,
        "param": error.param,
        "code": error.code,
    }
    if error.provider:
        body["provider"] = error.provider
    return to_json({"error": body})


class _ErrorWords(Struct):
    message: Any = None
    type: Any = None
    code: Any = None
    param: Any = None


def read_error(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamRejected:
    """What an OpenAI-shaped error says; also copes with ``{"error": "text"}``, ``{"message": …}`` and plain text."""
    words = _error_words(body)
    message = words.message if isinstance(words.message, str) else None
    code = words.code if isinstance(words.code, str) else None
    if status == 502 and isinstance(words.code, int) and 400 <= words.code <= 599:
        status = words.code  # an error inside a 200 names its own status
    return UpstreamRejected(
        status,
        (message or _plain(body) or f"The provider answered {status}.")[:2000],
        retry_after=headers.get("retry-after"),
        upstream_code=code,
        upstream_type=words.type if isinstance(words.type, str) else None,
        param=words.param if isinstance(words.param, str) else None,
    )


def _error_words(body: bytes) -> _ErrorWords:
    try:
        said = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _ErrorWords()
    if isinstance(said, list) and said:
        said = said[0]
    if not isinstance(said, dict):
        return _ErrorWords()
    inner = said.get("error", said)
    if isinstance(inner, str):
        return _ErrorWords(message=inner)
    if not isinstance(inner, dict):
        return _ErrorWords()
    message = inner.get("message") or inner.get("detail")
    return _ErrorWords(message, inner.get("type"), inner.get("code"), inner.get("param"))


def _plain(body: bytes) -> str:
    """The text of an error that is not JSON; an HTML page says nothing a caller could use."""
    text = body[:500].decode("utf-8", "replace").strip()
    return "" if text.startswith(("<", "{", "[")) else text


def write_models(models: list[ModelInfo]) -> bytes:
    """The answer to ``GET /v1/models``."""
    return to_json({"object": "list", "data": [write_model(model) for model in models]})


def write_model(model: ModelInfo) -> dict[str, Any]:
    """One model, as ``GET /v1/models/{id}`` shows it."""
    shown: dict[str, Any] = {
        "id": model.id, "object": "model", "created": model.created_s, "owned_by": model.owned_by
    }  # fmt: skip
    if model.context_window_tokens:
        shown["context_window"] = model.context_window_tokens
    if model.capabilities:
        shown["capabilities"] = model.capabilities
    return shown
