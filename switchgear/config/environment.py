"""The environment variables that people of this kind of gateway already use: LLM_BACKEND and its family.

``LLM_BACKEND`` names a kind, ``LLM_BACKEND_URL`` its address, ``MAX_CONCURRENT`` how many calls it takes at once,
``API_KEYS_JSON`` maps each client key to what is known of it.
"""

import json
from collections.abc import Mapping
from typing import Any

from switchgear.config.document import FromEnvironment
from switchgear.config.kinds import KINDS, kind_named
from switchgear.config.problems import Problems, did_you_mean

_LIMIT_NAMES = ("rate_limit", "requests_per_minute")


def read_environment(environ: Mapping[str, str], problems: Problems) -> dict[str, Any]:
    """The part of a settings tree these variables say; empty where none is set."""
    tree: dict[str, Any] = {}
    kind = _backend(environ, problems)
    if kind:
        tree["providers"] = {kind: _provider(kind, environ)}
        tree["default_provider"] = kind
    if environ.get("API_KEYS_JSON"):
        tree["keys"] = _keys(environ["API_KEYS_JSON"], problems)
    return tree


def ignored(environ: Mapping[str, str]) -> list[str]:
    """What is set and does nothing without LLM_BACKEND, a sentence each."""
    if environ.get("LLM_BACKEND"):
        return []
    lonely = [name for name in ("LLM_BACKEND_URL", "MAX_CONCURRENT") if environ.get(name)]
    return [f"{name} is set and ignored, because LLM_BACKEND is not set" for name in lonely]


def key_of(kind: str, environ: Mapping[str, str]) -> FromEnvironment | None:
    """The credential a vendor's own variable holds, if one does."""
    found = next((name for name in KINDS[kind].key_variables if environ.get(name)), None)
    return FromEnvironment(environ[found], f"${{{found}}}") if found else None


def _backend(environ: Mapping[str, str], problems: Problems) -> str | None:
    said = environ.get("LLM_BACKEND", "").strip()
    if not said:
        return None
    kind = kind_named(said)
    if kind is None:
        near = did_you_mean(said, KINDS) or f"; known are {', '.join(KINDS)}"
        problems.add("LLM_BACKEND", f"not a kind of provider Switchgear knows{near}")
        return None
    if KINDS[kind].needs_path:
        problems.add("LLM_BACKEND", f"a {kind} provider needs a configuration file that says its path")
        return None
    return kind


def _provider(kind: str, environ: Mapping[str, str]) -> dict[str, Any]:
    provider: dict[str, Any] = {"kind": kind}
    url = environ.get("LLM_BACKEND_URL", "").strip()
    if url:
        provider["base_url"] = FromEnvironment(_complete(url, KINDS[kind].url_suffix), "$LLM_BACKEND_URL")
    key = key_of(kind, environ)
    if key:
        provider["api_key"] = key
    if environ.get("MAX_CONCURRENT"):
        provider["max_concurrency"] = FromEnvironment(environ["MAX_CONCURRENT"], "$MAX_CONCURRENT")
    return provider


def _complete(url: str, suffix: str | None) -> str:
    """The URL as settings want it: people say ``http://host:8000`` and mean ``http://host:8000/v1``, or the reverse."""
    url = url.rstrip("/")
    if suffix is None:
        return url.removesuffix("/v1").removesuffix("/api")
    has_path = bool(url.split("://")[-1].partition("/")[2])
    return url if has_path else url + suffix


def _keys(text: str, problems: Problems) -> list[dict[str, Any]]:
    try:
        # Pairs, not a dict: of a key given twice json would keep the last in silence.
        pairs = json.loads(text, object_pairs_hook=list)
    except json.JSONDecodeError as error:
        problems.add("API_KEYS_JSON", f"not JSON: {error.msg.lower()} at character {error.pos + 1}")
        return []
    except RecursionError:
        problems.add("API_KEYS_JSON", "not JSON: nested too deeply")
        return []
    if not isinstance(pairs, list) or not all(isinstance(pair, tuple) for pair in pairs):
        problems.add(
            "API_KEYS_JSON", 'expected a JSON object of keys and what is known of them: {"sk-…": {"name": "…"}}'
        )
        return []
    return [_key(key, said, number, problems) for number, (key, said) in enumerate(pairs, 1)]


def _key(key: str, said: Any, number: int, problems: Problems) -> dict[str, Any]:
    """One entry; ``said`` is an object (as a list of pairs), or only a name."""
    source = "$API_KEYS_JSON"
    known: dict[str, Any] = {"key": FromEnvironment(key, source), "name": f"key-{number}"}
    if isinstance(said, str):
        return known | {"name": said or known["name"]}
    if said is not None and not (isinstance(said, list) and all(isinstance(pair, tuple) for pair in said)):
        problems.add(f"API_KEYS_JSON entry {number}", 'expected an object such as {"name": "alice"}, or a name')
        return known
    metadata: dict[str, str] = {}
    for name, value in said or ():
        if value is None:
            continue
        if name == "models" and isinstance(value, str):
            known[name] = [FromEnvironment(one.strip(), source) for one in value.split(",")]
        elif name in ("name", "models"):
            known[name] = _marked(value, source)
        elif name in _LIMIT_NAMES:
            known["limits"] = {"requests_per_minute": _marked(value, source)}
        elif name == "limits":
            known["limits"] = _marked(value, source)
        else:
            metadata[name] = value if isinstance(value, str) else json.dumps(_object(value))
    return known | ({"metadata": metadata} if metadata else {})


def _object(value: Any) -> Any:
    """A JSON value whose objects were read as lists of pairs, as it was meant."""
    if isinstance(value, list) and value and all(isinstance(pair, tuple) for pair in value):
        return {name: _object(inner) for name, inner in value}
    return [_object(inner) for inner in value] if isinstance(value, list) else value


def _marked(value: Any, source: str) -> Any:
    """Scalars marked as coming from the environment; numbers become text, which settings read as numbers again."""
    value = _object(value)
    if isinstance(value, dict):
        return {name: _marked(inner, source) for name, inner in value.items()}
    if isinstance(value, list):
        return [_marked(inner, source) for inner in value]
    return value if value is None else FromEnvironment(value if isinstance(value, str) else json.dumps(value), source)
