"""The llama.cpp servers behind providers of kind `llamacpp`: started before the gateway, stopped after it."""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from msgspec.structs import replace

from switchgear.core.errors import ConfigError, Unavailable
from switchgear.core.settings import ProviderSettings, Settings
from switchgear.engine.child import Change, ChildError, SupervisedChild, free_port
from switchgear.local import llama

READY_WITHIN_S = 60.0


def starts_llama(provider: ProviderSettings) -> bool:
    """Whether a llama.cpp server is started for this provider."""
    return provider.kind == "llamacpp" and not provider.base_url


@contextmanager
def local_models(settings: Settings) -> Iterator[Settings]:
    """Run what the settings want run here; within, settings that say where each of them is.

    With nothing else to serve from, waits until they answer; else they load while the gateway already runs. Raises
    ConfigError where one cannot be started, Unavailable where it does not get ready.
    """
    wanted = {name: provider for name, provider in settings.providers.items() if starts_llama(provider)}
    with ExitStack() as stack:
        ports = {name: free_port() for name in wanted}
        children = [stack.enter_context(_child(name, wanted[name], ports[name])) for name in wanted]
        if len(wanted) == len(settings.providers):
            _wait(children)
        yield _with_addresses(settings, {name: f"http://127.0.0.1:{port}/v1" for name, port in ports.items()})


def _child(name: str, provider: ProviderSettings, port: int) -> SupervisedChild:
    try:
        model = llama.model_at(Path(provider.model_path)) if provider.model_path else llama.available()
    except llama.ModelError as error:
        raise ConfigError([f"providers.{name}.model_path: {error}"]) from None
    if model is None:
        raise ConfigError([f"providers.{name}: {llama.unavailable_because()}"])
    return SupervisedChild(
        llama.command(model, port),
        ready_url=f"http://127.0.0.1:{port}/health",
        name=name,
        ready_timeout_s=READY_WITHIN_S,
        on_change=_say,
    )


def _wait(children: list[SupervisedChild]) -> None:
    for child in children:
        try:
            child.wait_ready(READY_WITHIN_S)
        except ChildError as error:
            raise Unavailable(str(error)) from None


def _say(change: Change) -> None:
    # Not through a Python stream: a fork in the middle of a write would leave its lock held in a worker for ever.
    if change.state != "stopped":
        os.write(2, f"  {change}\n".encode())


def _with_addresses(settings: Settings, addresses: Mapping[str, str]) -> Settings:
    placed = {name: replace(settings.providers[name], base_url=url) for name, url in addresses.items()}
    return replace(settings, providers={**settings.providers, **placed})
