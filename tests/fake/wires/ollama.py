"""Ollama's native wire: /api/chat and what discovery reads (shapes as in its api/types.go, August 2026)."""

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from tests.fake.script import ToolCall
from tests.fake.wires.protocol import (
    Ask,
    Frame,
    Refusal,
    Request,
    Spec,
    input_tokens_of,
    last_user_text_of,
    messages_of,
    route,
    tokens_of,
    whole_number,
)

CONTEXT_TOKENS = 8192
VERSION = "0.40.12"
DETAILS = {
    "parent_model": "",
    "format": "gguf",
    "family": "llama",
    "families": ["llama"],
    "parameter_size": "1.2B",
    "quantization_level": "Q8_0",
}
GO_NAMES = {str: "string", bool: "bool", int: "number", float: "number", list: "array", dict: "object"}
THINK_LEVELS = ("high", "medium", "low", "max")
encode = msgspec.json.encode


class OllamaWire:
    """https://docs.ollama.com/api."""

    routes = (
        route("chat", "POST", r"/api/chat"),
        route("tags", "GET", r"/api/tags"),
        route("show", "POST", r"/api/show"),
        route("version", "GET", r"/api/version"),
        route("ps", "GET", r"/api/ps"),
    )
    stream_type = "application/x-ndjson"
    reply_type = "application/json; charset=utf-8"

    def read(self, request: Request) -> Ask:
        fields, messages = request.fields, messages_of(request.fields)
        model = fields.get("model") or fields.get("name")
        options = fields.get("options")
        limit = whole_number(options.get("num_predict")) if isinstance(options, dict) else None
        return Ask(
            model=model if isinstance(model, str) else None,
            stream=request.route == "chat" and bool(messages) and fields.get("stream") is not False,
            last_user_text=last_user_text_of(messages),
            input_tokens=input_tokens_of(messages),
            # A negative num_predict means no limit.
            limit_tokens=limit if limit is not None and limit >= 0 else None,
            # A chat without messages only loads the model.
            generates=request.route == "chat" and bool(messages),
        )

    def validate(self, request: Request) -> Refusal | None:
        if request.route not in ("chat", "show"):
            return None
        problem = _problem(request)
        return Refusal(400, encode({"error": problem}), self.reply_type) if problem else None

    def reply(self, spec: Spec) -> bytes:
        name = spec.request.route
        if name == "chat":
            return encode(_whole(spec))
        if name == "show":
            return encode(_shown())
        if name == "version":
            return encode({"version": VERSION})
        describe = _listed if name == "tags" else _running
        return encode({"models": [describe(model) for model in spec.request.models]})

    def stream(self, spec: Spec) -> Iterator[Frame]:
        for chunk in spec.thinking_chunks:
            yield _line(_piece(spec, {"thinking": chunk}), tokens_of(chunk))
        for chunk in spec.chunks:
            yield _line(_piece(spec, {}, chunk) | _logprobs(spec, [chunk]), tokens_of(chunk))
        for index, call in enumerate(spec.tool_calls):
            # Ollama sends a call whole, never its arguments in pieces.
            yield _line(_piece(spec, {"tool_calls": [_call(index, call)]}), call_tokens(call))
        if spec.script.stream_error is not None:
            yield _line({"error": spec.script.stream_error})
        elif not spec.script.omit_done:
            yield _line(_piece(spec, {}, "") | _ending(spec))

    def error(self, status: int, message: str, code: str | None = None) -> bytes:
        # Ollama has no codes.
        return encode({"error": message})


def call_tokens(call: ToolCall) -> int:
    """A call bills the same on every wire: one for its name, one for eight characters of arguments."""
    return 1 + -(-len(call.arguments) // 8)


def _line(value: dict[str, Any], tokens: int = 0) -> Frame:
    return Frame(encode(value) + b"\n", tokens)


def _piece(spec: Spec, extra: dict[str, Any], content: str = "") -> dict[str, Any]:
    message = {"role": "assistant", "content": content} | extra
    return {"model": spec.model, "created_at": _timestamp(), "message": message, "done": False}


def _ending(spec: Spec) -> dict[str, Any]:
    # Ollama has no word for tool calls: it just stops.
    reason = "stop" if spec.finish_reason == "tool_calls" else spec.finish_reason
    ending: dict[str, Any] = {"done": True, "done_reason": reason, "total_duration": 7_000_000}
    if spec.script.omit_usage:
        return ending
    return ending | {
        "load_duration": 1_000_000,
        "prompt_eval_count": spec.usage.input_tokens,
        "prompt_eval_duration": 2_000_000,
        "eval_count": spec.usage.output_tokens,
        "eval_duration": 4_000_000,
    }


def _whole(spec: Spec) -> dict[str, Any]:
    if not spec.ask.generates:
        keep_alive = spec.request.fields.get("keep_alive")
        reason = "unload" if keep_alive in (0, "0", "0s") else "load"
        return _piece(spec, {}) | {"done": True, "done_reason": reason}
    extra: dict[str, Any] = {"thinking": spec.thinking} if spec.thinking is not None else {}
    if spec.tool_calls:
        extra["tool_calls"] = [_call(index, call) for index, call in enumerate(spec.tool_calls)]
    return _piece(spec, extra, spec.text or "") | _ending(spec) | _logprobs(spec, spec.chunks)


def _call(index: int, call: ToolCall) -> dict[str, Any]:
    arguments = json.loads(call.arguments or "{}")
    return {"id": call.id, "function": {"index": index, "name": call.name, "arguments": arguments}}


def _logprobs(spec: Spec, chunks: list[str]) -> dict[str, Any]:
    if not spec.script.logprobs and spec.request.fields.get("logprobs") is not True:
        return {}
    return {"logprobs": [{"token": chunk, "logprob": -0.25, "bytes": list(chunk.encode())} for chunk in chunks]}


def _timestamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _listed(name: str) -> dict[str, Any]:
    digest = hashlib.sha256(name.encode()).hexdigest()
    capabilities = ["completion", "tools", "thinking"]
    return {
        "name": name,
        "model": name,
        "modified_at": "2026-11-01T12:00:00.000000001Z",
        "size": 1_321_098_329,
        "digest": digest,
        "details": DETAILS,
        "capabilities": capabilities,
    }


def _running(name: str) -> dict[str, Any]:
    listed = {key: value for key, value in _listed(name).items() if key not in ("modified_at", "capabilities")}
    expiry = {"expires_at": "2030-01-01T00:00:00Z", "size_vram": 1_321_098_329}
    return listed | expiry | {"context_length": CONTEXT_TOKENS}


def _shown() -> dict[str, Any]:
    return {
        "license": "Apache-2.0",
        "modelfile": "# Modelfile generated by a fake\nFROM fake\n",
        "parameters": f"num_ctx {CONTEXT_TOKENS}",
        "template": "{{ .Prompt }}",
        "details": DETAILS,
        "model_info": {
            "general.architecture": "llama",
            "general.parameter_count": 1_235_814_432,
            "llama.context_length": CONTEXT_TOKENS,
            "llama.embedding_length": 2048,
        },
        "capabilities": ["completion", "tools", "thinking"],
        "modified_at": "2026-11-01T12:00:00.000000001Z",
    }


def _problem(request: Request) -> str | None:
    """What Go's JSON decoder or Ollama's handler would say."""
    if not request.body:
        return "missing request body"
    body = request.json
    if not isinstance(body, dict):
        first = chr(request.body[0])
        if body is None:
            return f"invalid character '{first}' looking for beginning of value"
        return f"json: cannot unmarshal {GO_NAMES[type(body)]} into Go value of type api.ChatRequest"
    return _type_problem(body) or _message_problem(body) or _value_problem(body)


def _type_problem(body: dict[str, Any]) -> str | None:
    fields: dict[str, tuple[type | tuple[type, ...], str]] = {
        "model": (str, "string"),
        "messages": (list, "[]api.Message"),
        "stream": (bool, "bool"),
        "options": (dict, "map[string]interface {}"),
        "tools": (list, "api.Tools"),
        "logprobs": (bool, "bool"),
        "top_logprobs": (int, "int"),
    }
    for name, (kind, go_type) in fields.items():
        value = body.get(name)
        if value is not None and not isinstance(value, kind):
            got = GO_NAMES[type(value)]
            return f"json: cannot unmarshal {got} into Go struct field ChatRequest.{name} of type {go_type}"
    think = body.get("think")
    if isinstance(think, str) and think not in THINK_LEVELS:
        return f'invalid think value: "{think}" (must be "high", "medium", "low", "max", true, or false)'
    if think is not None and not isinstance(think, (bool, str)):
        return 'think must be a boolean or string ("high", "medium", "low", "max", true, or false)'
    return None


def _message_problem(body: dict[str, Any]) -> str | None:
    for message in body.get("messages") or []:
        if not isinstance(message, dict):
            return f"json: cannot unmarshal {GO_NAMES[type(message)]} into Go value of type api.Alias"
        for name in ("role", "content", "thinking", "tool_name", "tool_call_id"):
            value = message.get(name)
            if value is not None and not isinstance(value, str):
                got = GO_NAMES[type(value)]
                return f"json: cannot unmarshal {got} into Go struct field Alias.{name} of type string"
        for call in message.get("tool_calls") or []:
            function = call.get("function") if isinstance(call, dict) else None
            arguments = function.get("arguments") if isinstance(function, dict) else None
            if arguments is not None and not isinstance(arguments, dict):
                # OpenAI's arguments are a string, Ollama's an object: the commonest mistake of a translator.
                return (
                    f"json: cannot unmarshal {GO_NAMES[type(arguments)]} into Go struct field "
                    "ToolCallFunction.tool_calls.function.arguments of type api.ToolCallFunctionArguments"
                )
    return None


def _value_problem(body: dict[str, Any]) -> str | None:
    if not 0 <= (body.get("top_logprobs") or 0) <= 20:
        return "top_logprobs must be between 0 and 20"
    if not (body.get("model") or body.get("name")):
        return "model is required"
    return None
