"""The settings tree is frozen, takes no unknown names, and never shows a secret."""

import hashlib
from typing import Any

import msgspec
import pytest

from switchgear.core import settings
from switchgear.core.settings import (
    KeySettings,
    LimitSettings,
    ProviderSettings,
    Secret,
    ServerSettings,
    Settings,
    Table,
    TimeoutSettings,
)

TABLES = [kind for kind in vars(settings).values() if isinstance(kind, type) and issubclass(kind, Table)]
CANARY = "canary-5f1e"


@pytest.mark.parametrize("shown", [repr, str, "{}".format, "{!r}".format])
def test_a_secret_never_shows(shown: Any) -> None:
    secret = Secret(CANARY)
    tree = Settings(providers={"p": ProviderSettings(api_key=secret)}, keys=(KeySettings(key=secret, name="n"),))
    for value in (secret, [secret], {"k": secret}, tree, tree.providers, ValueError(secret)):
        assert CANARY not in shown(value)
        assert "Secret(***)" in shown(value) or isinstance(value, Secret)


def test_a_secret_has_no_json() -> None:
    for value in (Secret(CANARY), KeySettings(key=Secret(CANARY), name="n")):
        with pytest.raises(TypeError) as refused:
            msgspec.json.encode(value)
        assert CANARY not in str(refused.value)


def test_a_secret_reveals_itself_when_asked() -> None:
    assert Secret(CANARY).reveal() == CANARY
    assert Secret("é").sha256() == hashlib.sha256("é".encode()).digest()


def test_secrets_compare_by_their_value() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
    assert Secret("a")
    assert not Secret("")


def test_a_secret_has_no_attributes_to_walk() -> None:
    assert not hasattr(Secret(CANARY), "__dict__")


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.__name__)
def test_no_table_takes_a_name_it_does_not_know(table: type[Table]) -> None:
    with pytest.raises(msgspec.ValidationError, match=r"unknown field|missing required"):
        msgspec.convert({"no_such_setting": 1}, table)
    with pytest.raises(TypeError):
        table(no_such_setting=1)


@pytest.mark.parametrize(
    "value", [Settings(), ServerSettings(), TimeoutSettings(), ProviderSettings(), LimitSettings()]
)
def test_no_table_can_be_changed(value: Table) -> None:
    for field in type(value).__struct_fields__:
        with pytest.raises(AttributeError):
            setattr(value, field, None)


def test_the_defaults_are_the_documented_ones() -> None:
    tree = Settings()
    assert (tree.server.host, tree.server.port, tree.server.workers) == ("127.0.0.1", 4000, 1)
    assert (tree.server.cors_origins, tree.server.max_body_bytes) == (("*",), 33_554_432)
    assert (tree.server.drain_timeout_s, tree.include_extensions) == (600, True)
    deadlines = tree.timeouts
    assert (deadlines.connect_s, deadlines.first_byte_s, deadlines.between_chunks_s, deadlines.total_s) == (
        5, 120, 60, 600
    )  # fmt: skip
    assert KeySettings(key=Secret("k"), name="n").models == ("*",)


def test_defaults_are_not_shared_between_trees() -> None:
    assert Settings().providers is not Settings().providers
