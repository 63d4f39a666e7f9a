"""The command's options and exit status."""

import pytest

from switchgear.bench import command, machine


def test_a_missing_program_is_named_and_ends_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def find() -> machine.Programs:
        raise machine.MissingProgramError("the benchmark needs: apt-get install wrk")

    monkeypatch.setattr(machine, "find_programs", find)
    assert command.main([]) == 2
    assert "apt-get install wrk" in capsys.readouterr().err


def test_an_unknown_peer_ends_with_2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    found = machine.Programs(nginx="nginx", wrk="wrk", lua_modules=())
    monkeypatch.setattr(machine, "find_programs", lambda: found)
    assert command.main(["--peers", "nobody"]) == 2
    assert "no peer called nobody" in capsys.readouterr().err


@pytest.mark.parametrize("given", [["rolter", "smg"], ["rolter smg"], ["rolter,smg"]])
def test_peers_may_be_given_as_make_gives_them(given: list[str]) -> None:
    assert command.peer_names(given) == ["rolter", "smg"]
