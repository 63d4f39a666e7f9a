"""What settings that are well formed may still get wrong: names that lead nowhere, addresses, files, open doors."""

import ipaddress
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from switchgear.config.kinds import KINDS, Kind
from switchgear.config.problems import Problems, did_you_mean, join
from switchgear.core.settings import KeySettings, ModelSettings, ProviderSettings, ServerSettings, Settings
from switchgear.local import llama

_FORBIDDEN_HEADERS = frozenset({"content-length", "transfer-encoding", "connection", "accept-encoding"})
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


def check_meaning(settings: Settings, problems: Problems) -> None:
    """Note every mistake that needs more than one value, a file or a table of kinds to see."""
    _check_server(settings, problems)
    for name, provider in settings.providers.items():
        _check_provider(name, provider, problems)
    for name, model in settings.models.items():
        _check_model(name, model, settings.providers, problems)
    default = settings.default_provider
    if default and default not in settings.providers:
        problems.add("default_provider", _no_provider(default, settings.providers))
    _check_keys(settings.keys, problems)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens on ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _check_server(settings: Settings, problems: Problems) -> None:
    server = settings.server
    if not server.host:
        problems.add("server.host", "empty; expected an address such as 127.0.0.1")
    elif not is_loopback(server.host) and not settings.keys and not problems.touch("keys"):
        problems.add(
            "server.host",
            f"{server.host!r} can be reached from other machines and there are no keys, so anyone could use your "
            "providers; add keys, or listen on 127.0.0.1",
        )
    _check_origins(server, problems)


def _check_origins(server: ServerSettings, problems: Problems) -> None:
    for place, origin in enumerate(server.cors_origins):
        parts = _split(origin)
        if origin != "*" and (parts is None or parts.path or parts.query or not parts.netloc):
            problems.add(
                join("server.cors_origins", place),
                "expected '*' or an origin such as https://app.example.com, without a path or a slash at its end",
            )


def _check_provider(name: str, provider: ProviderSettings, problems: Problems) -> None:
    path = join("providers", name)
    if not name or any(c in "/:*" or c.isspace() for c in name):
        problems.add(path, "a provider's name may not be empty nor hold '/', ':', '*' or spaces")
    _check_headers(provider, path, problems)
    if provider.base_url:
        _check_url(provider.base_url, join(path, "base_url"), problems)
    if provider.api_key and not _is_sendable(provider.api_key.reveal()):
        problems.add(join(path, "api_key"), "holds a space, a line end or another character that a key cannot have")
    for field in ("path", "tls_ca_file", "model_path"):
        file = getattr(provider, field)
        if file and not Path(file).is_file() and not (field == "model_path" and provider.kind == "llamacpp"):
            problems.add(join(path, field), f"there is no file {file}")
    _check_kind(name, provider, path, problems)


def _check_kind(name: str, provider: ProviderSettings, path: str, problems: Problems) -> None:
    kind = KINDS.get(provider.kind)
    if kind is None and provider.kind:
        near = did_you_mean(provider.kind, KINDS) or f"; known are {', '.join(KINDS)}"
        problems.add(join(path, "kind"), f"there is no kind {provider.kind!r}{near}")
    elif kind is None and not problems.explain(path, "kind"):
        near = did_you_mean(name, KINDS, cutoff=0.75)
        example = "openai_compatible for any server that speaks OpenAI chat completions"
        problems.add(join(path, "kind"), f"missing, and {name!r} is no known provider{near or f'; say {example}'}")
    elif kind is not None:
        _check_needs(kind, provider, path, problems)


def _check_needs(kind: Kind, provider: ProviderSettings, path: str, problems: Problems) -> None:
    if kind.needs_base_url and not provider.base_url and not problems.explain(path, "base_url"):
        where = ", here or in LLM_BACKEND_URL" if path == join("providers", provider.kind) else ""
        problems.add(join(path, "base_url"), f"missing; kind {provider.kind} needs the address of its server{where}")
    if kind.needs_path and not provider.path and not problems.explain(path, "path"):
        problems.add(join(path, "path"), f"missing; kind {provider.kind} needs the Python file that holds it")
    if provider.kind == "llamacpp" and not provider.base_url and not problems.explain(path, "base_url"):
        _check_local(provider, path, problems)


