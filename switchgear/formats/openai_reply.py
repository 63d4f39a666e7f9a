"""OpenAI chat completions: whole replies, both ways, and the usage and finish reasons that streams have too.

Follows https://platform.openai.com/docs/api-reference/chat/object.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct

from switchgear.core.errors import UpstreamInvalid
from switchgear.core.types import (
    Choice,
    FinishReason,
    Message,
    Part,
    Refusal,
    Reply,
    Text,
    Thinking,
    ToolCall,
    Usage,
    to_json,
)
from switchgear.formats.body import UNREADABLE, append_field, own_copy
from switchgear.formats.openai_error import read_error
from switchgear.formats.openai_turns import WireCall

_NULL = Raw(b"null")
_FINISH: dict[str, FinishReason] = {
    "stop": "stop", "length": "length", "tool_calls": "tool_calls", "function_call": "tool_calls",
    "content_filter": "content_filter", "error": "error",
}  # fmt: skip


# --- the wire's own shapes ---------------------------------------------------------------------------------------


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
    tool_calls: list[WireCall] | None = None


class _ReplyChoice(Struct):
    message: _ReplyTurn
    index: int = 0
    finish_reason: str | None = None
    logprobs: Raw = _NULL


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
    error: Raw = _NULL


_REPLY = msgspec.json.Decoder(_Reply)
_GLANCE = msgspec.json.Decoder(_Glance)


# --- usage and finish reasons ------------------------------------------------------------------------------------


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


def read_finish(reason: str | None) -> FinishReason | None:
    """OpenAI's finish_reason; a word it does not have counts as ``stop``."""
    return _FINISH.get(reason, "stop") if reason else None


# --- replies -----------------------------------------------------------------------------------------------------


def glance_reply(body: bytes) -> Usage | None:
    """The usage in a reply that will be passed on verbatim. Raises UpstreamError where it is no reply."""
    try:
        wire = _GLANCE.decode(body)
    except UNREADABLE:
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
    except UNREADABLE as error:
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
    return Choice(wire.index, Message("assistant", parts), read_finish(wire.finish_reason), own_copy(wire.logprobs))


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
    if calls := [part for part in parts if isinstance(part, ToolCall)]:
        message["tool_calls"] = [_write_call(call) for call in calls]
    elif message["content"] is None and not refusal:
        message["content"] = ""
    return {
        "index": choice.index,
        "message": message,
        "logprobs": choice.logprobs,
        "finish_reason": choice.finish_reason,
    }


def _write_call(call: ToolCall) -> dict[str, Any]:
    return {
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }


def add_extension(body: bytes, extension: Mapping[str, Any]) -> bytes:
    """A reply with the ``x_gateway`` object at its end."""
    return append_field(body, "x_gateway", to_json(extension))
