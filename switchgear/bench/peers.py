"""The rivals: read from `bench/peers/*.toml`, installed at pinned versions into throwaway folders."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from switchgear.bench import children
from switchgear.bench.gateway import KEY, MODEL, Gateway
from switchgear.bench.weight import installed_mb

_DONE = "installed"


class PeerFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One TOML file; its texts are templates for `Place.fill`, with @KEY@ and @MODEL@ besides."""

    name: str
    language: str
    # One of the two, beside the TOML: requirements that pin everything, or a folder with package-lock.json.
    pip: str | None = None
    npm: str | None = None
    version: str
    command: tuple[str, ...]
    config: dict[str, str] = {}
    env: dict[str, str] = {}
    headers: dict[str, str] = {}
    path: str = "/v1/chat/completions"
    model: str = "@MODEL@"
    auth: bool = True
    start_within_s: float = 30.0


class InstallError(Exception):
    """A peer could not be installed; the text is the end of what its installer said."""


def known(folder: Path) -> list[str]:
    """Return the names of all peers described in a folder."""
    return sorted(path.stem for path in folder.glob("*.toml"))


def read(folder: Path, name: str) -> PeerFile:
    """Read one peer's file; raise `LookupError` for a name there is no file for."""
    path = folder / f"{name}.toml"
    if not path.is_file():
        raise LookupError(f"no peer called {name}; there are: {', '.join(known(folder))}")
    return msgspec.toml.decode(path.read_bytes(), type=PeerFile)


def install(folder: Path, peer: PeerFile, cache: Path, say: Callable[[str], None]) -> Path:
    """Install a peer unless that version is there already, and return its folder."""
    target = cache / f"{peer.name}-{peer.version}"
    stamp = target / _DONE
    recipe = _recipe(folder, peer)
    # The recipe is the stamp: a changed pin installs anew.
    if stamp.is_file() and stamp.read_text() == recipe:
        return target
    say(f"installing {peer.name} {peer.version} (once; it is kept in {cache.name})")
    shutil.rmtree(target, ignore_errors=True)
    try:
        if peer.npm:
            _install_npm(folder / peer.npm, target)
        else:
            _install_pip(folder / str(peer.pip), target)
    except subprocess.CalledProcessError as error:
        raise InstallError(f"{peer.name}: {str(error.stderr)[-800:]}") from None
    stamp.write_text(recipe)
    return target


def gateway(peer: PeerFile, installed: Path) -> Gateway:
    """Return the row for an installed peer."""

    def fill(text: str) -> str:
        return text.replace("@KEY@", KEY).replace("@MODEL@", MODEL)

    def fill_all(texts: dict[str, str]) -> dict[str, str]:
        return {name: fill(text) for name, text in texts.items()}

    return Gateway(
        name=peer.name,
        version=peer.version,
        language=peer.language,
        command=tuple(fill(part) for part in peer.command),
        config=fill_all(peer.config),
        env=fill_all(peer.env),
        headers={"Authorization": f"Bearer {KEY}"} | fill_all(peer.headers),
        path=peer.path,
        model=fill(peer.model),
        auth=peer.auth,
        start_within_s=peer.start_within_s,
        installed=installed,
        installed_mb=installed_mb(installed),
    )


def _recipe(folder: Path, peer: PeerFile) -> str:
    if peer.npm:
        return (folder / peer.npm / "package-lock.json").read_text()
    return (folder / str(peer.pip)).read_text()


def _install_pip(requirements: Path, target: Path) -> None:
    children.run([sys.executable, "-m", "venv", str(target)])
    python = str(target / "bin" / "python")
    # Every package is listed with its version, so nothing is left for pip to choose.
    children.run([python, "-m", "pip", "install", "--quiet", "--no-deps", "-r", str(requirements)])


def _install_npm(source: Path, target: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise InstallError("npm is not installed; install: apt-get install nodejs npm")
    target.mkdir(parents=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(source / name, target / name)
    # No package may run code of its own while it is being installed.
    children.run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=target)
