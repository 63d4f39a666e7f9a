"""From a model's name to its targets."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchgear.core.errors import ModelNotFound
from switchgear.core.settings import ModelSettings
from switchgear.core.types import Target
from switchgear.engine.routing import Router


def a_router(models: dict[str, tuple[str, ...]] | None = None, *, default: str = "") -> Router:
    rules = {name: ModelSettings(targets=targets) for name, targets in (models or {}).items()}
    return Router(
        rules, ["openai", "vllm-1", "ollama", "anthropic"], default, {"gpt-": "openai", "claude-": "anthropic"}
    )


ROUTER = a_router(
    {
        "fast": ("vllm-1/llama-3.1-8b", "openai/gpt-4o-mini"),
        "gpt-4": ("openai",),
        "gpt-4o*": ("vllm-1/local", "openai"),
        "gpt-*": ("openai",),
        "openai/special": ("ollama/llama3:8b",),
        "colon": ("ollama:llama3:8b",),
        "llama*": ("ollama",),
    }
)


@pytest.mark.parametrize(
    ("model", "label", "targets"),
    [
        # 1. the exact name
        ("fast", "fast", ["vllm-1/llama-3.1-8b", "openai/gpt-4o-mini"]),
        ("gpt-4", "gpt-4", ["openai/gpt-4"]),
        ("openai/special", "openai/special", ["ollama/llama3:8b"]),
        ("colon", "colon", ["ollama/llama3:8b"]),
        # 2. provider/model
        ("openai/gpt-4o", "openai/*", ["openai/gpt-4o"]),
        ("ollama/hf.co/x:latest", "ollama/*", ["ollama/hf.co/x:latest"]),
        ("vllm-1/fast", "vllm-1/*", ["vllm-1/fast"]),
        # 3. provider:model
        ("ollama:llama3:8b", "ollama/*", ["ollama/llama3:8b"]),
        ("openai:a/b", "openai/*", ["openai/a/b"]),
        # 4. the longest prefix rule
        ("gpt-4o", "gpt-4o*", ["vllm-1/local", "openai/gpt-4o"]),
        ("gpt-4o-mini", "gpt-4o*", ["vllm-1/local", "openai/gpt-4o-mini"]),
        ("gpt-5", "gpt-*", ["openai/gpt-5"]),
        ("gpt-", "gpt-*", ["openai/gpt-"]),
        ("llama3:8b", "llama*", ["ollama/llama3:8b"]),
        # 5. what a provider is famous for
        ("claude-sonnet", "claude-*", ["anthropic/claude-sonnet"]),
    ],
)
def test_a_name_goes_where_the_first_rule_that_claims_it_says(model: str, label: str, targets: list[str]) -> None:
    route = ROUTER.resolve(model)
    assert route.label == label
    assert [str(target) for target in route.targets] == targets
    assert route.reason


def test_what_nothing_claims_goes_to_the_default_provider() -> None:
    route = a_router(default="vllm-1").resolve("anything/at:all")
    assert (route.label, route.targets) == ("vllm-1/*", (Target("vllm-1", "anything/at:all"),))


def test_a_famous_prefix_comes_before_the_default_provider_and_after_a_rule() -> None:
    assert a_router(default="vllm-1").resolve("gpt-5").targets == (Target("openai", "gpt-5"),)
    assert a_router({"*": ("ollama",)}, default="vllm-1").resolve("gpt-5").targets == (Target("ollama", "gpt-5"),)


@pytest.mark.parametrize(
    "model", ["", "nothing", "openai", "openai/", "openai:", "/x", "OpenAI/gpt-4o", "mistral/x", "claude"]
)
def test_what_nothing_claims_is_not_found(model: str) -> None:
    with pytest.raises(ModelNotFound) as refused:
        ROUTER.resolve(model)
    assert (refused.value.status, refused.value.param, refused.value.code) == (404, "model", "model_not_found")


def test_near_names_are_those_configured_and_those_known() -> None:
    with pytest.raises(ModelNotFound) as refused:
        ROUTER.resolve("fats")
    assert refused.value.near == ("fast",)
    with pytest.raises(ModelNotFound) as refused:
        a_router().resolve("ollamma/llama3", lambda: ["ollama/llama3", "vllm-1/other"])
    assert refused.value.near == ("ollama/llama3",)


def test_what_is_known_is_asked_for_only_when_a_name_leads_nowhere() -> None:
    def known() -> list[str]:
        raise AssertionError("asked")

    for model in ("fast", "openai/x", "gpt-9"):
        ROUTER.resolve(model, known)
    a_router(default="openai").resolve("anything", known)


def test_a_name_without_end_is_refused_quickly_and_not_repeated() -> None:
    with pytest.raises(ModelNotFound) as refused:
        ROUTER.resolve("x" * 1_000_000, lambda: ["x" * 100] * 100)
    assert len(refused.value.message) < 1000


def test_names_offered_are_those_without_a_star() -> None:
    assert ROUTER.names == ["fast", "gpt-4", "openai/special", "colon"]


def test_a_rule_that_leads_nowhere_is_found_when_it_is_built() -> None:
    with pytest.raises(ModelNotFound):
        a_router({"fast": ("mistral/x",)})


NAMES = st.text("abgpt-4o/:*.", max_size=8)


@settings(max_examples=200, deadline=None)
@given(NAMES, st.sampled_from(["", "openai"]))
def test_every_name_has_one_answer_among_the_providers(model: str, default: str) -> None:
    router = a_router({"gpt-*": ("openai", "ollama/x"), "a": ("vllm-1",)}, default=default)
    try:
        route = router.resolve(model)
    except ModelNotFound:
        assert not default
        return
    assert route.targets
    assert {target.provider for target in route.targets} <= {"openai", "vllm-1", "ollama", "anthropic"}
    assert router.resolve(model) == route


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(["openai", "ollama"]), st.sampled_from("/:"), st.text(min_size=1, max_size=8))
def test_a_provider_by_name_gets_the_rest_untouched(provider: str, mark: str, rest: str) -> None:
    route = a_router().resolve(f"{provider}{mark}{rest}")
    assert route.targets == (Target(provider, rest),)
    assert route.label == f"{provider}/*"
