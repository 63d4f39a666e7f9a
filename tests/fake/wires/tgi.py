"""Text Generation Inference's own wire: /generate, /generate_stream, /info (shapes as in TGI 3.3)."""

from collections.abc import Iterator
from typing import Any

import msgspec

from tests.fake.wires.protocol import Ask, Frame, Refusal, Request, Spec, route, tokens_of, whole_number

MAX_STOP_SEQUENCES = 4
MAX_INPUT_TOKENS = 4095
MAX_TOTAL_TOKENS = 4096
# OpenAI's words to TGI's; TGI calls no tools here.
FINISH_REASONS = {"stop": "eos_token", "tool_calls": "eos_token"}
BAD_PARAMETERS = (
    ("temperature", lambda value: value <= 0, "`temperature` must be strictly positive"),
    ("repetition_penalty", lambda value: value <= 0, "`repetition_penalty` must be strictly positive"),
    (
        "frequency_penalty",
        lambda value: not -2 <= value <= 2,
        "`frequency_penalty` must be >= -2.0 and <= 2.0",
    ),
    ("top_p", lambda value: not 0 < value < 1, "`top_p` must be > 0.0 and < 1.0"),
    ("typical_p", lambda value: not 0 < value < 1, "`typical_p` must be > 0.0 and < 1.0"),
    ("top_k", lambda value: value <= 0, "`top_k` must be strictly positive"),
    ("max_new_tokens", lambda value: value == 0, "`max_new_tokens` must be strictly positive"),
)
encode = msgspec.json.encode


class TgiWire:
    """https://huggingface.github.io/text-generation-inference. It serves one model and never names it."""

    routes = (
        route("generate", "POST", r"/generate"),
        route("generate_stream", "POST", r"/generate_stream"),
        route("info", "GET", r"/info"),
    )
    stream_type = "text/event-stream"
    reply_type = "application/json"

    def read(self, request: Request) -> Ask:
        inputs = request.fields.get("inputs")
        text = inputs if isinstance(inputs, str) else ""
        return Ask(
            model=request.models[0] if request.route != "info" else None,
            stream=request.route == "generate_stream",
            last_user_text=text,
            input_tokens=len(text.split()),
            limit_tokens=whole_number(_parameters(request).get("max_new_tokens")),
            generates=request.route != "info",
        )

    def validate(self, request: Request) -> Refusal | None:
        if request.route == "info":
            return None
        mistyped = _mistyped(request)
        if mistyped is not None:
            return mistyped
        problem = _problem(request)
        if problem is None:
            return None
        body = encode({"error": f"Input validation error: {problem}", "error_type": "validation"})
        if request.route == "generate_stream":
            # TGI validates inside the stream: the status is 200 and the error is its only event.
            return Refusal(200, _event(body), self.stream_type)
        return Refusal(422, body)

    def reply(self, spec: Spec) -> bytes:
        if spec.request.route == "info":
            return encode(_info(spec.request.models[0]))
        body: dict[str, Any] = {"generated_text": _full_text(spec)}
        parameters = _parameters(spec.request)
        if parameters.get("details") or parameters.get("decoder_input_details"):
            details = {
                "finish_reason": _finish_reason(spec),
                "generated_tokens": spec.usage.output_tokens,
                "seed": parameters.get("seed"),
                "prefill": _prefill(spec) if parameters.get("decoder_input_details") else [],
                "tokens": [_token(index, chunk) for index, chunk in enumerate(spec.chunks)],
            }
            body["details"] = None if spec.script.omit_usage else details
        return encode(body)

    def stream(self, spec: Spec) -> Iterator[Frame]:
        for index, chunk in enumerate(spec.chunks, start=1):
            yield Frame(_event(encode(_stream_response(index, _token(index, chunk)))), tokens_of(chunk))
        if spec.script.stream_error is not None:
            message = f"Request failed during generation: {spec.script.stream_error}"
            yield Frame(_event(encode({"error": message, "error_type": "generation"})))
        elif not spec.script.omit_done:
            # The last event carries the end-of-sequence token and the whole text; there is no [DONE].
            last = {"id": 2, "text": "</s>", "logprob": -0.25, "special": True}
            body = _stream_response(len(spec.chunks) + 1, last) | {"generated_text": _full_text(spec)}
            if _parameters(spec.request).get("details") and not spec.script.omit_usage:
                body["details"] = {
                    "finish_reason": _finish_reason(spec),
                    "generated_tokens": spec.usage.output_tokens,
                    "seed": _parameters(spec.request).get("seed"),
                    "input_length": spec.usage.input_tokens,
                }
            yield Frame(_event(encode(body)))

    def error(self, status: int, message: str, code: str | None = None) -> bytes:
        kinds = {422: "validation", 424: "generation", 429: "overloaded", 500: "incomplete_generation"}
        return encode({"error": message, "error_type": code or kinds.get(status, "generation")})


