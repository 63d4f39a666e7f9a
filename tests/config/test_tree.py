"""Trees become settings; what is wrong takes its default. The table of mistakes is in test_mistakes.py."""

from switchgear.config.document import MISSING, FromEnvironment
from switchgear.config.problems import Problems
from switchgear.config.tree import read_settings, words
from switchgear.core.settings import KeySettings, ProviderSettings, Secret, ServerSettings, TimeoutSettings


def test_what_is_wrong_takes_its_default_and_the_rest_is_kept() -> None:
    problems = Problems()
    settings = read_settings({"server": {"port": "abc", "workers": 3}, "keys": [{"name": "n"}, 5]}, problems)
    assert settings.server == ServerSettings(workers=3)
    assert settings.keys[0] == KeySettings(key=Secret(""), name="n")
    assert len(problems.found) == 3


def test_what_could_not_be_had_is_no_second_mistake() -> None:
    problems = Problems()
    settings = read_settings(
        {"server": {"port": MISSING, "cors_origins": [MISSING, "*"]}, "providers": {"ollama": MISSING}}, problems
    )
    assert settings.server == ServerSettings(cors_origins=("*",))
    assert settings.providers == {}
    assert problems.found == []


def test_nothing_is_the_default_where_something_may_be_absent() -> None:
    settings = read_settings({"providers": {"x": {"timeouts": None, "api_key": "", "headers": None}}}, Problems())
    assert settings.providers["x"] == ProviderSettings()


def test_a_table_of_a_providers_own_is_a_table() -> None:
    settings = read_settings({"providers": {"x": {"timeouts": {"total_s": 1}}}}, Problems())
    assert settings.providers["x"].timeouts == TimeoutSettings(total_s=1.0)


def test_options_are_anything_and_plain() -> None:
    options = {"a": [FromEnvironment("x", "${X}"), {"b": None}], 1: True}
    read = read_settings({"providers": {"x": {"options": options}}}, Problems()).providers["x"].options
    assert read == {"a": ["x", {"b": None}], "1": True}
    assert type(read["a"][0]) is str


def test_types_in_words() -> None:
    assert words(int | None) == "a whole number"
    assert words(tuple[str, ...]) == "a list"
    assert words(Secret | None) == "text"
    assert words(TimeoutSettings | None) == "a table of settings"
