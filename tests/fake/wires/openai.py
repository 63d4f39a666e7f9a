"""OpenAI's wire: chat completions, embeddings, models (shapes as in openai-python 3.52, types/chat)."""

import base64
import hashlib
import struct
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

import msgspec

from tests.fake.script import ToolCall, Usage
from tests.fake.wires.openai_rules import chat_problem, embeddings_problem, error_body
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

ARGUMENT_PIECE_CHARS = 8
DEFAULT_DIMENSIONS = 8
MODELS_CREATED_S = 1_700_000_000
encode = msgspec.json.encode


class OpenAIWire:
    """https://platform.openai.com/docs/api-reference."""

    routes = (
        route("chat", "POST", r"/v1/chat/completions"),
        route("embeddings", "POST", r"/v1/embeddings"),
        route("models", "GET", r"/v1/models"),
        route("model", "GET", r"/v1/models/(?P<model>.+)"),
    )
    stream_type = "text/event-stream; charset=utf-8"
    reply_type = "application/json"

    def read(self, request: Request) -> Ask:
        fields, messages = request.fields, messages_of(request.fields)
        model = fields.get("model")
        if request.route != "chat":
            return Ask(
                model=model if isinstance(model, str) else request.path_parts.get("model"),
                input_tokens=sum(len(text.split()) for text in _inputs(fields) if isinstance(text, str)),
                generates=False,
            )
        return Ask(
            model=model if isinstance(model, str) else None,
            stream=fields.get("stream") is True,
            last_user_text=last_user_text_of(messages),
            input_tokens=input_tokens_of(messages),
            limit_tokens=whole_number(fields.get("max_completion_tokens", fields.get("max_tokens"))),
            choices=whole_number(fields.get("n")) or 1,
        )

    def validate(self, request: Request) -> Refusal | None:
        if request.route == "chat":
            problem = chat_problem(request.json)
        elif request.route == "embeddings":
            problem = embeddings_problem(request.json)
        elif request.route == "model" and request.path_parts["model"] not in request.models:
            return Refusal(404, self.error(404, f"The model '{request.path_parts['model']}' does not exist"))
        else:
            problem = None
        return Refusal(400, problem) if problem else None

    def reply(self, spec: Spec) -> bytes:
        if spec.request.route == "embeddings":
            return encode(_embeddings(spec))
        if spec.request.route == "models":
            return encode({"object": "list", "data": [_model(name) for name in spec.request.models]})
        if spec.request.route == "model":
            return encode(_model(spec.model))
        choices = [
            {
                "index": index,
                "message": _message(spec),
                "logprobs": _logprobs(spec, spec.chunks),
                "finish_reason": spec.finish_reason,
            }
            for index in range(spec.ask.choices)
        ]
        body = _envelope(spec, "chat.completion") | {"choices": choices}
        if not spec.script.omit_usage:
            body["usage"] = usage_object(spec.usage)
        return encode(body | {"service_tier": "default", "system_fingerprint": "fp_fake"})

    def stream(self, spec: Spec) -> Iterator[Frame]:
        wants_usage = (spec.request.fields.get("stream_options") or {}).get("include_usage") is True
        envelope = _envelope(spec, "chat.completion.chunk") | {
            "service_tier": "default",
            "system_fingerprint": "fp_fake",
        }
        # With include_usage every chunk has the field, null but in the last; without it none has.
        tail: dict[str, Any] = {"usage": None} if wants_usage else {}

        def frame(choices: list[dict[str, Any]], tokens: int = 0) -> Frame:
            return Frame(b"data: " + encode(envelope | {"choices": choices} | tail) + b"\n\n", tokens)

        every = range(spec.ask.choices)
        first = {"role": "assistant", "content": "" if spec.chunks else None, "refusal": None}
        yield from (frame([_choice(index, first)]) for index in every)
        for delta, logprobs, tokens in _deltas(spec):
            yield from (frame([_choice(index, delta, logprobs=logprobs)], tokens) for index in every)
        if spec.script.stream_error is not None:
            yield Frame(b"data: " + self.error(500, spec.script.stream_error) + b"\n\n")
            return
        yield from (frame([_choice(index, {}, finish_reason=spec.finish_reason)]) for index in every)
        if wants_usage and not spec.script.omit_usage:
            tail = {"usage": usage_object(spec.usage)}
            yield frame([])
        if not spec.script.omit_done:
            yield Frame(b"data: [DONE]\n\n")

    def error(self, status: int, message: str, code: str | None = None) -> bytes:
        kinds = {401: "invalid_request_error", 429: "requests", 503: "service_unavailable_error"}
        codes = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}
        kind = kinds.get(status, "server_error" if status >= 500 else "invalid_request_error")
        return error_body(message, kind=kind, code=code or codes.get(status))


