"""How many calls a provider may have at once, and the bounded line of those who wait."""

import asyncio
from collections import deque
from math import inf

from switchgear.core.errors import Overloaded, QueueTimeout


class Slots:
    """First come, first served. ``limit`` 0 is no cap."""

    def __init__(self, limit: int, queue_size: int, queue_timeout_s: float) -> None:
        self._limit = limit
        self._queue_size = queue_size
        self._queue_timeout_s = queue_timeout_s
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.taken = 0

    async def take(self, within_s: float = inf) -> None:
        """Wait for a slot, no longer than ``within_s``. Raises Overloaded where the line is full, QueueTimeout where it
        does not move."""
        if not self._limit or self.taken < self._limit:
            self.taken += 1
            return
        if len(self._waiting) >= self._queue_size:
            raise Overloaded(f"All {self._limit} slots are busy and {len(self._waiting)} calls already wait.")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(min(self._queue_timeout_s, within_s)):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self.give_back()  # the slot was handed over in the moment we left
            elif turn in self._waiting:  # it is not where a slot came back in the same moment
                self._waiting.remove(turn)
            if isinstance(error, TimeoutError):
                raise QueueTimeout(f"No slot came free within {min(self._queue_timeout_s, within_s):.3g} s.") from None
            raise

    def give_back(self) -> None:
        """Hand the slot to the next in line, or put it back."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.taken -= 1
