"""The canonical vocabulary: a chat request, the events of a reply, usage, targets, one HTTP request.

Every wire format reads into these and writes out of them; none of them is any vendor's own shape. The union of
what vendors can say lives here, so that a translation loses nothing silently: what a target cannot express is
still in the value, and whoever writes it out can see that it was left over.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Raw, Struct

Role = Literal["system", "developer", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "error"]


# --- what is asked -----------------------------------------------------------------------------------------------


class Text(Struct, tag="text"):
    """A piece of text."""

    text: str


class Image(Struct, tag="image"):
    """A picture, by ``url`` or as base64 ``data`` of ``media_type``; ``detail`` is OpenAI's low, high or auto."""

    url: str | None = None
    data: str | None = None
    media_type: str | None = None
    detail: str | None = None


class Audio(Struct, tag="audio"):
    """Sound as base64 ``data``; ``format`` is ``wav`` or ``mp3``."""

    data: str
    format: str


class Document(Struct, tag="document"):
    """A file, by ``file_id``, ``url`` or as base64 ``data`` of ``media_type``."""

    data: str | None = None
    url: str | None = None
    file_id: str | None = None
    media_type: str | None = None
    filename: str | None = None


class Thinking(Struct, tag="thinking"):
    """What the model thought before it spoke; ``signature`` proves to its vendor that nobody changed it."""

    text: str
    signature: str | None = None


class Refusal(Struct, tag="refusal"):
    """The model's own words for why it will not."""

    text: str


class ToolCall(Struct, tag="tool_call"):
    """The model wants ``name`` called with ``arguments``, JSON as the model wrote it (it may not parse)."""

    id: str
    name: str
    arguments: str


class ToolResult(Struct, tag="tool_result"):
    """What the tool call ``call_id`` came to."""

    call_id: str
    parts: list["Text | Image"]
    is_error: bool = False


Part = Text | Image | Audio | Document | Thinking | Refusal | ToolCall | ToolResult


class Message(Struct):
    """One turn: who speaks, and the parts in order."""

    role: Role
    parts: list[Part]
    name: str | None = None

    @property
    def text(self) -> str:
        """The text parts, joined."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))


class Tool(Struct):
    """A function the model may call; ``parameters`` is a JSON Schema, kept as the bytes it came in."""

    name: str
    description: str | None = None
    parameters: Raw | None = None
    strict: bool | None = None


class ToolChoice(Struct):
    """``auto``, ``none``, ``required``, or ``function`` with the ``name`` of the one to call."""

    mode: Literal["auto", "none", "required", "function"]
    name: str | None = None


class ResponseFormat(Struct):
    """``text``, ``json_object``, or ``json_schema`` with its ``name`` and ``schema``."""

    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    schema: Raw | None = None
    strict: bool | None = None


class Prompt(Struct, kw_only=True):
    """All that a request says besides its model and whether it streams. None means: the caller did not say."""

    messages: list[Message]
    tools: list[Tool] = []
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    stop: list[str] = []
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
    extra: dict[str, Raw] = {}
    """Fields of the caller's dialect that have no canonical name, as the JSON they came in."""


class Origin(Struct, frozen=True):
    """The bytes a client sent, a JSON object, and the wire format they are in, while nobody has changed the request."""

    format: str
    body: bytes

    @property
    def fields(self) -> dict[str, Raw]:
        """The top-level fields of ``body``, in order; their values are views of it."""
        return msgspec.json.decode(self.body, type=dict[str, Raw])


class Chat:
    """A canonical chat request.

    ``origin`` holds the client's own bytes as long as nobody changed the request: a provider that speaks the same
    format then gets them back with only the model replaced. ``prompt`` is read out of them on first use, because
    most requests never need it.
    """

    __slots__ = ("_prompt", "_read_prompt", "include_usage", "model", "origin", "stream")

    def __init__(
        self,
        model: str,
        *,
        stream: bool = False,
        include_usage: bool = False,
        prompt: Prompt | None = None,
        origin: Origin | None = None,
        read_prompt: Callable[[Origin], Prompt] | None = None,
    ) -> None:
        self.model = model
        self.stream = stream
        self.include_usage = include_usage
        self.origin = origin
        self._prompt = prompt
        self._read_prompt = read_prompt

    @property
    def prompt(self) -> Prompt:
        """The conversation and its settings; raises InvalidRequest where the client's body does not hold one."""
        if self._prompt is None:
            assert self.origin is not None
            assert self._read_prompt is not None
            self._prompt = self._read_prompt(self.origin)
        return self._prompt

    def change(self, prompt: Prompt) -> None:
        """Replace the prompt; the client's own bytes no longer stand for this request."""
        self._prompt = prompt
        self.origin = None


