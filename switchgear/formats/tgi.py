"""Text Generation Inference's own API, ``/generate`` and ``/generate_stream``: requests out, replies and streams in.

Follows https://huggingface.github.io/text-generation-inference and ``router/src`` of
https://github.com/huggingface/text-generation-inference (3.3). What a request says is carried, mapped, dropped
(DROPPED says why) or refused by name. TGI takes one text and gives one back, so this file decides three things:

* **Turns become text** by one of CHAT_TEMPLATES, which the operator picks to suit the model. The template writes no
  beginning-of-sequence mark: TGI's tokenizer adds it. A tool's result is a turn of the user, because most templates
  know no other. As with every template, text that spells out a control token is read as that token.
* **Tools are described in the system turn**, and a call is written ``{"tool_calls": [{"name": …, "arguments": {…}}]}``.
  Where a call is required, a grammar admits nothing else; where it is the model's choice, a reply is text up to the
  first ``{"tool_calls"``, and from there on calls if all the rest parses as such, text if it does not. TGI takes one
  grammar, so a choice of tools together with a response format is refused, as TGI's own chat does.
* **JSON mode is a grammar**: the schema itself, or, for ``json_object``, a regular expression for an object whose
  values nest two deep (TGI takes no schema without ``properties``).

A reply names neither itself, its model nor its time: ``Started`` is empty. Stop sequences, which TGI leaves at the end
of the text, are cut off; so the readers are told the chat that was asked.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2s
from itertools import groupby
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw, Struct

from switchgear.core.errors import InvalidRequest, UpstreamInvalid, UpstreamRejected, UpstreamTruncated
from switchgear.core.fold import fold
from switchgear.core.types import (
    Chat,
    Event,
    Finished,
    Image,
    LogprobsDelta,
    Message,
    ModelInfo,
    Prompt,
    Refusal,
    Reply,
    Started,
    Target,
    Text,
    TextDelta,
    Thinking,
    Tool,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    Usage,
    UsageReport,
    to_json,
)
from switchgear.formats.sse import SseReader

FORMAT = "tgi"

DROPPED = {
    "user": "names the end user for the vendor's abuse reports; a local model has none",
    "metadata": "labels for the vendor's own log",
    "service_tier": "TGI has one tier",
    "store": "TGI keeps no replies",
    "safety_identifier": "names the end user for the vendor's abuse reports",
    "prompt_cache_key": "a hint; TGI finds cached prefixes by itself",
    "prompt_cache_retention": "a hint; TGI decides for itself",
    "model": "a TGI server serves one model and takes no name",
    "messages[].name": "the templates have no speaker besides the role",
    "image.detail": "a hint; each model has one resolution",
    "thinking": "templates leave out what was thought in earlier turns",
    "parallel_tool_calls": "true is the default; false asks for one call, and the grammar allows no more",
    "tools[].strict": "calls that are required are always constrained by their schema, others never",
    "response_format.name": "TGI takes the bare schema",
    "response_format.strict": "TGI always enforces the schema",
    "presence_penalty": "0 is no penalty; anything else is refused",
    "min_p": "0 is no minimum; anything else is refused",
    "reasoning_effort": "'none' is what TGI does; anything else is refused",
}
"""What a request may say that does not reach TGI, and why that harms nobody."""

_CARRIED_EXTRA = ("adapter_id", "best_of", "grammar", "truncate", "typical_p", "watermark")
_NULL = Raw(b"null")
_NO_PARAMETERS = Raw(b'{"type":"object","properties":{}}')
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


# --- chat templates ----------------------------------------------------------------------------------------------


class Turn(NamedTuple):
    """One turn as text; ``role`` is ``system``, ``user`` or ``assistant``."""

    role: str
    text: str


def chatml(turns: list[Turn]) -> str:
    """ChatML, as Qwen, SmolLM2 and many others: https://huggingface.co/HuggingFaceTB/SmolLM2-1.7B-Instruct."""
    return "".join(f"<|im_start|>{t.role}\n{t.text}<|im_end|>\n" for t in turns) + "<|im_start|>assistant\n"


def llama3(turns: list[Turn]) -> str:
    """Llama 3: https://www.llama.com/docs/model-cards-and-prompt-formats/meta-llama-3."""
    head = "<|start_header_id|>{}<|end_header_id|>\n\n"
    said = "".join(f"{head.format(turn.role)}{turn.text.strip()}<|eot_id|>" for turn in turns)
    return said + head.format("assistant")


