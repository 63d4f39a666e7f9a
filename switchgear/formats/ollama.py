"""Ollama's native chat, ``/api/chat``: requests out.

Follows https://docs.ollama.com/api and ``api/types.go`` of https://github.com/ollama/ollama (August 2026). What a
request says is carried, mapped, dropped (DROPPED says why) or refused by name; nothing is lost in silence. What comes
back is in ollama_reply.py.

Where the vendor's page leaves room: a tool result has no mark for failure, so a failed one begins with ``Error: ``;
pictures belong to a message, not to a place in its text.
"""

from typing import Any

import msgspec
from msgspec import Raw

from switchgear.core.errors import InvalidRequest
from switchgear.core.types import (
    Chat,
    Image,
    Message,
    Prompt,
    Refusal,
    ResponseFormat,
    Target,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    to_json,
)
from switchgear.formats.body import UNREADABLE, read_arguments, replace_fields, untranslatable

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

CARRIED_EXTRA = ("keep_alive", "think", "format", "truncate", "shift")
"""Fields of a request, besides the canonical ones, that Ollama knows by the same name."""

OPTIONS = {
    "temperature": "temperature", "top_p": "top_p", "top_k": "top_k", "min_p": "min_p", "seed": "seed",
    "max_tokens": "num_predict", "presence_penalty": "presence_penalty", "frequency_penalty": "frequency_penalty",
    "repetition_penalty": "repeat_penalty",
}  # fmt: skip
"""What the settings of a request are called in Ollama's ``options``."""

THINK: dict[str, bool | str] = {
    "none": False, "minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "max",
    "ultra": "max", "max": "max",
}  # fmt: skip
"""Efforts as Ollama's own OpenAI front maps them to ``think`` (openai.go, thinkFromReasoningEffort)."""

_NULL = Raw(b"null")


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
    body |= {name: prompt.extra[name] for name in CARRIED_EXTRA if name in prompt.extra}
    return to_json(body)


def _refuse_what_cannot_be_said(prompt: Prompt) -> None:
    if prompt.n is not None and prompt.n != 1:
        raise untranslatable("n", "Ollama gives one answer at a time; ask again for another")
    if prompt.logit_bias:
        raise untranslatable("logit_bias", "Ollama has no bias of single tokens")
    if prompt.parallel_tool_calls is False and prompt.tools:
        raise untranslatable("parallel_tool_calls", "Ollama cannot keep a model from calling several tools at once")
    if prompt.tool_choice is not None and prompt.tool_choice.mode in ("required", "function"):
        raise untranslatable("tool_choice", "Ollama cannot make a model call a tool; use 'auto' or 'none'")
    for name, value in prompt.extra.items():
        known = name in DROPPED or name in CARRIED_EXTRA or name == "options"
        if not known and bytes(value) != b"null":
            raise untranslatable(name, "Ollama has no such field")


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
                raise untranslatable(f"{at}.content", f"Ollama has no {type(part).__name__.lower()} parts")
    more = {"thinking": thinking, "images": images, "tool_calls": calls}
    return turn | {"content": content} | {name: value for name, value in more.items() if value}


def _write_image(image: Image, at: str) -> str:
    if image.data is None:
        raise untranslatable(f"{at}.content", "Ollama takes pictures as base64 only; send a data: URL")
    return image.data


def _write_call(call: ToolCall, number: int, at: str) -> dict[str, Any]:
    function = {
        "index": number,
        "name": call.name,
        "arguments": read_arguments(call, f"{at}.tool_calls[{number}].function.arguments"),
    }
    return {"id": call.id, "type": "function", "function": function}


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
    options = {theirs: getattr(prompt, ours) for ours, theirs in OPTIONS.items()}
    options["stop"] = prompt.stop or None
    asked = {name: value for name, value in options.items() if value is not None}
    try:
        own = msgspec.json.decode(prompt.extra.get("options", _NULL), type=dict[str, Raw] | None)
    except UNREADABLE:
        raise InvalidRequest("Field 'options' must be an object.", param="options", code="invalid_type") from None
    return asked | (own or {})


def _write_think(effort: str) -> bool | str:
    if effort not in THINK:
        raise untranslatable("reasoning_effort", f"Ollama knows {', '.join(THINK)}, not {effort[:50]!r}")
    return THINK[effort]
