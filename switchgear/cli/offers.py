"""What settings offer: providers, model names, keys and how to call; for the banner and `switchgear check`."""

import json
import shlex
from collections.abc import Iterable

from msgspec import Struct

from switchgear.config import Loaded
from switchgear.config.kinds import KINDS
from switchgear.core.settings import KeySettings, ProviderSettings, Settings
from switchgear.local_models import starts_llama
from switchgear.policies.allowed_models import may_use

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  compared, not listened on


class Offers(Struct, frozen=True):
    """Rows of two columns each; ``curl`` is one line for a shell, ``hint`` what it needs, if anything."""

    url: str
    providers: list[tuple[str, str]]
    models: list[tuple[str, str]]
    keys: list[tuple[str, str]]
    curl: str
    hint: str


def offers_of(loaded: Loaded) -> Offers:
    """What can be asked of a gateway with these settings. Holds no secret: keys are named, never shown."""
    settings = loaded.settings
    model, key = _usable(settings)
    url = url_of(settings.server.host, settings.server.port)
    variable = loaded.key_variables.get(key.name) if key else None
    return Offers(
        url=url,
        providers=[(name, _where(provider)) for name, provider in settings.providers.items()],
        models=list(_models(settings)),
        keys=[(key.name, _key_source(key, loaded)) for key in settings.keys],
        curl=_curl(url, model, variable or "KEY" if key else ""),
        hint=f"KEY stands for the key of {key.name}" if key and not variable else "",
    )


def url_of(host: str, port: int) -> str:
    """The address to call: an address that means all of them is called as this machine."""
    host = _EVERYWHERE.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _where(provider: ProviderSettings) -> str:
    if provider.kind == "custom":
        return provider.path
    if starts_llama(provider):
        return "llama.cpp, started here"
    return provider.base_url or KINDS[provider.kind].base_url


def _models(settings: Settings) -> Iterable[tuple[str, str]]:
    for name, model in settings.models.items():
        yield name, ", then ".join(model.targets)
    for name, provider in settings.providers.items():
        for model_name in provider.models:
            yield f"{name}/{model_name}", ""
        prefixes = KINDS[provider.kind].prefixes
        if prefixes:
            yield f"{prefixes[0]} and the like" if len(prefixes) > 1 else prefixes[0], name
    if settings.default_provider:
        yield "any other name", settings.default_provider


def _key_source(key: KeySettings, loaded: Loaded) -> str:
    variable = loaded.key_variables.get(key.name)
    limit = key.limits.requests_per_minute
    said = [f"${variable}"] if variable else []
    said += ["" if key.models == ("*",) else f"models {', '.join(key.models)}"]
    said += [f"{limit} requests per minute"] if limit else []
    return ", ".join(one for one in said if one)


def _usable(settings: Settings) -> tuple[str | None, KeySettings | None]:
    """The first model whose name is certain, and the first key that may use it."""
    names = [name for name in settings.models if not name.endswith("*")]
    names += [f"{name}/{model}" for name, provider in settings.providers.items() for model in provider.models]
    if not settings.keys:
        return (names[0] if names else None), None
    pairs = ((name, key) for name in names for key in settings.keys if may_use(key, name))
    return next(pairs, (None, settings.keys[0]))


def _curl(url: str, model: str | None, variable: str) -> str:
    auth = f' -H "Authorization: Bearer ${variable}"' if variable else ""
    if model is None:
        # Which models there are is not known yet; this line works all the same, and says.
        return f"curl {url}/v1/models{auth}"
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Say hello."}]}, ensure_ascii=False)
    return f"curl {url}/v1/chat/completions{auth} -H 'Content-Type: application/json' -d {shlex.quote(body)}"
