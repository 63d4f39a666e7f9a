"""From a model's name to its targets: one pure function with one order.

1. the exact name in ``models``            4. a prefix rule of ``models`` (``gpt-*``), the longest first
2. ``provider/model``                      5. a prefix a known provider is famous for, if it is configured
3. ``provider:model``                      6. ``default_provider``
"""

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct

from switchgear.core.errors import ModelNotFound
from switchgear.core.settings import ModelSettings
from switchgear.core.types import Target


class Route(Struct, frozen=True):
    """Where a model name goes: ``label`` is the name as configured, for metrics; ``reason`` is for people."""

    label: str
    targets: Sequence[Target]
    reason: str


class Router:
    """Resolves model names. Pure: it holds configuration, never health."""

    def __init__(
        self,
        models: Mapping[str, ModelSettings],
        providers: Iterable[str],
        default_provider: str,
        famous_prefixes: Mapping[str, str],
    ) -> None:
        """``famous_prefixes`` maps ``gpt-`` to the configured provider that owns such names."""
        self._providers = frozenset(providers)
        self._default_provider = default_provider
        self._exact = {name: self._route(name, rule) for name, rule in models.items() if not name.endswith("*")}
        rules = [(name[:-1], rule) for name, rule in models.items() if name.endswith("*")]
        self._rules = sorted(rules, key=lambda pair: len(pair[0]), reverse=True)
        self._famous = sorted(famous_prefixes.items(), key=lambda pair: len(pair[0]), reverse=True)

    def resolve(self, model: str, known: Callable[[], Iterable[str]] = tuple) -> Route:
        """Where ``model`` goes. Raises ModelNotFound, with near names out of the configured and the ``known`` ones.

        ``known`` is called only then.
        """
        route = self._exact.get(model) or self._by_provider(model) or self._by_prefix(model)
        if route is not None:
            return route
        if self._default_provider:
            provider = self._default_provider
            return Route(f"{provider}/*", (Target(provider, model),), f"default provider {provider}")
        names = {*self._exact, *known()}
        raise ModelNotFound(model, difflib.get_close_matches(model[:200], names, n=3, cutoff=0.5))

    def _by_provider(self, model: str) -> Route | None:
        for mark in "/:":
            provider, found, rest = model.partition(mark)
            if found and rest and provider in self._providers:
                return Route(f"{provider}/*", (Target(provider, rest),), f"names provider {provider}")
        return None

    def _by_prefix(self, model: str) -> Route | None:
        for prefix, rule in self._rules:
            if model.startswith(prefix):
                return self._route(f"{prefix}*", rule, model)
        for prefix, provider in self._famous:
            if model.startswith(prefix):
                return Route(f"{prefix}*", (Target(provider, model),), f"names like {prefix}* are {provider}'s")
        return None

    def _route(self, name: str, rule: ModelSettings, model: str = "") -> Route:
        targets = tuple(_target(text, model or name, self._providers) for text in rule.targets)
        return Route(name, targets, f"rule {name!r}")

    @property
    def names(self) -> list[str]:
        """The names offered to clients, rules left out."""
        return list(self._exact)


def _target(text: str, model: str, providers: frozenset[str]) -> Target:
    """``provider/model``, or ``provider`` alone, which keeps the client's name."""
    if text in providers:
        return Target(text, model)
    for mark in "/:":
        provider, found, rest = text.partition(mark)
        if found and provider in providers:
            return Target(provider, rest)
    raise ModelNotFound(text, difflib.get_close_matches(text, providers))
