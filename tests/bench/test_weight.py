"""What counts towards the size of an installation."""

from pathlib import Path

import pytest

from switchgear.bench import weight

SITE = "lib/python3.11/site-packages"


@pytest.mark.parametrize(
    ("path", "counted"),
    [
        (f"{SITE}/msgspec/_core.so", True),
        (f"{SITE}/pip/main.py", False),
        (f"{SITE}/pip-23.2.dist-info/METADATA", False),
        (f"{SITE}/setuptools/x.py", False),
        (f"{SITE}/pipeline/x.py", True),
        ("bin/rolter", True),
        ("bin/pip3.11", False),
        ("bin/activate.fish", False),
        ("pyvenv.cfg", False),
        ("node_modules/hono/index.js", True),
    ],
)
def test_only_what_was_installed_counts(path: str, counted: bool) -> None:
    assert weight.is_counted(Path(path)) is counted


def test_a_folder_weighs_what_its_files_weigh(tmp_path: Path) -> None:
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "a").write_bytes(b"x" * 1024 * 1024)
    (tmp_path / "node_modules" / "b").symlink_to(tmp_path / "node_modules" / "a")
    assert weight.installed_mb(tmp_path) == 1.0
