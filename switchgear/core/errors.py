"""The tree of errors: each knows its HTTP status, its code and whether another target may be tried.

    SwitchgearError
    ├── CallerError                 the client must change something
    │   ├── InvalidRequest          400  the body, or one field of it
    │   ├── Unauthenticated         401
    │   ├── PermissionDenied        403
    │   ├── NotFound                404  a path
    │   │   └── ModelNotFound       404  a model name, with near names
    │   ├── MethodNotAllowed        405
    │   ├── RequestTimeout          408  the client did not send its body in time
    │   ├── PayloadTooLarge         413
    │   ├── UnsupportedMediaType    415
    │   ├── RateLimited             429  with the time to wait
    │   └── ClientClosed            499  nobody is listening any more; seen in logs only
    ├── UpstreamError               the provider did something
    │   ├── UpstreamRejected        its own status: it answered, and the answer is an error
    │   ├── UpstreamUnavailable     502  no connection, a reset, or bytes that are not HTTP
    │   ├── UpstreamInvalid         502  HTTP, but not the format it should speak
    │   ├── UpstreamTruncated       502  the reply ended before its end
    │   └── UpstreamTimeout         504  one of the four deadlines
    ├── Overloaded                  429  our own queue is full
    ├── QueueTimeout                504  our own queue did not move
    ├── Unavailable                 503  we are draining, or nothing can serve this
    └── ConfigError                      the settings cannot be used

Messages are for people: what is wrong, where, what to do. They never hold a secret.
"""

from collections.abc import Sequence
from typing import ClassVar


class SwitchgearError(Exception):
    """Anything Switchgear says no with.

    ``status`` is the HTTP status, ``type`` and ``code`` are the words OpenAI uses for it, ``param`` is the
    offending field, ``retryable`` tells the engine whether another target may succeed where this one failed.
    """

    status: int = 500
    type: ClassVar[str] = "api_error"
    code: str | None = None
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        if code is not None:
            self.code = code
        self.provider: str | None = None

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Headers this error adds to its reply."""
        return []


class CallerError(SwitchgearError):
    """The client must change something before it asks again."""

    status = 400
    type = "invalid_request_error"


class InvalidRequest(CallerError):
    """400: the body cannot be read, or a field of it is wrong or missing."""


class Unauthenticated(CallerError):
    """401: no key, or not a key of this gateway."""

    status = 401
    type = "authentication_error"
    code = "invalid_api_key"

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Say which scheme is expected (RFC 9110, 11.6.1)."""
        return [(b"www-authenticate", b"Bearer")]


class PermissionDenied(CallerError):
    """403: the key is known, and may not do this."""

    status = 403
    type = "permission_error"
    code = "permission_denied"


class NotFound(CallerError):
    """404: no such path."""

    status = 404
    type = "not_found_error"
    code = "not_found"


class ModelNotFound(NotFound):
    """404: no such model; ``near`` holds the names that look like it."""

    type = "invalid_request_error"
    code = "model_not_found"

    def __init__(self, model: str, near: Sequence[str] = ()) -> None:
        hint = f" Did you mean {' or '.join(repr(name) for name in near)}?" if near else ""
        super().__init__(
            f"The model {model[:200]!r} does not exist here.{hint} GET /v1/models lists what does.",
            param="model",
        )
        self.near = tuple(near)


class MethodNotAllowed(CallerError):
    """405: the path exists, the method does not."""

    status = 405
    code = "method_not_allowed"

    def __init__(self, method: str, allowed: Sequence[str]) -> None:
        super().__init__(f"{method} is not allowed here; use {' or '.join(allowed)}.")
        self.allowed = tuple(allowed)

    def headers(self) -> list[tuple[bytes, bytes]]:
        """The methods that are allowed (RFC 9110, 10.2.1)."""
        return [(b"allow", ", ".join(self.allowed).encode())]


class RequestTimeout(CallerError):
    """408: the client did not send its body in time."""

    status = 408
    code = "request_timeout"


class PayloadTooLarge(CallerError):
    """413: the body is over ``server.max_body_bytes``."""

    status = 413
    code = "request_too_large"


class UnsupportedMediaType(CallerError):
    """415: the body is not JSON, or is compressed."""

    status = 415
    code = "unsupported_media_type"


