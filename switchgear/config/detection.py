"""What a machine has to offer when nothing is configured: keys in the environment, an Ollama, a model of its own."""

import http.client
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from switchgear.config.environment import key_of
from switchgear.config.kinds import KINDS
from switchgear.local import llama

PROBE_S = 0.2
LOCAL_PROVIDER = "local"
LOCAL_MODEL = "smollm2"


class Found(Struct, frozen=True):
    """What looking around found: the address of an Ollama that answers, and the name of the bundled model."""

    ollama_url: str | None = None
    local_model: str | None = None


def look_around(environ: Mapping[str, str]) -> Found:
    """Look for an Ollama (at most 200 ms) and for the model of the ``local`` extra."""
    url = ollama_url(environ.get("OLLAMA_HOST", ""))
    model = llama.available()
    return Found(url if url and _answers(f"{url}/api/version") else None, model.name if model else None)


def detected(environ: Mapping[str, str], found: Found) -> dict[str, Any]:
    """The settings tree for what is there. Pure: it depends on its arguments alone.

    Each vendor with a key is a provider. A single provider that is not the bundled model
    is the default one; of several, none is, because a misspelt name must not go to just any of them.
    """
    providers: dict[str, Any] = {}
    models: dict[str, Any] = {}
    if found.local_model:
        providers[LOCAL_PROVIDER] = {"kind": "llamacpp"}
        models[LOCAL_MODEL] = {"targets": [f"{LOCAL_PROVIDER}/{found.local_model}"]}
    if found.ollama_url:
        providers["ollama"] = {"base_url": found.ollama_url}
    for name, kind in KINDS.items():
        key = key_of(name, environ) if kind.needs_key else None
        if key:
            providers[name] = {"api_key": key}
    tree: dict[str, Any] = {"providers": providers, "models": models}
    remote = [name for name in providers if name != LOCAL_PROVIDER]
    return tree | ({"default_provider": remote[0]} if len(remote) == 1 else {})


def ollama_url(host: str) -> str | None:
    """``OLLAMA_HOST`` as a URL to call: a scheme, host or port that is left out is Ollama's own; None for nonsense.

    Follows https://github.com/ollama/ollama/blob/main/envconfig/config.go.
    """
    host = host.strip().strip("'\"")
    scheme, mark, rest = host.partition("://")
    scheme, rest = (scheme, rest) if mark else ("http", host)
    try:
        parts = urlsplit(f"//{rest}")
        name, port = parts.hostname or "127.0.0.1", parts.port
    except ValueError:
        return None
    if scheme not in ("http", "https") or parts.username is not None:
        return None
    # A server may listen on every address; a client calls one.
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(name, name)  # noqa: S104  compared, not listened on
    shown = f"[{name}]" if ":" in name else name
    default = {"http": 80, "https": 443}[scheme] if mark else 11434
    return f"{scheme}://{shown}:{port or default}"


def _answers(url: str) -> bool:
    """Whether a GET of ``url`` is answered with 200 in time; name look-ups can hang, so a thread does it."""
    answered = threading.Event()
    prober = threading.Thread(target=_probe, args=(url, answered), daemon=True)
    prober.start()
    prober.join(PROBE_S)
    return answered.is_set()


def _probe(url: str, answered: threading.Event) -> None:
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=PROBE_S)
    try:
        connection.request("GET", parts.path)
        if connection.getresponse().status == 200:
            answered.set()
    except (OSError, http.client.HTTPException):
        return
    finally:
        connection.close()
