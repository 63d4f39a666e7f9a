"""Where settings come from, in order: `SWITCHGEAR__…`, the file, `LLM_BACKEND` and its family, what is detected."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from switchgear.config.detection import Found, detected, look_around
from switchgear.config.document import FromEnvironment, interpolate, parse
from switchgear.config.environment import ignored, key_of, read_environment
from switchgear.config.kinds import KINDS
from switchgear.config.meaning import check_meaning
from switchgear.config.overrides import override
from switchgear.config.problems import Problems
from switchgear.config.tree import read_settings
from switchgear.config.warnings import warnings_about
from switchgear.core.errors import ConfigError
from switchgear.core.settings import ProviderSettings, Secret, Settings

DEFAULT_FILE = Path("switchgear.yaml")
_FILES = ("path", "tls_ca_file", "model_path")


class Loaded(Struct, frozen=True):
    """Settings, and what is known of where they came from.

    ``source`` is the file's name, ``LLM_BACKEND`` or ``what was detected``. ``key_variables`` maps the name of a
    client key to the environment variable that holds it, where one does. ``warnings`` are sentences.
    """

    settings: Settings
    source: str
    key_variables: dict[str, str]
    warnings: list[str]


def load_settings(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """The settings of a YAML file and the environment.

    Without ``path``, ``./switchgear.yaml`` is taken if there is one, else ``LLM_BACKEND`` and its family, else what
    is detected. Raises ConfigError with every mistake at once, a line each, none holding a secret.
    """
    return load(path, environ).settings


def settings_from(document: Mapping[str, Any] | str, environ: Mapping[str, str]) -> Settings:
    """The settings of a YAML text, or of the tree such a text would hold. Raises ConfigError as ``load_settings``."""
    text_or_tree = document if isinstance(document, str) else dict(document)
    return _assemble(text_or_tree, "the document", Path(), environ, {}).settings


def load(
    path: Path | None,
    environ: Mapping[str, str],
    flags: Mapping[str, Any] | None = None,
    look: Callable[[Mapping[str, str]], Found] = look_around,
) -> Loaded:
    """Like ``load_settings``, with where it all came from.

    ``flags`` are ``server`` settings from a command line, which win over everything; ``look`` finds what can be
    detected, and is called only where nothing is configured.
    """
    if path is None and DEFAULT_FILE.is_file():
        path = DEFAULT_FILE
    if path is not None:
        return _assemble(_read(path), str(path), path.parent, environ, flags or {})
    if environ.get("LLM_BACKEND", "").strip():
        return _assemble({}, "LLM_BACKEND", Path(), environ, flags or {})
    return _assemble(detected(environ, look(environ)), "what was detected", Path(), environ, flags or {})


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: not a text in UTF-8"]) from None


def _assemble(document: Any, source: str, folder: Path, environ: Mapping[str, str], flags: Mapping[str, Any]) -> Loaded:
    problems = Problems()
    tree = interpolate(parse(document, source) if isinstance(document, str) else document, environ, problems)
    if tree is None:
        tree = {}
    if not isinstance(tree, dict):
        raise ConfigError([f"{source}: expected a table of settings such as 'server:' and 'providers:'"])
    tree = _with_environment(tree, read_environment(environ, problems))
    override(tree, environ, problems)
    if flags:
        server = tree.get("server")
        tree["server"] = {**(server if isinstance(server, dict) else {}), **flags}
    _hide(tree, problems)
    settings = _completed(read_settings(tree, problems), folder, environ)
    check_meaning(settings, problems)
    if problems.found:
        raise ConfigError(problems.lines())
    return Loaded(settings, source, _key_variables(tree, settings), warnings_about(settings) + ignored(environ))


def _hide(tree: Any, problems: Problems) -> None:
    """No message says what came out of the environment, whatever place it was put in."""
    for value in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        _hide(value, problems)
    if isinstance(tree, FromEnvironment):
        problems.hide(str(tree), tree.source)


def _with_environment(tree: dict[str, Any], fallback: dict[str, Any]) -> dict[str, Any]:
    """The file's tree, what it leaves open filled from the environment's. An empty list or table is left open."""
    for name, provider in _tables(fallback.get("providers")).items():
        written = _tables(_tables(tree.get("providers")).get(name))
        if written.get("base_url"):
            # The key found beside LLM_BACKEND was not meant for an address that somebody else chose.
            provider.pop("api_key", None)
    return _merged(tree, fallback)


def _merged(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    merged = dict(first)
    for name, value in second.items():
        if isinstance(value, dict) and isinstance(merged.get(name), dict):
            merged[name] = _merged(merged[name], value)
        elif merged.get(name) in (None, "", [], {}):
            merged[name] = value
    return merged


def _tables(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _completed(settings: Settings, folder: Path, environ: Mapping[str, str]) -> Settings:
    providers = {name: _complete(name, one, folder, environ) for name, one in settings.providers.items()}
    return msgspec.structs.replace(settings, providers=providers)


def _complete(name: str, provider: ProviderSettings, folder: Path, environ: Mapping[str, str]) -> ProviderSettings:
    """A provider with its kind said, its files found from the configuration's folder, and a known vendor's key."""
    changes: dict[str, Any] = {"kind": provider.kind or (name if name in KINDS else "")}
    for field in _FILES:
        file = getattr(provider, field)
        if file:
            changes[field] = str((folder / Path(file).expanduser()).absolute())
    kind = KINDS.get(changes["kind"])
    # Only to the vendor's own address: a key must not follow a base_url to somebody else.
    if kind and kind.needs_key and provider.api_key is None and not provider.base_url:
        key = key_of(changes["kind"], environ)
        changes["api_key"] = Secret(str(key)) if key else None
    elif provider.api_key is not None and not provider.api_key:
        changes["api_key"] = None
    return msgspec.structs.replace(provider, **changes)


def _key_variables(tree: dict[str, Any], settings: Settings) -> dict[str, str]:
    """The variable behind each client key, where the whole key is one ``${NAME}``."""
    said = tree.get("keys")
    if not isinstance(said, list):
        return {}
    texts = [one.get("key") if isinstance(one, dict) else None for one in said]
    return {
        key.name: text.variable
        for text, key in zip(texts, settings.keys, strict=True)
        if isinstance(text, FromEnvironment) and text.variable
    }
