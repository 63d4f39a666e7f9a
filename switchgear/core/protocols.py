"""What a provider, a decoder, a policy and a strategy must be, and the one mutable record of a request's life."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from enum import IntEnum
from time import perf_counter
from typing import Any, Protocol

from switchgear.core.errors import SwitchgearError, UpstreamError
from switchgear.core.settings import KeySettings, ProviderSettings
from switchgear.core.types import Chat, Event, HttpRequest, ModelInfo, Reply, Target, Usage


class Phase(IntEnum):
    """When a policy runs: by phase, never by its place in a list. What runs first, finishes last."""

    WATCH = 0
    ADMIT = 1
    SHAPE = 2
    SCREEN = 3
    LIMIT = 4
    PAY = 5
    CACHE = 6
    QUEUE = 7


class Call:
    """One request's life, from its first header to its last byte; policies and the engine write on it."""

    __slots__ = (
        "attempts", "chat", "delivered_bytes", "ended_at", "error", "failures", "first_byte_at",
        "headers", "id", "key", "method", "model_label", "path", "policies_begun", "provider",
        "received_at", "reply_headers", "status", "streamed", "surface", "target", "upstream_s", "usage",
    )  # fmt: skip

    def __init__(self, call_id: str, surface: str, method: str, path: str, headers: dict[bytes, bytes]) -> None:
        self.id = call_id
        self.surface = surface
        self.method = method
        self.path = path
        self.headers = headers
        self.received_at = perf_counter()
        self.key: KeySettings | None = None
        self.chat: Chat | None = None
        self.model_label = ""
        """The model's name as configured: bounded, unlike what the client wrote; for metrics."""
        self.target: Target | None = None
        self.provider = ""
        self.attempts = 0
        self.status = 0
        self.streamed = False
        self.usage: Usage | None = None
        self.error: SwitchgearError | None = None
        self.first_byte_at = 0.0
        """perf_counter of the first byte of the answer; 0 while there is none."""
        self.upstream_s = 0.0
        """Seconds spent waiting for providers, until the answer's first byte."""
        self.ended_at = 0.0
        """perf_counter of the last byte."""
        self.delivered_bytes = 0
        self.reply_headers: list[tuple[bytes, bytes]] = []
        self.failures: list[SwitchgearError] = []
        """What each failed attempt came to, in order."""
        self.policies_begun = 0


class Decoder(Protocol):
    """Turns the bytes of a streamed reply into events. Holds at most one unfinished frame."""

    def feed(self, data: bytes) -> Iterable[Event]:
        """Take the next bytes, cut anywhere. Raises UpstreamError where they are not the format, or say an error.

        Best written as a generator: then the events before the error still reach the client.
        """
        ...

    def close(self) -> Iterable[Event]:
        """The input has ended. Raises UpstreamTruncated if the reply had not."""
        ...


class Relay(Protocol):
    """Passes a streamed reply on verbatim when client and provider speak the same format, and watches it."""

    error: UpstreamError | None
    """Set once the stream has failed; what ``feed`` returned up to then still goes out."""

    @property
    def usage(self) -> Usage | None:
        """What the stream said it cost, as far as it has said."""
        ...

    @property
    def done(self) -> bool:
        """Whether the stream has said that it is complete."""
        ...

    def feed(self, data: bytes) -> bytes:
        """The bytes that may go to the client now: whole frames only."""
        ...

    def close(self) -> bytes:
        """The input has ended properly. Raises UpstreamTruncated if the reply had not."""
        ...


class StreamWriter(Protocol):
    """Turns events into a client's dialect, as bytes."""

    def write(self, events: Sequence[Event]) -> bytes:
        """The frames for these events."""
        ...

    def close(self) -> bytes:
        """The frames that end a complete reply."""
        ...


class Format(Protocol):
    """A client's dialect, both ways: what a surface speaks."""

    name: str
    stream_content_type: bytes
    keepalive: bytes
    """A frame that says nothing, for silences."""

    def read_request(self, body: bytes) -> Chat:
        """A request as a client sent it. Raises InvalidRequest."""
        ...

    def glance_reply(self, body: bytes) -> Usage | None:
        """The usage in a whole reply that passes verbatim. Raises UpstreamError where it is no reply."""
        ...

    def reply_id(self, call_id: str) -> str:
        """An id in this dialect's style, for a reply whose provider gave none."""
        ...

    def write_reply(self, reply: Reply, chat: Chat) -> bytes:
        """A whole reply."""
        ...

    def add_extension(self, body: bytes, extension: Mapping[str, Any]) -> bytes:
        """A whole reply with the ``x_gateway`` object added."""
        ...

    def relay(self, chat: Chat) -> Relay:
        """A relay for one stream that is already in this format."""
        ...

    def stream_writer(self, chat: Chat) -> StreamWriter:
        """A writer for one stream that is not."""
        ...

    def write_error(self, error: SwitchgearError) -> bytes:
        """The body of an error reply."""
        ...

    def write_stream_error(self, error: SwitchgearError) -> bytes:
        """The frame that ends a stream which failed after it began."""
        ...


class Provider(Protocol):
    """Whom we call: where it is, how it wants to be asked, how its answers read.

    ``format`` names the wire format it speaks. Where that is the client's too, bytes pass through and only
    ``encode`` is called; else ``read_reply`` and ``decoder`` turn its answers into canonical values.
    """

    name: str
    format: str
    settings: ProviderSettings

    def encode(self, chat: Chat, target: Target) -> HttpRequest:
        """The request to send. Raises InvalidRequest for what this provider cannot be asked."""
        ...

    def read_reply(self, body: bytes, chat: Chat) -> Reply:
        """A whole, unstreamed answer to ``chat``. Raises UpstreamInvalid where it is not one."""
        ...

    def decoder(self, chat: Chat) -> Decoder:
        """A new decoder, for one streamed answer to ``chat``."""
        ...

    def read_error(self, status: int, headers: dict[str, str], body: bytes) -> SwitchgearError:
        """What an answer of status 400 or more means."""
        ...

    def list_models(self) -> HttpRequest | None:
        """The request that lists this provider's models; None where it cannot say."""
        ...

    def read_models(self, body: bytes) -> list[ModelInfo]:
        """The models in the answer to that request."""
        ...


class Policy(Protocol):
    """A decision about a request. Raise a SwitchgearError to refuse it; any other exception means the policy broke."""

    name: str
    phase: Phase

    def before(self, call: Call) -> Awaitable[None] | None:
        """Look at the call before anything is sent; may be a coroutine function."""
        ...

    def after(self, call: Call) -> None:
        """The call has ended, however it ended. Runs exactly once if ``before`` ran, and must not raise or wait."""
        ...


Strategy = Callable[[Sequence[Target]], Sequence[Target]]
"""Orders the targets of a model: the first is tried first."""

ProviderFactory = Callable[[str, ProviderSettings], Any]
"""Builds a provider from its configured name and settings. Raises ConfigError where they do not fit."""
