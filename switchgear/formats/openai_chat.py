"""OpenAI chat completions: requests, both ways.

Follows https://platform.openai.com/docs/api-reference/chat and the types of the ``openai`` package. The turns of a
conversation are in openai_turns.py, replies in openai_reply.py, streams in openai_stream.py. A request is read in two
steps: the few fields routing needs at once, the conversation only when somebody must change or translate it.
"""

from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct

from switchgear.core.errors import InvalidRequest
from switchgear.core.types import Chat, Origin, Prompt, ResponseFormat, Target, Tool, ToolChoice, to_json
from switchgear.formats.body import invalid_field, own_copy, read_object, replace_fields
from switchgear.formats.openai_turns import WireTurn, read_turn, write_turns

FORMAT = "openai_chat"

_NULL = Raw(b"null")


# --- the wire's own shapes ---------------------------------------------------------------------------------------


class _ToolFunction(Struct, omit_defaults=True):
    name: str
    description: str | None = None
    parameters: Raw = _NULL
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
    schema: Raw = _NULL
    strict: bool | None = None
    description: str | None = None


class _Wanted(Struct, omit_defaults=True):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: _Schema | None = None


class _Request(Struct, kw_only=True, omit_defaults=True):
    messages: list[WireTurn]
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
    messages: Raw = _NULL
    stream: bool | None = None
    stream_options: _StreamOptions | None = None


_REQUEST = msgspec.json.Decoder(_Request)
_HEAD = msgspec.json.Decoder(_Head)
_KNOWN = frozenset(_Request.__struct_fields__) | {"model", "stream", "stream_options"}


# --- requests ----------------------------------------------------------------------------------------------------


def read_request(body: bytes) -> Chat:
    """A request as a client sent it. Raises InvalidRequest, with the offending field in ``param``."""
    head = read_object(body, _HEAD)
    if not head.model:
        raise _missing("model", "name the model to use")
    if head.messages is _NULL:
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
        messages=[read_turn(turn, number) for number, turn in enumerate(wire.messages)],
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
        messages=[turn for message in prompt.messages for turn in write_turns(message)],
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


# --- tools and response formats ----------------------------------------------------------------------------------


def _read_tool(wire: _ToolFunction) -> Tool:
    return Tool(wire.name, wire.description, own_copy(wire.parameters), wire.strict)


def _write_tool(tool: Tool) -> _ToolFunction:
    return _ToolFunction(tool.name, tool.description, tool.parameters or _NULL, tool.strict)


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
    return ResponseFormat("json_schema", schema.name, own_copy(schema.schema), schema.strict)


def _write_response_format(wanted: ResponseFormat | None) -> _Wanted | None:
    if wanted is None:
        return None
    if wanted.type != "json_schema":
        return _Wanted(wanted.type)
    return _Wanted("json_schema", _Schema(wanted.name or "reply", wanted.schema or _NULL, wanted.strict))
