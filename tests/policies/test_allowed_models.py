"""Which models a key may use."""

import pytest

from switchgear.core.errors import PermissionDenied
from switchgear.policies.allowed_models import AllowedModels, may_use
from tests.policies.calls import a_call, a_key


@pytest.mark.parametrize(
    ("listed", "model", "allowed"),
    [
        (("*",), "anything", True),
        (("*",), "", True),
        (("fast",), "fast", True),
        (("fast",), "faster", False),
        (("fast",), "Fast", False),
        (("fast", "slow"), "slow", True),
        (("gpt-*",), "gpt-4o", True),
        (("gpt-*",), "gpt-", True),
        (("gpt-*",), "gpt", False),
        (("openai/*",), "openai/gpt-4o", True),
        (("openai/*",), "openai:gpt-4o", False),
        (("gpt*4o",), "gpt-4o", False),
        ((), "fast", False),
    ],
)
def test_a_key_may_use_what_it_lists(listed: tuple[str, ...], model: str, allowed: bool) -> None:
    key = a_key(models=listed)
    assert may_use(key, model) is allowed
    call = a_call(model, key=key)
    if allowed:
        AllowedModels().before(call)
        return
    with pytest.raises(PermissionDenied):
        AllowedModels().before(call)


def test_a_caller_without_a_key_may_use_every_model() -> None:
    AllowedModels().before(a_call("anything"))


def test_a_refusal_names_the_key_and_the_model() -> None:
    with pytest.raises(PermissionDenied) as refused:
        AllowedModels().before(a_call("slow", key=a_key("ann", models=("fast",))))
    error = refused.value
    assert (error.status, error.param, error.code) == (403, "model", "model_not_allowed")
    assert error.message == "The key 'ann' may not use the model 'slow'."
    assert "sk-ann" not in error.message


def test_a_refusal_does_not_echo_a_name_without_end() -> None:
    with pytest.raises(PermissionDenied) as refused:
        AllowedModels().before(a_call("x" * 100_000, key=a_key(models=())))
    assert len(refused.value.message) < 300


def test_there_is_nothing_to_undo() -> None:
    AllowedModels().after(a_call())