def _check_local(provider: ProviderSettings, path: str, problems: Problems) -> None:
    if not provider.model_path:
        because = llama.unavailable_because()
        if because:
            problems.add(path, f"{because}; or say base_url, the address of a llama.cpp server")
        return
    try:
        llama.model_at(Path(provider.model_path))
    except llama.ModelError as error:
        problems.add(join(path, "model_path"), str(error))
    if find_spec("xllamacpp") is None:
        problems.add(path, f"xllamacpp not installed: {llama.INSTALL_HINT}")


def _check_headers(provider: ProviderSettings, path: str, problems: Problems) -> None:
    for name, value in provider.headers.items():
        at = join(join(path, "headers"), name)
        if not name or not set(name) <= _TOKEN:
            problems.add(at, "not the name of a header")
        elif name.lower() in _FORBIDDEN_HEADERS:
            problems.add(at, "the gateway sets this header itself; remove it")
        elif not all(32 <= ord(c) < 256 and ord(c) != 127 for c in value.reveal()):
            problems.add(at, "holds a line end or another character that a header cannot have")


def _check_url(url: str, path: str, problems: Problems) -> None:
    parts = _split(url)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        problems.add(path, "expected an http:// or https:// URL such as http://127.0.0.1:8000/v1")
    elif "@" in parts.netloc:
        problems.add(path, "holds a user name or password; say api_key or headers instead")
    elif parts.query or parts.fragment or any(ord(c) <= 32 or ord(c) >= 127 for c in url):
        problems.add(path, "expected a URL of plain characters without '?' and '#', for paths are added to it")


def _check_model(
    name: str, model: ModelSettings, providers: Mapping[str, ProviderSettings], problems: Problems
) -> None:
    path = join("models", name)
    if not name or "*" in name[:-1]:
        problems.add(path, "a model's name may not be empty, and '*' may only be its last character")
    if not model.targets and not problems.explain(path, "targets"):
        problems.add(join(path, "targets"), "empty; expected at least one 'provider/model' or 'provider'")
    for place, target in enumerate(model.targets):
        at = join(join(path, "targets"), place)
        provider, slash, upstream = target.partition("/")
        if provider not in providers:
            problems.add(at, _no_provider(provider, providers))
        elif slash and not upstream:
            problems.add(at, f"no model after the '/'; '{provider}' alone keeps the name the client asked for")


def _no_provider(name: str, providers: Iterable[str]) -> str:
    near = did_you_mean(name, providers)
    known = ", ".join(providers)
    rest = f"; there are {known}" if known else "; there are no providers"
    return f"there is no provider {name!r}{near or rest}"


def _check_keys(keys: Iterable[KeySettings], problems: Problems) -> None:
    names: dict[str, int] = {}
    digests: dict[bytes, int] = {}
    for place, key in enumerate(keys):
        path = join("keys", place)
        if not problems.explain(path, "key"):
            _check_key(key, path, place, digests, problems)
        if not key.name and not problems.explain(path, "name"):
            problems.add(join(path, "name"), "empty; expected what logs shall call this key")
        elif key.name and key.name in names:
            problems.add(join(path, "name"), f"already the name of keys[{names[key.name]}]; names must differ")
        names.setdefault(key.name, place)
        for number, pattern in enumerate(key.models):
            if not pattern or "*" in pattern[:-1]:
                at = join(join(path, "models"), number)
                problems.add(at, "a model's name may not be empty, and '*' may only be its last character")


def _check_key(key: KeySettings, path: str, place: int, digests: dict[bytes, int], problems: Problems) -> None:
    at = join(path, "key")
    if not key.key:
        problems.add(at, "empty; expected the key itself")
    elif not _is_sendable(key.key.reveal()):
        problems.add(at, "holds a space, a line end or another character that a key cannot have")
    first = digests.setdefault(key.key.sha256(), place)
    if key.key and first != place:
        problems.add(at, f"the same key as keys[{first}]; keys must differ")


def _is_sendable(key: str) -> bool:
    return all(33 <= ord(c) <= 126 for c in key)


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where it is no port
    except ValueError:
        return None
    return parts
