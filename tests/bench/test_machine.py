"""What is asked of the machine."""

from pathlib import Path

import pytest

from switchgear.bench import machine


def test_the_processor_is_named() -> None:
    assert machine.cpu_model("processor : 0\nmodel name\t: A Fine CPU @ 3 GHz\n") == "A Fine CPU @ 3 GHz"
    assert machine.cpu_model("processor : 0\n")


def test_a_free_port_is_a_port() -> None:
    assert 0 < machine.free_port() < 65536


def test_every_missing_program_is_named_by_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    monkeypatch.setattr(machine, "_MODULE_FOLDERS", (Path("nowhere"),))
    with pytest.raises(machine.MissingProgramError, match="nginx-light libnginx-mod-http-lua wrk"):
        machine.find_programs()
