"""Which models there are: asked in the background, remembered, and never a reason to wait."""

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from switchgear.core.types import HttpRequest, ModelInfo
from switchgear.engine import discovery as discovery_module
from switchgear.engine.attempt import Upstream
from switchgear.engine.discovery import FIRST_WAIT_S, MAX_LIST_BYTES, Discovery
from switchgear.engine.slots import Slots
from switchgear.engine.transport import Transport
from tests.engine.rig import KEY, PATIENT, Peer, leaks, provider_of, raw_server, silent, until, upstream_of
from tests.fake import FakeProvider, Script, SocketClosed


@pytest.fixture(autouse=True)
def talkative() -> Iterator[None]:
    """What discovery says is said at info."""
    logger = logging.getLogger("switchgear")
    before = logger.level
    logger.setLevel(logging.INFO)
    yield
    logger.setLevel(before)


def ids(discovery: Discovery) -> dict[str, list[str]]:
    return {name: [model.id for model in models] for name, models in discovery.models().items()}


async def asked(discovery: Discovery) -> dict[str, list[str]]:
    """What is known once everybody has answered or failed."""
    task = discovery.refresh()
    assert task is not None
    await asyncio.wait_for(task, 10)
    return ids(discovery)


def upstreams_at(url: str) -> dict[str, Upstream]:
    return {kind: upstream_of(kind, url) for kind in ("openai_compatible", "ollama", "tgi")}


async def test_every_kind_of_provider_is_asked_in_its_own_way(transport: Transport, fake: FakeProvider) -> None:
    fake.models(["org/one", "org/two"])
    discovery = Discovery(upstreams_at(fake.url), transport)
    assert ids(discovery) == {"openai_compatible": [], "ollama": [], "tgi": []}
    found = await asked(discovery)
    assert found == {"openai_compatible": ["org/one", "org/two"], "ollama": ["org/one", "org/two"], "tgi": ["org/one"]}
    assert sorted(request.path for request in fake.requests()) == ["/api/tags", "/info", "/v1/models"]
    assert {request.header("authorization") for request in fake.requests()} == {f"Bearer {KEY}"}
    assert "openai_compatible/org/two" in list(discovery.known())


async def test_configured_models_are_known_at_once_and_never_asked_for(
    transport: Transport, fake: FakeProvider
) -> None:
    upstreams = {"up": upstream_of("openai_compatible", fake.url, "up", models=("a", "b"))}
    discovery = Discovery(upstreams, transport)
    assert discovery.models() == {"up": [ModelInfo(id="a", owned_by="up"), ModelInfo(id="b", owned_by="up")]}
    assert list(discovery.known()) == ["up/a", "up/b"]
    await asked(discovery)
    assert fake.requests() == []


async def test_a_provider_that_shall_not_be_asked_is_not(transport: Transport, fake: FakeProvider) -> None:
    discovery = Discovery({"up": upstream_of("openai_compatible", fake.url, discover=False)}, transport)
    assert await asked(discovery) == {"up": []}
    assert fake.requests() == []


