"""The settings tree, frozen. It is what `switchgear.yaml` says, checked; docs/configuration.md is generated from it."""

import hashlib
from typing import Any

from msgspec import Struct


class Secret:
    """A value that must never be printed: its repr, str and JSON say nothing, ``reveal()`` is the one way out."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself; call this only where it goes onto the wire to its owner."""
        return self._value

    def sha256(self) -> bytes:
        """Its SHA-256 digest, 32 bytes."""
        return hashlib.sha256(self._value.encode()).digest()

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "Secret(***)"


class Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every table of the settings shares: immutable, named fields, no unknown names."""


class ServerSettings(Table, frozen=True):
    """Where the gateway listens and what it takes from a client."""

    host: str = "127.0.0.1"
    """Address to listen on. Anything but loopback needs `keys`."""
    port: int = 4000
    """TCP port; 0 picks a free one."""
    workers: int = 1
    """Processes that serve. Limits are kept per process until a shared store is configured."""
    cors_origins: tuple[str, ...] = ("*",)
    """Origins browsers may call from; `*` is any, an empty list is none."""
    max_body_bytes: int = 33_554_432
    """Largest request body; over it is a 413."""
    body_timeout_s: float = 60.0
    """Longest wait for a client to send its body; over it is a 408."""
    drain_timeout_s: float = 600.0
    """After SIGTERM, how long live streams may go on before each gets an error in its own dialect."""
    pre_drain_s: float = 0.0
    """After SIGTERM, how long new requests are still served while readiness already says 503."""
    keepalive_s: float = 15.0
    """A stream that is silent this long gets an SSE comment, so that proxies do not cut it."""
    log_requests: bool = True
    """One JSON line per request on standard output."""


class TimeoutSettings(Table, frozen=True):
    """The four deadlines of an upstream call, in seconds."""

    connect_s: float = 5.0
    """To have a connection, TLS included."""
    first_byte_s: float = 120.0
    """From the request being sent to the first byte of the answer's body."""
    between_chunks_s: float = 60.0
    """Between two pieces of the body."""
    total_s: float = 600.0
    """The whole call."""


class ProviderSettings(Table, frozen=True):
    """One provider: whom we call, where, and with which credential."""

    kind: str = ""
    """What it speaks; a known provider name needs none. `switchgear models --kinds` lists them."""
    base_url: str = ""
    """Where its API is, up to and including `/v1` for OpenAI-compatible ones."""
    api_key: Secret | None = None
    """Its credential. Goes to this provider's own origin and nowhere else."""
    headers: dict[str, Secret] = {}
    """Headers to add to every request."""
    timeouts: TimeoutSettings | None = None
    """Deadlines of this provider; the global ones where absent."""
    max_concurrency: int = 0
    """Calls at once; more wait in line. 0 is no cap."""
    queue_size: int = 100
    """How many calls may wait for `max_concurrency`; over it is a 429."""
    queue_timeout_s: float = 30.0
    """How long a call may wait in line; over it is a 504."""
    max_connections: int = 1024
    """Open connections at once."""
    models: tuple[str, ...] = ()
    """Models it has; where absent they are discovered."""
    discover: bool = True
    """Ask it which models it has."""
    tls_ca_file: str = ""
    """A PEM file of certificate authorities to trust for it, instead of the system's."""
    path: str = ""
    """kind `custom`: the Python file that holds the provider."""
    model_path: str = ""
    """kind `llamacpp`: a GGUF file to serve with a llama.cpp child; empty takes the one of the `local` extra."""
    options: dict[str, Any] = {}
    """kinds `custom` and `tgi`: options of their own, such as TGI's `chat_template`."""


class ModelSettings(Table, frozen=True):
    """A model name offered to clients."""

    targets: tuple[str, ...]
    """`provider/model`, tried in order; `provider` alone keeps the client's name."""


class LimitSettings(Table, frozen=True):
    """What a key may use up."""

    requests_per_minute: int | None = None
    """Requests in any 60 seconds."""


class KeySettings(Table, frozen=True):
    """A client's key."""

    key: Secret
    """The key itself, as the client sends it."""
    name: str
    """What logs call it."""
    models: tuple[str, ...] = ("*",)
    """Model names it may use; `*` at the end of a name is a prefix."""
    limits: LimitSettings = LimitSettings()
    """Its limits."""
    metadata: dict[str, str] = {}
    """Anything else to know about it."""


class Settings(Table, frozen=True):
    """The whole of `switchgear.yaml`."""

    server: ServerSettings = ServerSettings()
    """Where the gateway listens and what it takes."""
    default_provider: str = ""
    """Where a model name goes that nothing else claims; empty refuses it with near names."""
    include_extensions: bool = True
    """Add the `x_gateway` object to JSON replies."""
    providers: dict[str, ProviderSettings] = {}
    """Whom to call, by name."""
    models: dict[str, ModelSettings] = {}
    """Names offered to clients; one that ends in `*` is a prefix rule."""
    keys: tuple[KeySettings, ...] = ()
    """Who may call. None at all is open, on loopback only."""
    timeouts: TimeoutSettings = TimeoutSettings()
    """Deadlines of upstream calls, unless a provider has its own."""