def mistral(turns: list[Turn]) -> str:
    """Mistral 7B v0.3: https://huggingface.co/mistralai/Mistral-7B-Instruct-v0.3. The system's words open the last
    turn of the user, and turns of one role that follow each other are one."""
    system = [turn.text for turn in turns if turn.role == "system"]
    rest = [turn for turn in turns if turn.role != "system"]
    runs = [Turn(role, "\n\n".join(t.text for t in run)) for role, run in groupby(rest, lambda t: t.role)]
    last = max((number for number, turn in enumerate(runs) if turn.role == "user"), default=len(runs))
    if last == len(runs):
        runs.append(Turn("user", ""))
    runs[last] = Turn("user", "\n\n".join(filter(None, [*system, runs[last].text])))
    return "".join(f"[INST] {t.text}[/INST]" if t.role == "user" else f" {t.text}</s>" for t in runs)


def zephyr(turns: list[Turn]) -> str:
    """Zephyr: https://huggingface.co/HuggingFaceH4/zephyr-7b-beta."""
    return "".join(f"<|{turn.role}|>\n{turn.text}</s>\n" for turn in turns) + "<|assistant|>\n"


CHAT_TEMPLATES: dict[str, Callable[[list[Turn]], str]] = {
    "chatml": chatml, "llama3": llama3, "mistral": mistral, "zephyr": zephyr,
}  # fmt: skip


# --- requests ----------------------------------------------------------------------------------------------------


def write_request(chat: Chat, target: Target, *, chat_template: str = "chatml") -> bytes:
    """The body of ``POST /generate``, or of ``/generate_stream`` where the chat streams; ``target`` is not named in it.

    ``chat_template`` is a name in CHAT_TEMPLATES. Raises InvalidRequest, with the field in ``param``, for what TGI
    cannot be asked.
    """
    prompt = chat.prompt
    _refuse_what_cannot_be_said(prompt)
    tools = _offered(prompt)
    turns = _write_turns(prompt.messages, _preamble(prompt, tools))
    parameters: dict[str, Any] = {**_write_parameters(prompt), "details": True}
    if not chat.stream:
        parameters["decoder_input_details"] = True  # the only place where a whole reply counts the prompt
    if (grammar := _grammar(prompt, tools)) is not None:
        parameters["grammar"] = grammar
    parameters |= {name: prompt.extra[name] for name in _CARRIED_EXTRA if name in prompt.extra}
    return to_json({"inputs": CHAT_TEMPLATES[chat_template](turns), "parameters": parameters})


def _refuse_what_cannot_be_said(prompt: Prompt) -> None:
    if prompt.n is not None and prompt.n != 1:
        raise _cannot("n", "gives one answer at a time; ask again for another")
    if prompt.logit_bias:
        raise _cannot("logit_bias", "has no bias of single tokens")
    if prompt.presence_penalty:
        raise _cannot("presence_penalty", "has frequency_penalty and repetition_penalty only")
    if prompt.min_p:
        raise _cannot("min_p", "has top_p and top_k only")
    if prompt.reasoning_effort not in (None, "none"):
        raise _cannot("reasoning_effort", "does not steer how long a model thinks")
    if prompt.seed is not None and prompt.seed < 0:
        raise _cannot("seed", "takes no negative seed")
    for name, value in prompt.extra.items():
        if name not in DROPPED and name not in _CARRIED_EXTRA and bytes(value) != b"null":
            raise _cannot(name, "has no such field")


def _cannot(param: str, why: str) -> InvalidRequest:
    return InvalidRequest(f"{param!r} cannot be translated: TGI {why}.", param=param, code="unsupported_value")


def _write_parameters(prompt: Prompt) -> dict[str, Any]:
    # TGI refuses a temperature or top_p of 0 and a top_p of 1, and samples whenever one of them is given.
    greedy = prompt.temperature == 0 or prompt.top_p == 0
    asked = {
        "max_new_tokens": prompt.max_tokens,
        "do_sample": not greedy,
        "temperature": None if greedy else prompt.temperature,
        "top_p": prompt.top_p if not greedy and prompt.top_p is not None and prompt.top_p < 1 else None,
        "top_k": prompt.top_k if not greedy and prompt.top_k is not None and prompt.top_k > 0 else None,
        "repetition_penalty": prompt.repetition_penalty,
        "frequency_penalty": prompt.frequency_penalty,
        "seed": prompt.seed,
        "stop": prompt.stop or None,
        "top_n_tokens": (prompt.top_logprobs or None) if prompt.logprobs else None,
    }
    return {name: value for name, value in asked.items() if value is not None}


def _write_turns(messages: list[Message], preamble: str) -> list[Turn]:
    turns: list[Turn] = []
    names_by_id: dict[str, str] = {}
    for number, message in enumerate(messages):
        at = f"messages[{number}]"
        names_by_id |= {part.id: part.name for part in message.parts if isinstance(part, ToolCall)}
        results = [part for part in message.parts if isinstance(part, ToolResult)]
        texts = [_write_result(part, names_by_id.get(part.call_id, "the tool"), at) for part in results]
        turns += [Turn("user", text) for text in texts]
        if not results or len(results) < len(message.parts):
            role = {"developer": "system", "tool": "user"}.get(message.role, message.role)
            turns.append(Turn(role, _write_text(message, at)))
    if not preamble:
        return turns
    if turns and turns[0].role == "system":
        return [Turn("system", f"{turns[0].text}\n\n{preamble}"), *turns[1:]]
    return [Turn("system", preamble), *turns]


def _write_text(message: Message, at: str) -> str:
    text = ""
    calls: list[dict[str, Any]] = []
    for part in message.parts:
        match part:
            case Text(text=said) | Refusal(text=said):
                text += said
            case Image():
                text += _write_image(part)
            case ToolCall():
                calls.append({"name": part.name, "arguments": _arguments(part, len(calls), at)})
            case Thinking() | ToolResult():
                pass
            case _:
                raise _cannot(f"{at}.content", f"has no {type(part).__name__.lower()} parts")
    return text + to_json({"tool_calls": calls}).decode() if calls else text


def _write_image(image: Image) -> str:
    """A picture in the text (docs/source/basic_tutorials/visual_language_models.md)."""
    media_type = image.media_type or "image/png"
    return f"![]({image.url or f'data:{media_type};base64,{image.data}'})"


def _write_result(result: ToolResult, name: str, at: str) -> str:
    text = "".join(part.text if isinstance(part, Text) else _write_image(part) for part in result.parts)
    return f"{'Error' if result.is_error else 'Result'} of {name}: {text}"


def _arguments(call: ToolCall, number: int, at: str) -> Raw:
    """The arguments as an object, in the caller's own bytes."""
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


# --- tools and grammars ------------------------------------------------------------------------------------------

# Strings and numbers as outlines, TGI's grammar engine, writes them; white space is bounded, or a model fills a page.
_SPACE = r"[ \n]?"
_SCALAR = (
    r'("([^"\\\x00-\x1F\x7F-\x9F]|\\["\\bfnrt/])*"|-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?|true|false|null)'
)


def _object_of(value: str) -> str:
    pair = rf'"([^"\\\x00-\x1F\x7F-\x9F]|\\["\\bfnrt/])*"{_SPACE}:{_SPACE}{value}'
    return rf"\{{{_SPACE}({pair}({_SPACE},{_SPACE}{pair})*)?{_SPACE}\}}"


def _array_of(value: str) -> str:
    return rf"\[{_SPACE}({value}({_SPACE},{_SPACE}{value})*)?{_SPACE}\]"


def _nested(depth: int) -> str:
    inner = _nested(depth - 1) if depth else ""
    return f"({_SCALAR}|{_object_of(inner)}|{_array_of(inner)})" if depth else _SCALAR


ANY_OBJECT_REGEX = _object_of(_nested(2))
"""Matches a JSON object whose values nest two deep; what ``json_object`` constrains a reply to."""


def _offered(prompt: Prompt) -> list[Tool]:
    """The tools the model may call now: none, all, or the one that was named."""
    choice = prompt.tool_choice
    if choice is None or choice.mode in ("auto", "required"):
        if choice is not None and choice.mode == "required" and not prompt.tools:
            raise InvalidRequest("'tool_choice' requires a tool, and none is given.", param="tool_choice")
        return prompt.tools
    if choice.mode == "none":
        return []
    named = [tool for tool in prompt.tools if tool.name == choice.name]
    if not named:
        raise InvalidRequest(f"'tool_choice' names {choice.name!r}, which is not in 'tools'.", param="tool_choice")
    return named