class RateLimited(CallerError):
    """429: a limit is spent; ``retry_after_s`` says when to come back."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"

    def __init__(self, message: str, *, retry_after_s: float, limit_headers: Sequence[tuple[bytes, bytes]] = ()):
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self._limit_headers = list(limit_headers)

    def headers(self) -> list[tuple[bytes, bytes]]:
        """``Retry-After`` in whole seconds, rounded up, and the state of the limit."""
        return [(b"retry-after", str(max(1, -int(-self.retry_after_s // 1))).encode()), *self._limit_headers]


class ClientClosed(CallerError):
    """499: the client left; nobody reads this, the log does."""

    status = 499
    code = "client_closed_request"


class UpstreamError(SwitchgearError):
    """The provider failed us. ``kind`` is the bounded word metrics count it under."""

    status = 502
    type = "upstream_error"
    code = "upstream_error"
    kind: str = "error"
    retryable = True


class UpstreamRejected(UpstreamError):
    """The provider answered with an error of its own; its status and words are kept."""

    def __init__(self, status: int, message: str, *, retry_after: str | None = None, upstream_code: str | None = None,
                 upstream_type: str | None = None, param: str | None = None) -> None:  # fmt: skip
        super().__init__(message, param=param, code=upstream_code or _CODES_BY_STATUS.get(status))
        self.status = status if 400 <= status <= 599 else 502
        self.upstream_type = upstream_type or _TYPES_BY_STATUS.get(status)
        self.kind = f"http_{status}"
        self.retry_after = retry_after

    @property
    def moves_on(self) -> bool:
        """Whether another target may answer what this one would not: limits, credentials and faults, not 400s."""
        return self.status in _MOVE_ON or self.status >= 500

    def headers(self) -> list[tuple[bytes, bytes]]:
        """The provider's own ``Retry-After``, if it gave one."""
        return [(b"retry-after", self.retry_after.encode("latin-1", "ignore"))] if self.retry_after else []


class UpstreamUnavailable(UpstreamError):
    """502: no connection, a refused one, a reset, or bytes that are not HTTP."""

    code = "upstream_unavailable"
    kind = "unavailable"


class UpstreamInvalid(UpstreamError):
    """502: HTTP, but not the format this provider should speak."""

    code = "upstream_invalid_response"
    kind = "invalid"


class UpstreamTruncated(UpstreamError):
    """502: the reply ended before its end."""

    code = "upstream_truncated"
    kind = "truncated"


class UpstreamTimeout(UpstreamError):
    """504: one of the deadlines ``connect``, ``first_byte``, ``between_chunks``, ``total``."""

    status = 504
    type = "timeout_error"
    code = "upstream_timeout"
    kind = "timeout"

    def __init__(self, deadline: str, after_s: float) -> None:
        super().__init__(f"No {_WAITED_FOR[deadline]} within {after_s:g} s (timeouts.{deadline}_s).")
        self.deadline = deadline
        self.kind = f"timeout_{deadline}"


class Overloaded(SwitchgearError):
    """429: every slot is busy and the queue in front of them is full."""

    status = 429
    type = "rate_limit_error"
    code = "queue_full"
    retryable = True

    def headers(self) -> list[tuple[bytes, bytes]]:
        """A short wait: slots turn over in seconds."""
        return [(b"retry-after", b"1")]


class QueueTimeout(SwitchgearError):
    """504: no slot came free while this request waited in the queue."""

    status = 504
    type = "timeout_error"
    code = "queue_timeout"
    retryable = True


class Unavailable(SwitchgearError):
    """503: this process is going away, or has nothing to serve with."""

    status = 503
    type = "service_unavailable_error"
    code = "service_unavailable"

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Another process will answer in a moment."""
        return [(b"retry-after", b"1")]


class ConfigError(SwitchgearError):
    """The settings cannot be used; ``problems`` holds every mistake found, a line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


_WAITED_FOR = {
    "connect": "connection to the provider",
    "first_byte": "answer from the provider",
    "between_chunks": "further bytes from the provider",
    "total": "complete answer from the provider",
}
_MOVE_ON = frozenset({401, 402, 403, 404, 408, 409, 424, 425, 429})
_CODES_BY_STATUS = {401: "invalid_api_key", 404: "not_found", 429: "rate_limit_exceeded"}
_TYPES_BY_STATUS = {
    400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error",
    429: "rate_limit_error",
}  # fmt: skip
