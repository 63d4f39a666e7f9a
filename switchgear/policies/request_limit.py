"""Requests per minute of a key, in this process.

The window slides in steps of a second and counts a request until the last moment it could still be in the minute, so
no 60 seconds ever admit more than the limit. A refused request consumes nothing.
"""

from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic

from switchgear.core.errors import RateLimited
from switchgear.core.protocols import Call, Phase
from switchgear.core.settings import KeySettings

WINDOW_S = 60


class Window:
    """Counts of the last minute: a second and its count, oldest first, so at most WINDOW_S + 1 of them."""

    __slots__ = ("_seconds", "_total", "limit", "limit_header")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.limit_header = (b"x-ratelimit-limit-requests", b"%d" % limit)
        self._seconds: deque[list[int]] = deque()
        self._total = 0

    def take(self, now_s: float) -> bool:
        """Count one request; False, and nothing counted, where the limit is reached."""
        second, seconds = int(now_s), self._seconds
        while seconds and seconds[0][0] + WINDOW_S < second:
            self._total -= seconds.popleft()[1]
        if self._total >= self.limit:
            return False
        self._total += 1
        if seconds and seconds[-1][0] == second:
            seconds[-1][1] += 1
        else:
            seconds.append([second, 1])
        return True

    @property
    def remaining(self) -> int:
        """How many more the minute has room for."""
        return self.limit - self._total

    def frees_in_s(self, now_s: float) -> float:
        """Seconds until the oldest counted request leaves the window; 0 where none is counted."""
        return max(0.0, self._seconds[0][0] + WINDOW_S + 1 - now_s) if self._seconds else 0.0


class RequestLimit:
    """Refuses a key's requests over its ``requests_per_minute``, and tells every reply how much is left."""

    name = "request_limit"
    phase = Phase.LIMIT

    def __init__(self, keys: Sequence[KeySettings], clock: Callable[[], float] = monotonic) -> None:
        """``clock`` gives seconds that never go back."""
        self._clock = clock
        limits = {key.name: key.limits.requests_per_minute for key in keys}
        self._windows = {name: Window(limit) for name, limit in limits.items() if limit is not None}

    def before(self, call: Call) -> None:
        """Count the request. Raises RateLimited with the seconds to wait."""
        window = self._windows.get(call.key.name) if call.key is not None else None
        if window is None:
            return
        now_s = self._clock()
        if window.take(now_s):
            call.reply_headers += _headers(window, now_s)
            return
        wait_s = window.frees_in_s(now_s)
        raise RateLimited(
            f"The key {call.key.name if call.key else ''!r} has used its {window.limit} requests per minute; "
            f"the next is free in {wait_s:.0f} s.",
            retry_after_s=wait_s,
            limit_headers=_headers(window, now_s),
        )

    def after(self, call: Call) -> None:
        """A request that was admitted stays counted."""


def _headers(window: Window, now_s: float) -> list[tuple[bytes, bytes]]:
    """OpenAI's names for the state of a limit."""
    return [
        window.limit_header,
        (b"x-ratelimit-remaining-requests", b"%d" % window.remaining),
        (b"x-ratelimit-reset-requests", b"%ds" % -int(-window.frees_in_s(now_s) // 1)),
    ]
