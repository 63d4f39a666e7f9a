"""Mistakes: paths, suggestions, and no secret."""

from switchgear.config.problems import Problems, did_you_mean, join


def test_paths_read_like_the_file() -> None:
    assert join(join(join("", "keys"), 0), "name") == "keys[0].name"
    assert join("models", "gpt-4.1") == 'models."gpt-4.1"'
    assert join("models", "meta/llama-3:8b") == "models.meta/llama-3:8b"


def test_only_near_names_are_suggested() -> None:
    assert did_you_mean("Prot", ["port", "host"]) == "; did you mean 'port'?"
    assert did_you_mean("zzz", ["port", "host"]) == ""


def test_a_hidden_value_is_replaced_by_where_it_came_from() -> None:
    problems = Problems()
    problems.hide("sk-secret", "${A}")
    problems.hide("sk-secret-longer", "${B}")
    problems.hide("on", "${C}")
    problems.add("a", "holds sk-secret-longer, sk-secret and on")
    assert problems.lines() == ["a: holds ${B}, ${A} and on"]


def test_one_mistake_is_said_once() -> None:
    problems = Problems()
    problems.add("a", "x")
    problems.add("a", "x")
    assert problems.lines() == ["a: x"]


def test_a_mistake_below_a_path_touches_it_and_one_beside_it_does_not() -> None:
    problems = Problems()
    problems.add("keys[0].name", "x")
    assert problems.touch("keys")
    assert problems.touch("keys[0]")
    assert not problems.touch("key")
    assert not problems.touch("keys[0].names")