def _event(body: bytes) -> bytes:
    # No space after the colon: legal SSE, and what TGI's own documentation shows.
    return b"data:" + body + b"\n\n"


def _parameters(request: Request) -> dict[str, Any]:
    parameters = request.fields.get("parameters")
    return parameters if isinstance(parameters, dict) else {}


def _finish_reason(spec: Spec) -> str:
    return FINISH_REASONS.get(spec.finish_reason, spec.finish_reason)


def _full_text(spec: Spec) -> str:
    prompt = spec.ask.last_user_text if _parameters(spec.request).get("return_full_text") else ""
    return prompt + (spec.text or "")


def _token(index: int, text: str) -> dict[str, Any]:
    return {"id": 1000 + index, "text": text, "logprob": -0.25, "special": False}


def _prefill(spec: Spec) -> list[dict[str, Any]]:
    words = spec.ask.last_user_text.split()
    return [{"id": 500 + index, "text": word, "logprob": -0.5} for index, word in enumerate(words)]


def _stream_response(index: int, token: dict[str, Any]) -> dict[str, Any]:
    return {"index": index, "token": token, "generated_text": None, "details": None}


def _info(model: str) -> dict[str, Any]:
    return {
        "model_id": model,
        "model_sha": "0123456789abcdef0123456789abcdef01234567",
        "model_pipeline_tag": "text-generation",
        "max_concurrent_requests": 128,
        "max_best_of": 2,
        "max_stop_sequences": MAX_STOP_SEQUENCES,
        "max_input_tokens": MAX_INPUT_TOKENS,
        "max_total_tokens": MAX_TOTAL_TOKENS,
        "validation_workers": 2,
        "max_client_batch_size": 4,
        "router": "text-generation-router",
        "version": "3.3.7",
        "sha": "fake",
        "docker_label": "sha-fake",
    }


def _mistyped(request: Request) -> Refusal | None:
    """What axum's JSON extractor refuses before TGI sees it, as plain text."""
    plain = "text/plain; charset=utf-8"
    if request.json is None:
        return Refusal(400, b"Failed to parse the request body as JSON: expected value at line 1 column 1", plain)
    shape = "Failed to deserialize the JSON body into the target type: "
    inputs = request.fields.get("inputs")
    if inputs is None:
        return Refusal(422, f"{shape}missing field `inputs` at line 1 column {len(request.body)}".encode(), plain)
    if not isinstance(inputs, str):
        return Refusal(422, f"{shape}inputs: invalid type, expected a string at line 1 column 1".encode(), plain)
    for name, _, _ in BAD_PARAMETERS:
        value = _parameters(request).get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            return Refusal(422, f"{shape}parameters.{name}: invalid type at line 1 column 1".encode(), plain)
    return None


def _problem(request: Request) -> str | None:
    parameters = _parameters(request)
    if request.route == "generate_stream" and (parameters.get("best_of") or 1) != 1:
        return "`best_of` != 1 is not supported when streaming tokens"
    if request.route == "generate_stream" and parameters.get("decoder_input_details"):
        return "`decoder_input_details` == true is not supported when streaming tokens"
    for name, is_bad, message in BAD_PARAMETERS:
        if parameters.get(name) is not None and is_bad(parameters[name]):
            return message
    stops = parameters.get("stop") or []
    if len(stops) > MAX_STOP_SEQUENCES:
        return f"`stop` supports up to {MAX_STOP_SEQUENCES} stop sequences. Given: {len(stops)}"
    if not request.fields["inputs"]:
        return "`inputs` cannot be empty"
    count, asked = len(request.fields["inputs"].split()), parameters.get("max_new_tokens") or 0
    if count + asked > MAX_TOTAL_TOKENS:
        return (
            f"`inputs` tokens + `max_new_tokens` must be <= {MAX_TOTAL_TOKENS}. "
            f"Given: {count} `inputs` tokens and {asked} `max_new_tokens`"
        )
    return None
