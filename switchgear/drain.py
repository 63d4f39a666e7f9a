"""SIGTERM: say at once that we are not ready, let live calls finish, then let the server stop.

The listener stays open meanwhile, so that a load balancer's health check can see the 503 and nobody's connection is
refused; new calls are answered until ``pre_drain_s`` is over and get a 503 after that.
"""

import asyncio
import ctypes
import gc
import logging
import os
import signal
import sys

from switchgear.core.settings import ServerSettings
from switchgear.edge import Edge

POLL_INTERVAL_S = 0.05
LAST_WORDS_S = 5.0
LOOK_FOR_PARENT_EVERY_S = 1.0

_PR_SET_PDEATHSIG = 1
_log = logging.getLogger("switchgear")


class Drain:
    """Takes SIGTERM over from the server in a worker process, and gives it back as SIGINT once calls have ended."""

    def __init__(self, edge: Edge, settings: ServerSettings) -> None:
        self._edge = edge
        self._settings = settings
        self._parent_id = 0
        self._task: asyncio.Task[None] | None = None

    def install(self) -> None:
        """Call on the event loop of a worker, once it is the server's to start with."""
        gc.collect()
        gc.freeze()  # what start-up made stays: a full collection over it, 20 ms, would be a pause in every stream
        os.setpgid(0, 0)  # Ctrl-C in a terminal goes to the parent alone, which sends us SIGTERM
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)  # a worker never outlives its parent
        self._parent_id = os.getppid()
        self._look_for_parent()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.begin)

    def _look_for_parent(self) -> None:
        """A worker whose parent has died drains; this is for systems without PDEATHSIG, and signals that got lost."""
        if os.getppid() != self._parent_id:
            self.begin()
        else:
            asyncio.get_running_loop().call_later(LOOK_FOR_PARENT_EVERY_S, self._look_for_parent)

    def begin(self) -> None:
        """Start draining; a second call changes nothing."""
        if self._task is None:
            self._edge.draining = True
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        settings, edge = self._settings, self._edge
        _log.info("draining: %d calls under way", len(edge.active))
        await asyncio.sleep(settings.pre_drain_s)
        edge.refusing = True
        if not await self._all_ended(settings.drain_timeout_s):
            _log.warning("drain timeout: ending %d calls", len(edge.active))
            for exchange in list(edge.active):
                exchange.cancel()
            await self._all_ended(LAST_WORDS_S)
        os.kill(os.getpid(), signal.SIGINT)

    async def _all_ended(self, timeout_s: float) -> bool:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while self._edge.active:
            if loop.time() >= deadline:
                return False
            await asyncio.sleep(POLL_INTERVAL_S)
        return True
