"""A gateway as the benchmark sees it: how it is started, how it is asked, and where its files go."""

import os
import sys
from pathlib import Path

import msgspec

from switchgear.bench import machine

KEY = "sk-bench-key"
MODEL = "bench-model"


class Place(msgspec.Struct, frozen=True):
    """What is known of one start: the folder for files, the port to listen on, and the mock's port."""

    folder: Path
    port: int
    upstream_port: int
    installed: Path = Path()

    def fill(self, text: str) -> str:
        """Replace @PORT@, @UPSTREAM@ (host:port), @DIR@, @INSTALLED@ and @FREE_PORT@ in a template."""
        known = {
            "@PORT@": str(self.port),
            "@UPSTREAM@": f"127.0.0.1:{self.upstream_port}",
            "@DIR@": str(self.folder),
            "@INSTALLED@": str(self.installed),
        }
        for mark, value in known.items():
            text = text.replace(mark, value)
        while "@FREE_PORT@" in text:
            text = text.replace("@FREE_PORT@", str(machine.free_port()), 1)
        return text


class Gateway(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table. Texts are templates for `Place.fill`."""

    name: str
    version: str
    language: str
    command: tuple[str, ...]
    config: dict[str, str] = {}
    env: dict[str, str] = {}
    headers: dict[str, str] = msgspec.field(default_factory=lambda: {"Authorization": f"Bearer {KEY}"})
    path: str = "/v1/chat/completions"
    model: str = MODEL
    # Whether a request with a wrong key must be refused; checked before anything is measured.
    auth: bool = True
    start_within_s: float = 30.0
    # Where it was installed, None where it is not ours to weigh.
    installed: Path | None = None
    installed_mb: float | None = None

    def argv(self, place: Place) -> list[str]:
        """Write the configuration files into the folder and return the command to start."""
        for name, text in self.config.items():
            (place.folder / name).write_text(place.fill(text))
        return [place.fill(part) for part in self.command]

    def environment(self, place: Place) -> dict[str, str]:
        """Return this process's environment, less what would steer a gateway, with its own on top."""
        kept = {name: value for name, value in os.environ.items() if not _steers_a_gateway(name)}
        return kept | {name: place.fill(value) for name, value in self.env.items()}

    def request_headers(self, place: Place) -> dict[str, str]:
        """Return the headers each request carries."""
        return {"Content-Type": "application/json"} | {name: place.fill(v) for name, v in self.headers.items()}


def _steers_a_gateway(name: str) -> bool:
    return name.lower() in ("http_proxy", "https_proxy", "all_proxy") or name.endswith("_API_KEY")


_OWN_CONFIG = f"""\
server: {{host: 127.0.0.1, port: @PORT@}}
providers: {{up: {{kind: openai_compatible, base_url: "http://@UPSTREAM@/v1", api_key: "sk-upstream"}}}}
models: {{"{MODEL}": {{targets: [up/mock-model]}}}}
keys: [{{key: "{KEY}", name: bench, models: ["*"], limits: {{requests_per_minute: 100000000}}}}]
"""


def own(version: str, config: str | None = None) -> Gateway:
    """Return this gateway, with auth and a limit on; `config` replaces the configuration's text."""
    return Gateway(
        name="switchgear",
        version=version,
        language="Python",
        command=(
            sys.executable,
            "-m",
            "switchgear",
            "serve",
            "--config",
            "@DIR@/bench.yaml",
            "--port",
            "@PORT@",
        ),
        config={"bench.yaml": config or _OWN_CONFIG},
        # The very code that is running, installed or not: a gateway starts in a folder of its own.
        env={"PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )
