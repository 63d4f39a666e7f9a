"""The one path every request takes: policies, routing, attempts; and the one end it comes to."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

from switchgear.core.errors import SwitchgearError, Unavailable, UpstreamRejected
from switchgear.core.protocols import Call, Format, Phase, Policy, Strategy
from switchgear.core.types import Target
from switchgear.engine.attempt import Upstream, attempt
from switchgear.engine.routing import Router
from switchgear.engine.streaming import Stream
from switchgear.engine.transport import Transport

_log = logging.getLogger("switchgear")


class Pipeline:
    """Holds a world: its policies in order, its providers, its routes. A reload builds another one."""

    def __init__(
        self,
        *,
        policies: Iterable[Policy],
        router: Router,
        upstreams: Mapping[str, Upstream],
        transport: Transport,
        strategy: Strategy,
        total_s: float,
        known_models: Callable[[], Iterable[str]],
    ) -> None:
        """``known_models`` gives names for "did you mean"; ``total_s`` is the deadline across all attempts."""
        self.policies: Sequence[Policy] = sorted(policies, key=lambda policy: policy.phase)
        self._early = [policy for policy in self.policies if policy.phase <= Phase.ADMIT]
        self._late = [policy for policy in self.policies if policy.phase > Phase.ADMIT]
        self._router = router
        self._upstreams = upstreams
        self._transport = transport
        self._strategy = strategy
        self._total_s = total_s
        self._known_models = known_models

    async def admit(self, call: Call) -> None:
        """The policies that need only the headers. Raises SwitchgearError."""
        await self._before(call, self._early)

    async def run(self, call: Call, client_format: Format, body: bytes) -> bytes | Stream:
        """Carry out a chat request: the whole answer's body, or a stream that has begun. Raises SwitchgearError."""
        chat = call.chat = client_format.read_request(body)
        call.streamed = chat.stream
        route = self._router.resolve(chat.model, self._known_models)
        call.model_label = route.label
        await self._before(call, self._late)
        return await self._try_targets(call, client_format, self._strategy(route.targets))

    def finish(self, call: Call) -> None:
        """The call has ended, however it ended; exactly once. Policies that began are told, last first."""
        for policy in reversed(self.policies[: call.policies_begun]):
            try:
                policy.after(call)
            except Exception:
                _log.exception("policy %s failed after the call %s", policy.name, call.id)

    async def _before(self, call: Call, policies: Sequence[Policy]) -> None:
        for policy in policies:
            call.policies_begun += 1
            try:
                waiting = policy.before(call)
                if waiting is not None:
                    await waiting
            except SwitchgearError:
                raise
            except Exception:
                _log.exception("policy %s failed for the call %s", policy.name, call.id)
                raise SwitchgearError(f"The policy {policy.name!r} failed; the request was not sent.") from None

    async def _try_targets(self, call: Call, client_format: Format, targets: Sequence[Target]) -> bytes | Stream:
        failure: SwitchgearError = Unavailable("No provider can serve this model.")
        total_at = call.received_at + self._total_s
        for target in targets:
            upstream = self._upstreams[target.provider]
            call.target, call.provider = target, target.provider
            call.attempts += 1
            try:
                return await attempt(call, client_format, upstream, target, self._transport, total_at)
            except SwitchgearError as error:
                failure = error
                call.failures.append(error)
                if not _may_move_on(error):
                    break
        raise failure


def _may_move_on(error: SwitchgearError) -> bool:
    """Whether another target may succeed: not where the request itself is at fault."""
    return error.moves_on if isinstance(error, UpstreamRejected) else error.retryable
