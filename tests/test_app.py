"""The composition root: settings in, an ASGI application out."""

import asyncio
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest

from switchgear import create_app
from switchgear.app import Application, build_provider, read_config
from switchgear.core.errors import ConfigError
from switchgear.core.settings import ProviderSettings, Settings
from switchgear.providers.compat import CompatProvider
from switchgear.providers.ollama import OllamaProvider
from switchgear.providers.tgi import TgiProvider
from tests.asgi import chat_body, converse
from tests.fake import FakeProvider

UP = {"kind": "openai_compatible", "base_url": "http://127.0.0.1:1/v1", "discover": False}
QUIET = {"log_requests": False}


# -- configuration ----------------------------------------------------------------------------------------------------


def test_a_configuration_is_settings_a_mapping_or_a_path(tmp_path: Path) -> None:
    path = tmp_path / "switchgear.yaml"
    path.write_text('providers: {up: {kind: openai_compatible, base_url: "http://127.0.0.1:1/v1", discover: false}}')
    from_mapping = read_config({"providers": {"up": UP}})
    assert read_config(str(path)) == read_config(path) == from_mapping
    assert read_config(from_mapping) is from_mapping


def test_every_mistake_is_in_the_error() -> None:
    with pytest.raises(ConfigError) as caught:
        create_app({"server": {"port": "x"}, "providers": {"up": {"kind": "nonesuch"}}})
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(("name", "settings", "kind"), [
    ("mine", ProviderSettings(kind="openai_compatible", base_url="http://h/v1"), CompatProvider),
    ("groq", ProviderSettings(), CompatProvider),
    ("ollama", ProviderSettings(), OllamaProvider),
    ("mine", ProviderSettings(kind="tgi", base_url="http://h"), TgiProvider),
])  # fmt: skip
def test_a_provider_is_built_by_its_kind_or_its_well_known_name(
    name: str, settings: ProviderSettings, kind: type
) -> None:
    provider = build_provider(name, settings)
    assert isinstance(provider, kind)
    assert provider.name == name


@pytest.mark.parametrize(("text", "said"), [
    (None, "there is no file"),
    ("x = 1", "does not define provider"),
    ("import nonesuch_module", "failed to load"),
    ("this is no Python", "failed to load"),
])  # fmt: skip
def test_a_file_that_is_no_provider_says_why(tmp_path: Path, text: str | None, said: str) -> None:
    path = tmp_path / "mine.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        build_provider("mine", ProviderSettings(kind="custom", path=str(path)))
    assert said in str(caught.value)
    assert "providers.mine.path" in str(caught.value)


def test_a_provider_in_a_file_is_given_its_name_and_settings(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("def provider(name, settings):\n    return (name, settings.options)\n")
    settings = ProviderSettings(kind="custom", path=str(path), options={"beak": "blue"})
    built: Any = build_provider("my-own", settings)
    assert built == ("my-own", {"beak": "blue"})


# -- ASGI -------------------------------------------------------------------------------------------------------------


async def speak(app: Application, scope: dict[str, Any], *messages: str) -> list[MutableMapping[str, Any]]:
    """What the application says to these messages of a server."""
    coming, sent = [{"type": message} for message in messages], list[MutableMapping[str, Any]]()

    async def receive() -> MutableMapping[str, Any]:
        return coming.pop(0)

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent


async def test_the_lifespan_is_answered_and_leaves_nothing_running() -> None:
    app = create_app({"server": QUIET, "providers": {"up": UP | {"discover": True}}})
    before = asyncio.all_tasks()
    sent = await speak(app, {"type": "lifespan"}, "lifespan.startup", "lifespan.shutdown")
    assert [message["type"] for message in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert asyncio.all_tasks() == before


async def test_a_websocket_is_closed() -> None:
    app = create_app({"server": QUIET, "providers": {"up": UP}})
    assert await speak(app, {"type": "websocket"}, "websocket.connect") == [{"type": "websocket.close", "code": 1003}]


async def test_an_application_serves_without_a_lifespan(fake: FakeProvider) -> None:
    """Mounted applications are told nothing of start and end."""
    app = create_app({"server": QUIET, "providers": {"up": UP | {"base_url": f"{fake.url}/v1", "discover": True}}})
    assert (await converse(app, pieces=[chat_body(model="up/x")])).status == 200
    answer = await converse(app, method="GET", path="/v1/models")
    assert [model["id"] for model in answer.json["data"]] == ["up/fake-model"]
    await app.parts.close()


async def test_two_applications_in_one_process_count_for_themselves() -> None:
    one, two = (create_app({"server": QUIET, "providers": {"up": UP}}) for _ in range(2))
    assert (await converse(one, pieces=[chat_body()])).status == 404
    line = b'switchgear_requests_total{model="",provider="",status="404",surface="openai"} 1.0'
    assert line in (await converse(one, method="GET", path="/metrics")).body
    assert line not in (await converse(two, method="GET", path="/metrics")).body


async def test_records_go_to_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    app = create_app({"providers": {"up": UP}})
    await converse(app, pieces=[chat_body()], headers={"x-request-id": "said-aloud"})
    await app.parts.close()
    (line,) = capfd.readouterr().out.splitlines()
    assert '"request_id":"said-aloud"' in line


def test_the_settings_of_an_application_hold_no_secret_in_words() -> None:
    settings = read_config(
        {"providers": {"up": UP | {"api_key": "sk-canary-1"}}, "keys": [{"key": "sk-canary-2", "name": "n"}]}
    )
    assert isinstance(settings, Settings)
    assert "canary" not in repr(settings)


# -- several workers --------------------------------------------------------------------------------------------------


async def test_the_gauges_of_dead_workers_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files named as prometheus_client names them, of a process that cannot be: ids end at 4,194,304."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    dead = tmp_path / "gauge_livesum_4194305.db"
    dead.write_bytes(b"")
    app = create_app({"server": QUIET, "providers": {"up": UP}})
    assert (await converse(app, method="GET", path="/metrics")).status == 200
    assert not dead.exists()