def usage_object(usage: Usage) -> dict[str, Any]:
    """The usage block of chat completions."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "audio_tokens": usage.audio_input_tokens,
            # Newer than most: sent only where a script speaks of it.
            **({"cache_write_tokens": usage.cache_write_tokens} if usage.cache_write_tokens else {}),
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": usage.audio_output_tokens,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _envelope(spec: Spec, kind: str) -> dict[str, Any]:
    number = spec.request.number
    return {"id": f"chatcmpl-fake-{number}", "object": kind, "created": spec.created_s, "model": spec.model}


def _message(spec: Spec) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": spec.text, "refusal": None, "annotations": []}
    if spec.thinking is not None:
        message[spec.script.thinking_field] = spec.thinking
    if spec.tool_calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in spec.tool_calls
        ]
    return message


def _choice(
    index: int, delta: dict[str, Any], *, logprobs: Any = None, finish_reason: str | None = None
) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}


def _deltas(spec: Spec) -> Iterator[tuple[dict[str, Any], Any, int]]:
    """Each delta, its logprobs and its output tokens: thoughts, then text, then tools."""
    for chunk in spec.thinking_chunks:
        yield {spec.script.thinking_field: chunk}, None, tokens_of(chunk)
    for chunk in spec.chunks:
        yield {"content": chunk}, _logprobs(spec, [chunk]), tokens_of(chunk)
    for delta, tokens in _tool_deltas(spec.tool_calls):
        yield {"tool_calls": [delta]}, None, tokens


def _tool_deltas(calls: list[ToolCall]) -> Iterator[tuple[dict[str, Any], int]]:
    """Open every call, then deal out their argument pieces in turn, so that an assembler must go by index."""
    for index, call in enumerate(calls):
        function = {"name": call.name, "arguments": ""}
        yield {"index": index, "id": call.id, "type": "function", "function": function}, 1
    for row in zip_longest(*(argument_pieces(call.arguments) for call in calls)):
        for index, piece in enumerate(row):
            if piece is not None:
                yield {"index": index, "function": {"arguments": piece}}, 1


def argument_pieces(arguments: str) -> list[str]:
    """Arguments as a model would stream them: a few characters at a time, one token each."""
    return [arguments[start : start + ARGUMENT_PIECE_CHARS] for start in range(0, len(arguments), ARGUMENT_PIECE_CHARS)]


def _logprobs(spec: Spec, chunks: list[str]) -> dict[str, Any] | None:
    if not spec.script.logprobs and spec.request.fields.get("logprobs") is not True:
        return None
    top = whole_number(spec.request.fields.get("top_logprobs")) or 0
    return {"content": [_token_logprob(chunk, top) for chunk in chunks], "refusal": None}


def _token_logprob(chunk: str, top: int) -> dict[str, Any]:
    def one(token: str, logprob: float) -> dict[str, Any]:
        return {"token": token, "logprob": logprob, "bytes": list(token.encode())}

    others = [one(chunk if rank == 0 else f"{chunk}{rank}", -0.25 * (rank + 1)) for rank in range(top)]
    return one(chunk, -0.25) | {"top_logprobs": others}


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": MODELS_CREATED_S, "owned_by": "fake"}


def _inputs(fields: dict[str, Any]) -> list[Any]:
    """The inputs of an embeddings request, each a text or a list of token numbers."""
    given = fields.get("input")
    if isinstance(given, list) and given and not all(isinstance(item, int) for item in given):
        return given
    return [given]


def _embeddings(spec: Spec) -> dict[str, Any]:
    fields = spec.request.fields
    dimensions = whole_number(fields.get("dimensions")) or DEFAULT_DIMENSIONS
    as_base64 = fields.get("encoding_format") == "base64"
    data = []
    for index, given in enumerate(_inputs(fields)):
        vector = embedding_of(repr(given), dimensions)
        packed = base64.b64encode(struct.pack(f"<{dimensions}f", *vector)).decode() if as_base64 else vector
        data.append({"object": "embedding", "index": index, "embedding": packed})
    count = spec.usage.input_tokens
    usage = {"prompt_tokens": count, "total_tokens": count}
    return {"object": "list", "data": data, "model": spec.model, "usage": usage}


def embedding_of(text: str, dimensions: int) -> list[float]:
    """A vector that depends on the text alone, each part in [-1, 1] and exact in 32 bits."""
    digest = hashlib.shake_256(text.encode()).digest(dimensions)
    return [(byte - 128) / 128 for byte in digest]
