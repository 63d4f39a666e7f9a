"""The pages that are not model calls: model lists, health, metrics."""

import difflib
from collections.abc import Awaitable, Callable, Iterable
from time import monotonic

from prometheus_client import CollectorRegistry, generate_latest

from switchgear.core.errors import ModelNotFound
from switchgear.core.protocols import Call
from switchgear.core.types import ModelInfo, Target, to_json
from switchgear.core.version import VERSION
from switchgear.edge import Page
from switchgear.engine.discovery import Discovery
from switchgear.engine.routing import Router
from switchgear.formats import openai_models
from switchgear.policies.allowed_models import may_use


class ModelPages:
    """``GET /v1/models`` and ``GET /v1/models/{id}``: configured names first, then what providers have."""

    def __init__(self, router: Router, discovery: Discovery) -> None:
        self._router = router
        self._discovery = discovery

    async def list(self, call: Call, rest: str) -> Page:
        """All models the caller's key may use."""
        await self._discovery.first()
        return Page(openai_models.write_models(list(self._visible(call))))

    async def one(self, call: Call, rest: str) -> Page:
        """One model, by an id that may hold slashes. Raises ModelNotFound."""
        await self._discovery.first()
        models = {model.id: model for model in self._visible(call)}
        if rest not in models:
            raise ModelNotFound(rest, difflib.get_close_matches(rest[:200], models, n=3, cutoff=0.5))
        return Page(to_json(openai_models.write_model(models[rest])))

    def _visible(self, call: Call) -> Iterable[ModelInfo]:
        for model in self.all():
            if call.key is None or may_use(call.key, model.id):
                yield model

    def all(self) -> Iterable[ModelInfo]:
        """Every model on offer, as known now."""
        found, names = self._discovery.models(), self._router.names
        for name in names:
            target = self._router.resolve(name).targets[0]
            yield _offered_as(name, target, found.get(target.provider, []))
        for provider, models in found.items():
            for model in models:
                if (full_name := f"{provider}/{model.id}") not in names:
                    yield _renamed(model, full_name, model.owned_by or provider)


def _offered_as(name: str, target: Target, models: Iterable[ModelInfo]) -> ModelInfo:
    known = next((model for model in models if model.id == target.model), ModelInfo(id=name))
    return _renamed(known, name, "switchgear")


def _renamed(model: ModelInfo, name: str, owner: str) -> ModelInfo:
    return ModelInfo(
        id=name,
        owned_by=owner,
        created_s=model.created_s,
        context_window_tokens=model.context_window_tokens,
        capabilities=model.capabilities,
    )


class HealthPages:
    """Whether the process lives, and whether it wants more calls."""

    def __init__(self, is_draining: Callable[[], bool], active_calls: Callable[[], int]) -> None:
        self._is_draining = is_draining
        self._active_calls = active_calls
        self._started_at = monotonic()

    async def health(self, call: Call, rest: str) -> Page:
        """``{"status": "ok", …}``; it answers as long as the event loop turns."""
        said = {
            "status": "draining" if self._is_draining() else "ok",
            "version": VERSION,
            "uptime_s": round(monotonic() - self._started_at, 1),
            "active_requests": self._active_calls(),
        }
        return Page(to_json(said))

    async def live(self, call: Call, rest: str) -> Page:
        """200 as long as the process lives; depends on nothing."""
        return Page(b'{"status":"ok"}')

    async def ready(self, call: Call, rest: str) -> Page:
        """200, or 503 once SIGTERM has come."""
        if self._is_draining():
            return Page(b'{"status":"draining"}', 503)
        return Page(b'{"status":"ready"}')


def metrics_page(collect: Callable[[], CollectorRegistry]) -> Callable[[Call, str], Awaitable[Page]]:
    """``GET /metrics`` in Prometheus' text format."""

    async def page(call: Call, rest: str) -> Page:
        return Page(generate_latest(collect()), content_type=b"text/plain; version=0.0.4; charset=utf-8")

    return page


async def welcome(call: Call, rest: str) -> Page:
    """``GET /``: what this is and where to go."""
    said = {
        "name": "Switchgear",
        "version": VERSION,
        "chat": "POST /v1/chat/completions",
        "models": "GET /v1/models",
        "health": "GET /health",
        "metrics": "GET /metrics",
    }
    return Page(to_json(said))