async def test_it_asks_again_only_when_its_lists_are_old(
    transport: Transport, fake: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    discovery = Discovery({"up": upstream_of("openai_compatible", fake.url)}, transport)
    first = discovery.refresh()
    assert first is not None
    assert discovery.refresh() is first  # one question at a time
    await first
    await asyncio.sleep(0)
    assert discovery.refresh() is None
    monkeypatch.setattr(discovery_module, "FRESH_S", 0.0)
    fake.models(["new"])
    assert await asked(discovery) == {"up": ["new"]}
    assert len(fake.requests()) == 2


@pytest.mark.parametrize(
    "script",
    [
        Script(status=500, error="No."),
        Script(status=401),
        Script(raw_body=b"nonsense"),
        Script(raw_body=b'{"data": 7}'),
        Script(raw_body=b"x" * (MAX_LIST_BYTES + 1)),
        Script(raw_head=b"nonsense\r\n\r\n"),
        Script(cut_after_bytes=10),
        Script(gzip=True),
        Script(redirect_to="http://elsewhere.test"),
    ],
    ids=["500", "401", "nonsense", "other json", "too long", "no http", "cut", "gzip", "redirect"],
)
async def test_a_failure_keeps_the_last_list(
    transport: Transport,
    fake: FakeProvider,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    script: Script,
) -> None:
    monkeypatch.setattr(discovery_module, "FRESH_S", 0.0)
    fake.models(["kept"])
    discovery = Discovery({"up": upstream_of("openai_compatible", fake.url, "up")}, transport)
    assert await asked(discovery) == {"up": ["kept"]}
    await asyncio.sleep(0.001)
    fake.script("GET /v1/models", script)
    assert await asked(discovery) == {"up": ["kept"]}
    assert len(fake.requests()) == 2
    (record,) = [record for record in caplog.records if record.name == "switchgear"]
    assert "provider up" in record.getMessage()
    assert KEY not in caplog.text


async def test_a_key_that_a_provider_echoes_is_not_logged(
    transport: Transport, caplog: pytest.LogCaptureFixture
) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.send(f"{KEY}\r\n\r\n".encode())
        await peer.close()

    async with raw_server(serve) as server:
        await asked(Discovery({"up": upstream_of("openai_compatible", server.url)}, transport))
    assert "did not say which models it has" in caplog.text
    assert KEY not in caplog.text


async def test_one_dead_provider_slows_no_other(
    transport: Transport, fake: FakeProvider, closed_port: int, deaf_port: int
) -> None:
    fake.models(["alive"])
    async with raw_server(silent) as server:
        upstreams = {
            "closed": upstream_of("openai_compatible", f"http://127.0.0.1:{closed_port}"),
            "deaf": upstream_of("openai_compatible", f"http://127.0.0.1:{deaf_port}"),
            "silent": upstream_of("openai_compatible", server.url),
            "up": upstream_of("openai_compatible", fake.url),
        }
        discovery = Discovery(upstreams, transport)
        began_s = time.monotonic()
        discovery.refresh()
        await until(lambda: ids(discovery)["up"] == ["alive"])
        assert time.monotonic() - began_s < 1
        await discovery.first()  # something is known: nobody waits for the rest
        assert time.monotonic() - began_s < 1
        await discovery.close()
    await until(lambda: not leaks(transport) or not transport._busy)


async def test_the_first_lists_are_waited_for_but_not_long(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert FIRST_WAIT_S <= 1
    monkeypatch.setattr(discovery_module, "FIRST_WAIT_S", 0.2)
    async with raw_server(silent) as server:
        discovery = Discovery({"up": upstream_of("openai_compatible", server.url)}, transport)
        began_s = time.monotonic()
        await discovery.first()
        assert 0.19 <= time.monotonic() - began_s <= 1.2
        await discovery.close()


async def test_the_first_lists_are_there_when_they_are_quick(transport: Transport, fake: FakeProvider) -> None:
    fake.models(["quick"])
    discovery = Discovery({"up": upstream_of("openai_compatible", fake.url)}, transport)
    await discovery.first()
    assert ids(discovery) == {"up": ["quick"]}


async def test_closing_stops_asking(transport: Transport, fake: FakeProvider) -> None:
    fake.script("GET /v1/models", Script(hang_before_headers=True))
    discovery = Discovery({"up": upstream_of("openai_compatible", fake.url)}, transport)
    task = discovery.refresh()
    assert task is not None
    await until(lambda: len(fake.requests()) == 1)
    await discovery.close()
    assert task.cancelled()
    await fake.until(SocketClosed)
    await until(lambda: not leaks(transport))
    await discovery.close()  # a second time does nothing


class Broken:
    """A provider of somebody's own, with a bug in it."""

    def __init__(self, url: str, where: str) -> None:
        self._good: Any = provider_of("openai_compatible", url, "broken")
        self._where = where
        self.name, self.settings = "broken", self._good.settings

    def list_models(self) -> HttpRequest | None:
        if self._where == "asking":
            raise ZeroDivisionError(KEY)
        request: HttpRequest | None = self._good.list_models()
        return request

    def read_models(self, body: bytes) -> list[ModelInfo]:
        raise ZeroDivisionError(KEY)


@pytest.mark.parametrize("where", ["asking", "reading"])
async def test_a_provider_with_a_bug_in_it_hinders_no_other(
    transport: Transport, fake: FakeProvider, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    broken: Any = Broken(fake.url, where)
    upstreams: Mapping[str, Upstream] = {
        "broken": Upstream(broken, PATIENT, Slots(0, 0, 0.0)),
        "up": upstream_of("openai_compatible", fake.url),
    }
    found = await asked(Discovery(upstreams, transport))
    assert found == {"broken": [], "up": ["fake-model"]}
    assert "provider broken" in caplog.text


async def test_a_provider_without_a_list_has_none(transport: Transport, fake: FakeProvider) -> None:
    upstreams = {"sonar": upstream_of("perplexity", fake.url, "sonar")}
    assert await asked(Discovery(upstreams, transport)) == {"sonar": []}
    assert fake.requests() == []