# --- what comes back ---------------------------------------------------------------------------------------------


class Usage(Struct):
    """Tokens of one call. ``input_tokens`` includes the cached ones, ``output_tokens`` the reasoning."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens


class Event(Struct, kw_only=True):
    """A piece of a reply. ``index`` is the choice it belongs to, ``text`` what it says, if it says anything."""

    index: int = 0
    text: str = ""


class Started(Event):
    """The reply begins; the provider's own id and model name, and its Unix time in seconds."""

    id: str
    model: str
    created_s: int


class TextDelta(Event):
    """More text."""


class ThinkingDelta(Event):
    """More thinking; the last one may carry the ``signature``."""

    signature: str | None = None


class RefusalDelta(Event):
    """More of a refusal."""


class ToolCallDelta(Event):
    """More of tool call number ``call``: ``id`` and ``name`` come first, ``arguments`` in pieces."""

    call: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""


class LogprobsDelta(Event):
    """Log probabilities of the text just said: OpenAI's ``logprobs`` object, as it came."""

    logprobs: Raw


class Finished(Event):
    """Choice ``index`` is complete."""

    reason: FinishReason


class UsageReport(Event):
    """What the call cost in tokens; the last report of a reply is the one that counts."""

    usage: Usage


class Choice(Struct):
    """One complete answer."""

    index: int
    message: Message
    finish_reason: FinishReason | None = None
    logprobs: Raw | None = None


class Reply(Struct, kw_only=True):
    """A complete reply; a streamed one, folded, is the same value."""

    id: str
    model: str
    created_s: int
    choices: list[Choice]
    usage: Usage | None = None

    @property
    def text(self) -> str:
        """The text of the first choice."""
        return self.choices[0].message.text if self.choices else ""


# --- where it goes -----------------------------------------------------------------------------------------------


class Target(Struct, frozen=True):
    """A provider of ours and the name it has for the model."""

    provider: str
    model: str

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}"


class ModelInfo(Struct, kw_only=True, omit_defaults=True):
    """One entry of a model list."""

    id: str
    owned_by: str = ""
    created_s: int = 0
    context_window_tokens: int | None = None
    capabilities: list[str] = []


class HttpOrigin(Struct, frozen=True):
    """Scheme, host and port: what a connection belongs to and a credential must not leave."""

    scheme: Literal["http", "https"]
    host: str
    port: int

    @property
    def authority(self) -> str:
        """The value of a Host header: the port is left out where it is the scheme's own (RFC 9110, 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


class Endpoint(Struct, frozen=True):
    """Where a request goes, with every header that is the same each time, laid out once as bytes."""

    method: str
    origin: HttpOrigin
    path: str
    head: bytes
    """The request line and these headers, each with its CRLF."""

    @classmethod
    def to(cls, method: str, url: str, headers: Mapping[str, str]) -> "Endpoint":
        """Build one from an absolute http(s) URL; raises ValueError for another scheme, or a header with a newline."""
        parts = urlsplit(url)
        if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
            raise ValueError(f"{url!r} is not an http:// or https:// URL")
        scheme: Literal["http", "https"] = "https" if parts.scheme == "https" else "http"
        origin = HttpOrigin(scheme, parts.hostname, parts.port or _DEFAULT_PORTS[scheme])
        lines = {
            "host": origin.authority,
            "accept-encoding": "identity",
            **{k.lower(): v for k, v in headers.items()},
        }
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        for text in (path, *lines, *lines.values()):
            if any(ord(c) < 32 or ord(c) == 127 for c in text):
                raise ValueError("a URL or header of this provider holds a control character")
        block = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return cls(method, origin, path, f"{method} {path} HTTP/1.1\r\n{block}".encode("latin-1"))

    def __repr__(self) -> str:
        return f"Endpoint({self.method} {self.origin.scheme}://{self.origin.authority}{self.path})"  # no credential


class HttpRequest(Struct):
    """One request to a provider, complete: the transport adds only Content-Length and the request id."""

    endpoint: Endpoint
    body: bytes = b""


_DEFAULT_PORTS = {"http": 80, "https": 443}


def to_json(value: Any) -> bytes:
    """Compact JSON, keys in the order given."""
    return msgspec.json.encode(value)
