"""The composition root: settings to a world, and the world as an ASGI application."""

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from switchgear.config import load_settings, settings_from
from switchgear.core.errors import ConfigError
from switchgear.core.protocols import Policy, Provider
from switchgear.core.settings import ProviderSettings, Settings
from switchgear.core.types import Endpoint, HttpOrigin
from switchgear.drain import Drain
from switchgear.edge import Edge, Page, PlainRoute, Receive, Scope, Send, World
from switchgear.engine.attempt import Upstream
from switchgear.engine.discovery import Discovery
from switchgear.engine.egress import Egress
from switchgear.engine.lines import LineWriter
from switchgear.engine.pipeline import Pipeline
from switchgear.engine.routing import Router
from switchgear.engine.slots import Slots
from switchgear.engine.transport import Transport
from switchgear.local_models import local_models
from switchgear.pages import HealthPages, ModelPages, metrics_page, welcome
from switchgear.policies.allowed_models import AllowedModels
from switchgear.policies.auth import Auth
from switchgear.policies.log import RequestLog
from switchgear.policies.metrics import Metrics
from switchgear.policies.request_limit import RequestLimit
from switchgear.providers.compat import KINDS, CompatProvider
from switchgear.providers.ollama import OllamaProvider
from switchgear.providers.tgi import TgiProvider
from switchgear.strategies import fallback
from switchgear.surfaces import openai

Config = Settings | Mapping[str, Any] | str | Path | None


class Parts:
    """What one process is made of, from its settings."""

    def __init__(self, settings: Settings, *, trusted: bool = False) -> None:
        """``trusted`` callers, in this process, need no key. Raises ConfigError."""
        self._local = ExitStack()
        self.settings = settings = self._local.enter_context(local_models(settings))
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)
        self.lines = LineWriter(1)
        self.transport = Transport(Egress(os.environ))
        self.upstreams = {name: self._upstream(name, said) for name, said in settings.providers.items()}
        self.discovery = Discovery(self.upstreams, self.transport)
        self.router = Router(
            settings.models, settings.providers, settings.default_provider, _famous_prefixes(settings.providers)
        )
        self.pipeline = Pipeline(
            policies=self._policies(trusted),
            router=self.router,
            upstreams=self.upstreams,
            transport=self.transport,
            strategy=fallback.order,
            total_s=settings.timeouts.total_s,
            known_models=self.discovery.known,
        )

    def _policies(self, trusted: bool) -> list[Policy]:
        settings = self.settings
        policies: list[Policy] = [self.metrics, AllowedModels(), RequestLimit(settings.keys)]
        if not trusted:
            policies.append(Auth(settings.keys))
            if settings.server.log_requests:
                policies.append(RequestLog(self.lines.write))
        return policies

    def _upstream(self, name: str, settings: ProviderSettings) -> Upstream:
        provider = build_provider(name, settings)
        try:
            for origin in _origins(provider):
                self.transport.configure(
                    origin, max_connections=settings.max_connections, tls_ca_file=settings.tls_ca_file
                )
        except (ValueError, OSError) as error:
            raise ConfigError([f"providers.{name}.tls_ca_file: {error}"]) from None
        slots = Slots(settings.max_concurrency, settings.queue_size, settings.queue_timeout_s)
        return Upstream(provider, settings.timeouts or self.settings.timeouts, slots)

    async def close(self) -> None:
        """Let go of everything."""
        await self.discovery.close()
        await self.transport.close()
        self.lines.close()
        self._local.close()


class Application:
    """The gateway as an ASGI application. Mount it anywhere, or have any ASGI server run it."""

    def __init__(self, settings: Settings, *, owns_process: bool = False) -> None:
        """``owns_process``: this is a worker of ours, so signals are ours to handle."""
        self.parts = Parts(settings)
        self.edge = Edge(build_world(self.parts, lambda: self.edge))
        self._owns_process = owns_process

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: http and lifespan; WebSockets are closed."""
        kind = scope["type"]
        if kind == "http":
            await self.edge(scope, receive, send)
        elif kind == "lifespan":
            await self._lifespan(receive, send)
        else:
            await receive()
            await send({"type": "websocket.close", "code": 1003})

    async def close(self) -> None:
        """Let go of everything. For an application that is mounted in another, which gets no lifespan events."""
        await self.parts.close()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        if self._owns_process:
            Drain(self.edge, self.parts.settings.server).install()
        self.parts.discovery.refresh()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.close()
        await send({"type": "lifespan.shutdown.complete"})


def create_app(config: Config = None) -> Application:
    """The gateway as an ASGI application.

    ``config`` is a Settings, a mapping of the shape of ``switchgear.yaml``, a path to such a file, or None for what
    the environment offers. Raises ConfigError with every mistake in it.
    """
    return Application(read_config(config))


def read_config(config: Config) -> Settings:
    """Settings out of whatever a caller has. Raises ConfigError."""
    if isinstance(config, Settings):
        return config
    if isinstance(config, Mapping):
        return settings_from(config, os.environ)
    return load_settings(Path(config) if config is not None else None, os.environ)


def build_provider(name: str, settings: ProviderSettings) -> Provider:
    """The provider that these settings describe. Raises ConfigError."""
    kind = settings.kind or name
    if kind == "custom":
        return _load_custom(name, settings)
    if kind == "ollama":
        return OllamaProvider(name, settings)
    if kind == "tgi":
        return TgiProvider(name, settings)
    return CompatProvider(name, settings)


def build_world(parts: Parts, edge: Callable[[], Edge]) -> World:
    """The routes and the pipeline behind them."""
    chat = openai.OpenAIChat()
    models = ModelPages(parts.router, parts.discovery)
    health = HealthPages(lambda: edge().draining, lambda: len(edge().active))
    pages: dict[str, PlainRoute] = {path: PlainRoute(models.list) for path in openai.MODELS_PATHS}
    for path, answer in (
        ("/", welcome),
        ("/health", health.health),
        ("/v1/health", health.health),
        ("/health/live", health.live),
        ("/health/ready", health.ready),
        ("/ready", health.ready),
        ("/metrics", metrics_page(lambda: _all_workers(parts.registry))),
    ):
        pages[path] = PlainRoute(answer, admits=False)
    return World(
        settings=parts.settings,
        pipeline=parts.pipeline,
        chat_routes=dict.fromkeys(openai.CHAT_PATHS, chat),
        plain_routes=pages,
        prefix_routes={f"{path}/": PlainRoute(models.one) for path in openai.MODELS_PATHS},
        error_format=chat,
        stream_began=parts.metrics.stream_began,
        stream_ended=parts.metrics.stream_ended,
    )


def _all_workers(own: CollectorRegistry) -> CollectorRegistry:
    """The registry to show: that of all workers together, where there are several."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return own
    _forget_the_dead(Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]))
    together = CollectorRegistry()
    MultiProcessCollector(together)  # type: ignore[no-untyped-call]  # prometheus_client leaves it untyped
    return together


def _forget_the_dead(folder: Path) -> None:
    """The calls of a killed worker are no longer under way, but they are counted until somebody says so."""
    for gauges in folder.glob("gauge_live*_*.db"):
        worker = int(gauges.stem.rpartition("_")[2])
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            mark_process_dead(worker)  # type: ignore[no-untyped-call]  # prometheus_client leaves it untyped
        except PermissionError:
            pass


def _famous_prefixes(providers: Mapping[str, ProviderSettings]) -> dict[str, str]:
    rows = ((name, KINDS.get(said.kind or name)) for name, said in providers.items())
    return {prefix.rstrip("*"): name for name, row in rows if row is not None for prefix in row.prefixes}


def _origins(provider: Provider) -> set[HttpOrigin]:
    """Where the provider's requests go: its base_url, and the endpoints it has laid out."""
    laid_out = {value.origin for value in vars(provider).values() if isinstance(value, Endpoint)}
    base_url = provider.settings.base_url
    return laid_out | {Endpoint.to("GET", base_url, {}).origin} if base_url else laid_out


def _load_custom(name: str, settings: ProviderSettings) -> Provider:
    """A provider in one file of the user's own, which defines ``provider(name, settings)``."""
    where = f"providers.{name}.path"
    spec = spec_from_file_location(f"switchgear_custom_{name.replace('-', '_')}", settings.path)
    if spec is None or spec.loader is None:
        raise ConfigError([f"{where}: {settings.path!r} is not a Python file"])
    module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        build = module.provider
    except FileNotFoundError:
        raise ConfigError([f"{where}: there is no file {settings.path!r}"]) from None
    except AttributeError:
        raise ConfigError([f"{where}: {settings.path} does not define provider(name, settings)"]) from None
    except Exception as error:
        raise ConfigError([f"{where}: {settings.path} failed to load: {error}"]) from error
    built: Provider = build(name, settings)
    return built


__all__ = ["Application", "Config", "Page", "create_app"]
