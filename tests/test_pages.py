"""The pages that are not model calls."""

import json
from collections.abc import Mapping
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry, Counter

import switchgear
from switchgear.core.errors import ModelNotFound
from switchgear.core.protocols import Call
from switchgear.core.settings import KeySettings, ModelSettings, Secret
from switchgear.core.types import ModelInfo
from switchgear.engine.discovery import Discovery
from switchgear.engine.routing import Router
from switchgear.pages import HealthPages, ModelPages, metrics_page, welcome

FOUND = {
    "openai": [ModelInfo(id="gpt-4o", owned_by="openai-internal", created_s=5, context_window_tokens=128_000)],
    "ollama": [ModelInfo(id="hf.co/x:latest", capabilities=["completion"]), ModelInfo(id="llama3")],
}
MODELS = {
    "fast": ModelSettings(targets=("openai/gpt-4o", "ollama")),
    "slow": ModelSettings(targets=("ollama/unheard-of",)),
    "gpt-*": ModelSettings(targets=("openai",)),
}


class Heard:
    """What a Discovery has heard, without one."""

    def __init__(self, found: Mapping[str, list[ModelInfo]]) -> None:
        self._found = found
        self.waited = 0

    async def first(self) -> None:
        self.waited += 1

    def models(self) -> Mapping[str, list[ModelInfo]]:
        return self._found


def pages(
    found: Mapping[str, list[ModelInfo]] | None = None, models: Mapping[str, ModelSettings] = MODELS
) -> ModelPages:
    heard = cast(Discovery, Heard(FOUND if found is None else found))
    return ModelPages(Router(models, ["openai", "ollama"], "", {}), heard)


def a_call(*models: str) -> Call:
    call = Call("id", "openai", "GET", "/v1/models", {})
    if models:
        call.key = KeySettings(key=Secret("k"), name="n", models=models)
    return call


async def ids(asked: ModelPages, call: Call) -> list[str]:
    listed: dict[str, Any] = json.loads((await asked.list(call, "")).body)
    return [model["id"] for model in listed["data"]]


# --- models ------------------------------------------------------------------------------------------------------


async def test_configured_names_come_first_and_prefix_rules_are_not_models() -> None:
    assert await ids(pages(), a_call()) == ["fast", "slow", "openai/gpt-4o", "ollama/hf.co/x:latest", "ollama/llama3"]


async def test_a_configured_name_tells_what_is_known_of_its_first_target() -> None:
    listed = json.loads((await pages().list(a_call(), "")).body)
    assert listed["object"] == "list"
    assert listed["data"][:3] == [
        {"id": "fast", "object": "model", "created": 5, "owned_by": "switchgear", "context_window": 128_000},
        {"id": "slow", "object": "model", "created": 0, "owned_by": "switchgear"},
        {
            "id": "openai/gpt-4o",
            "object": "model",
            "created": 5,
            "owned_by": "openai-internal",
            "context_window": 128_000,
        },
    ]
    assert listed["data"][3] == {
        "id": "ollama/hf.co/x:latest", "object": "model", "created": 0, "owned_by": "ollama",
        "capabilities": ["completion"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("listed", "seen"),
    [
        (("*",), ["fast", "slow", "openai/gpt-4o", "ollama/hf.co/x:latest", "ollama/llama3"]),
        (("fast",), ["fast"]),
        (("ollama/*",), ["ollama/hf.co/x:latest", "ollama/llama3"]),
        (("nothing",), []),
    ],
)
async def test_a_key_sees_only_what_it_may_use(listed: tuple[str, ...], seen: list[str]) -> None:
    assert await ids(pages(), a_call(*listed)) == seen


async def test_one_model_is_found_by_an_id_with_slashes() -> None:
    page = await pages().one(a_call(), "ollama/hf.co/x:latest")
    assert page.status == 200
    assert json.loads(page.body)["id"] == "ollama/hf.co/x:latest"


async def test_a_model_that_is_not_there_comes_with_near_names() -> None:
    with pytest.raises(ModelNotFound) as refused:
        await pages().one(a_call(), "fasst")
    assert refused.value.near == ("fast",)


async def test_a_model_the_key_may_not_use_is_not_there_and_not_hinted_at() -> None:
    with pytest.raises(ModelNotFound) as refused:
        await pages().one(a_call("slow"), "fast")
    assert "fast" not in refused.value.near


async def test_a_name_that_is_configured_and_discovered_is_listed_once_as_configured() -> None:
    models = {"openai/gpt-4o": ModelSettings(targets=("ollama/llama3",))}
    asked = pages(models=models)
    assert (await ids(asked, a_call())).count("openai/gpt-4o") == 1
    assert json.loads((await asked.one(a_call(), "openai/gpt-4o")).body)["owned_by"] == "switchgear"


async def test_before_anything_is_heard_the_configured_names_are_there() -> None:
    assert await ids(pages({}), a_call()) == ["fast", "slow"]


async def test_a_list_waits_for_the_first_answers() -> None:
    heard = Heard(FOUND)
    asked = ModelPages(Router(MODELS, ["openai", "ollama"], "", {}), cast(Discovery, heard))
    await asked.list(a_call(), "")
    await asked.one(a_call(), "fast")
    assert heard.waited == 2


# --- health ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("draining", [False, True])
async def test_only_readiness_turns_when_draining(draining: bool) -> None:
    health = HealthPages(lambda: draining, lambda: 7)
    said = await health.health(a_call(), "")
    body = json.loads(said.body)
    assert (said.status, body["status"], body["active_requests"]) == (200, "draining" if draining else "ok", 7)
    assert body["version"] == switchgear.__version__
    assert body["uptime_s"] >= 0
    assert (await health.live(a_call(), "")).status == 200
    ready = await health.ready(a_call(), "")
    assert ready.status == (503 if draining else 200)
    assert json.loads(ready.body) == {"status": "draining" if draining else "ready"}


# --- the rest ----------------------------------------------------------------------------------------------------


async def test_metrics_are_collected_when_asked_for() -> None:
    asked = list[int]()

    def collect() -> CollectorRegistry:
        registry = CollectorRegistry()
        Counter("seen", "How often.", registry=registry).inc(len(asked))
        asked.append(1)
        return registry

    page = metrics_page(collect)
    assert b"seen_total 0.0" in (await page(a_call(), "")).body
    said = await page(a_call(), "")
    assert b"seen_total 1.0" in said.body
    assert said.content_type.startswith(b"text/plain; version=0.0.4")


async def test_the_front_page_says_where_to_go() -> None:
    said = await welcome(a_call(), "")
    assert said.content_type == b"application/json"
    body = json.loads(said.body)
    assert body["chat"] == "POST /v1/chat/completions"
    assert body["version"] == switchgear.__version__