def _must_call(prompt: Prompt) -> bool:
    return prompt.tool_choice is not None and prompt.tool_choice.mode in ("required", "function")


def _preamble(prompt: Prompt, tools: list[Tool]) -> str:
    """What the system turn must add: the tools and how to call them, or the JSON to answer in."""
    wanted = prompt.response_format
    if tools:
        how_many = "exactly one function" if prompt.parallel_tool_calls is False else "one or more functions"
        when = f"You must call {how_many}" if _must_call(prompt) else f"You may call {how_many}"
        shown = [to_json({"name": t.name, "description": t.description, "parameters": _schema(t)}) for t in tools]
        return (
            f"{when} by answering with this JSON and nothing else, without a code fence:\n"
            '{"tool_calls":[{"name":"<function>","arguments":{<arguments>}}]}\nFunctions:\n'
            + b"\n".join(shown).decode()
        )
    if wanted is None or wanted.type == "text":
        return ""
    if wanted.type == "json_object" or wanted.schema is None:
        return "Answer with one JSON object and nothing else."
    return f"Answer with JSON that conforms to this schema, and nothing else:\n{bytes(wanted.schema).decode()}"


def _schema(tool: Tool) -> Raw:
    given = tool.parameters
    return _NO_PARAMETERS if given is None or bytes(given) == b"null" else given


def _grammar(prompt: Prompt, tools: list[Tool]) -> dict[str, Any] | None:
    wanted = prompt.response_format
    formatted = wanted is not None and wanted.type != "text"
    if tools and _must_call(prompt):
        return {"type": "json", "value": _calls_schema(tools, one=prompt.parallel_tool_calls is False)}
    if tools and formatted:
        raise _cannot("response_format", "takes one grammar: choose between tools and a response format")
    if wanted is None or not formatted:
        return None
    if wanted.type == "json_object" or wanted.schema is None:
        return {"type": "regex", "value": ANY_OBJECT_REGEX}
    schema = msgspec.json.decode(wanted.schema)
    if not isinstance(schema, dict) or "properties" not in schema:
        param = "response_format.json_schema.schema"
        raise InvalidRequest("TGI takes only a schema that has 'properties'.", param=param, code="unsupported_value")
    return {"type": "json", "value": wanted.schema}


def _calls_schema(tools: list[Tool], *, one: bool) -> dict[str, Any]:
    """A schema for calls of these tools. Each tool's own stands under ``$defs``, its references moved along."""
    kinds, definitions = [], {}
    for number, tool in enumerate(tools):
        place = f"arguments_{number}"
        definitions[place] = _moved(msgspec.json.decode(_schema(tool)), f"#/$defs/{place}")
        properties = {"name": {"const": tool.name}, "arguments": {"$ref": f"#/$defs/{place}"}}
        kinds.append({"type": "object", "properties": properties, "required": ["name", "arguments"]})
    calls: dict[str, Any] = {"type": "array", "items": {"anyOf": kinds}, "minItems": 1}
    if one:
        calls["maxItems"] = 1
    return {"type": "object", "properties": {"tool_calls": calls}, "required": ["tool_calls"], "$defs": definitions}


def _moved(schema: Any, root: str) -> Any:
    if isinstance(schema, list):
        return [_moved(item, root) for item in schema]
    if not isinstance(schema, dict):
        return schema
    moved = {name: _moved(value, root) for name, value in schema.items()}
    reference = moved.get("$ref")
    if isinstance(reference, str) and reference.startswith("#"):
        moved["$ref"] = root + reference[1:]
    return moved


# --- replies -----------------------------------------------------------------------------------------------------


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
    return _Asked(tuple(prompt.stop), bool(_offered(prompt)), logprobs, top, len(prompt.messages))


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
        except _UNREADABLE:
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
    except _UNREADABLE:
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
    except _UNREADABLE:
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
    except _UNREADABLE:
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
    except _UNREADABLE:
        raise UpstreamInvalid("The provider's /info names no model.") from None
    owner = info.model_id.partition("/")[0] if "/" in info.model_id.strip("/") else ""
    return [ModelInfo(id=info.model_id, owned_by=owner, context_window_tokens=info.max_total_tokens)]
