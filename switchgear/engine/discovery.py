"""Which models the providers have: asked in the background, remembered, never waited for.

A list that was once read stays until a newer one is; a provider that is down keeps its last list and slows nobody.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from time import monotonic

from switchgear.core.errors import SwitchgearError
from switchgear.core.settings import TimeoutSettings
from switchgear.core.types import ModelInfo
from switchgear.engine.attempt import Upstream
from switchgear.engine.transport import Transport

FRESH_S = 30.0
FIRST_WAIT_S = 0.5
"""From the first time of asking: who wants the lists sooner waits for them until then, later nobody waits."""
MAX_LIST_BYTES = 8 << 20

_TIMEOUTS = TimeoutSettings(connect_s=3.0, first_byte_s=10.0, between_chunks_s=10.0, total_s=15.0)
_log = logging.getLogger("switchgear")


class Discovery:
    """The models of every provider, as last heard."""

    def __init__(self, upstreams: Mapping[str, Upstream], transport: Transport) -> None:
        self._upstreams = upstreams
        self._transport = transport
        self._found: dict[str, list[ModelInfo]] = {
            name: [ModelInfo(id=model, owned_by=name) for model in upstream.provider.settings.models]
            for name, upstream in upstreams.items()
        }
        self._asked_at = float("-inf")
        self._wait_until: float | None = None
        self._asking: asyncio.Task[None] | None = None

    def known(self) -> Iterable[str]:
        """``provider/model`` of all that is known now."""
        return [f"{provider}/{model.id}" for provider, models in self._found.items() for model in models]

    def models(self) -> Mapping[str, list[ModelInfo]]:
        """Per provider, what is known now."""
        return self._found

    def refresh(self) -> asyncio.Task[None] | None:
        """Ask again if the lists are older than FRESH_S; the task that asks, if one does."""
        if self._asking is None and monotonic() - self._asked_at > FRESH_S:
            self._asked_at = monotonic()
            if self._wait_until is None:
                self._wait_until = self._asked_at + FIRST_WAIT_S
            self._asking = asyncio.get_running_loop().create_task(self._ask_all())
            self._asking.add_done_callback(self._asked)
        return self._asking

    async def first(self) -> None:
        """Wait for the first lists, but not long."""
        task = self.refresh()
        if task is not None and self._wait_until is not None and (left_s := self._wait_until - monotonic()) > 0:
            await asyncio.wait([task], timeout=left_s)

    async def close(self) -> None:
        """Stop asking."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])

    def _asked(self, task: asyncio.Task[None]) -> None:
        self._asking = None

    async def _ask_all(self) -> None:
        await asyncio.gather(*(self._ask(name) for name in self._upstreams))

    async def _ask(self, name: str) -> None:
        provider = self._upstreams[name].provider
        if provider.settings.models or not provider.settings.discover:
            return
        try:
            request = provider.list_models()
            if request is None:
                return
            status, body = await self._transport.fetch(request, _TIMEOUTS, MAX_LIST_BYTES)
            if status == 200:
                self._found[name] = provider.read_models(body)
            else:
                _log.info("provider %s answered %d when asked for its models", name, status)
        except SwitchgearError as error:
            _log.info("provider %s did not say which models it has: %s", name, error.message)
        except Exception:  # a provider of the user's own; the others must not suffer from a bug in it
            _log.exception("provider %s failed when asked for its models", name)
