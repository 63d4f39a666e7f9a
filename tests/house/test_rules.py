"""The rules of the house that a program can check. Each failure lists the files and says what to do."""

import ast
import os
import re
import subprocess
import sys
import tokenize
import zipfile
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = ROOT / "switchgear"

PURE_DATA = {"core/version.py": "one constant"}
"""Source files that hold nothing a test of their own could find wrong, and why."""

IMPORTS_ON_CALL: dict[str, str] = {}
"""``file.py:function`` that may import when it is called, and why."""

FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "handler", "service", "base", "misc"}

# In pieces, so that this file does not contain what it looks for.
DEVELOPERS_FOLDERS = re.compile("(?<![A-Za-z0-9.>])/" + "(work|home|root|Users)" + "/[A-Za-z]")

# A tool's word, the codes it must name, and the reason that must follow them: two words at least.
EXCUSE = re.compile(r"#\s*(noqa\b|type:\s*ignore\b)")
EXCUSED = re.compile(
    r"#\s*(noqa:\s*[A-Z]+\d+(,\s*[A-Z]+\d+)*|type:\s*ignore\[[\w\-, ]+\])[\s#:-]+\S*[a-z]\S*\s+\S*[a-z]"
)


@cache
def sources() -> list[Path]:
    """The Python files of the package."""
    return sorted(CODE.rglob("*.py"))


@cache
def files() -> list[Path]:
    """Every file that is or is about to be under version control."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        said = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    except (OSError, subprocess.CalledProcessError):
        hidden = {".git", ".venv", ".cache", "node_modules", "__pycache__"}
        return [path for path in ROOT.rglob("*") if path.is_file() and not hidden & set(path.parts)]
    return [path for name in said.split("\0") if name and (path := ROOT / name).is_file()]


def python_files() -> list[Path]:
    return [path for path in files() if path.suffix == ".py"]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def lines_of(found: list[str]) -> str:
    return "\n".join(["", *found])


def comments(path: Path) -> Iterator[tuple[int, str]]:
    with path.open("rb") as lines:
        for token in tokenize.tokenize(lines.readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def test_every_source_file_has_a_test_file() -> None:
    missing = []
    for path in sources():
        inside = path.relative_to(CODE)
        if path.name in ("__init__.py", "__main__.py") or inside.as_posix() in PURE_DATA:
            continue
        if not (ROOT / "tests" / inside.parent / f"test_{path.name}").is_file():
            missing.append(f"tests/{(inside.parent / f'test_{path.name}').as_posix()}")
    assert not missing, f"write these test files:{lines_of(missing)}"


def test_files_that_are_called_pure_data_exist_and_hold_no_code() -> None:
    for name in PURE_DATA:
        kinds = {type(node) for node in parsed(CODE / name).body}
        assert kinds <= {ast.Expr, ast.Assign, ast.AnnAssign}, f"{name} holds code, so it needs a test file"


def test_no_module_is_named_after_nothing() -> None:
    named = [name_of(path) for path in python_files() if path.stem in FORBIDDEN_NAMES]
    folders = {name_of(path.parent) for path in python_files() if path.parent.name in FORBIDDEN_NAMES}
    assert named + sorted(folders) == [], "name a module after what it does"


def test_every_excuse_has_its_reason_beside_it() -> None:
    bare = []
    for path in python_files():
        for line, text in comments(path):
            if EXCUSE.search(text) and not EXCUSED.search(text):
                bare.append(f"{name_of(path)}:{line}: {text}")
    assert not bare, f"say which rule is excused, and after it why:{lines_of(bare)}"


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("# noqa: S104  compared, not listened on", True),
        ("# noqa: S104, S105  neither is listened on", True),
        ("# type: ignore[no-untyped-call]  # granian leaves it untyped", True),
        ("# noqa: S104", False),
        ("# noqa", False),
        ("# type: ignore", False),
        ("# type: ignore[no-untyped-call]", False),
        ("# noqa: S104  # ok", False),
    ],
)
def test_what_counts_as_an_excuse_with_a_reason(text: str, good: bool) -> None:
    assert EXCUSE.search(text)
    assert bool(EXCUSED.search(text)) is good


def test_every_module_opens_with_a_sentence() -> None:
    silent = []
    for path in sources():
        first = (ast.get_docstring(parsed(path)) or "").partition("\n\n")[0].strip()
        if len(first.split()) < 3 or first[-1] not in ".:":
            silent.append(name_of(path))
    assert not silent, f"open the module with one sentence that says what it is:{lines_of(silent)}"


def test_no_import_hides_inside_a_function() -> None:
    hidden = []
    for path in sources():
        for function in ast.walk(parsed(path)):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and any(
                isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(function)
            ):
                hidden.append(f"{path.relative_to(CODE).as_posix()}:{function.name}")
    wrong = sorted(set(hidden) - set(IMPORTS_ON_CALL))
    assert not wrong, f"import at the top of the module:{lines_of(wrong)}"
    assert set(IMPORTS_ON_CALL) <= set(hidden), "an exception that is not needed any more"


@pytest.mark.parametrize("folder", ["formats", "providers"])
def test_every_format_and_provider_has_golden_files(folder: str) -> None:
    bare = []
    for path in sorted((CODE / folder).glob("*.py")):
        module = import_module(f"switchgear.{folder}.{path.stem}")
        spoken = {getattr(module, "FORMAT", None)}
        spoken |= {getattr(one, "format", None) for one in vars(module).values() if isinstance(one, type)}
        for name in sorted(name for name in spoken if isinstance(name, str)):
            if not any((ROOT / "tests" / "golden" / name).glob("*")):
                bare.append(f"{name_of(path)}: tests/golden/{name}/")
    assert not bare, f"record what goes over the wire, as golden files:{lines_of(bare)}"


def test_every_provider_says_its_format() -> None:
    modules = [path for path in (CODE / "providers").glob("*.py") if path.stem != "__init__"]
    assert modules
    for path in modules:
        classes = vars(import_module(f"switchgear.providers.{path.stem}")).values()
        assert any(isinstance(getattr(one, "format", None), str) for one in classes if isinstance(one, type)), path.name


def test_lock_files_hold_no_address() -> None:
    locks = [path for path in files() if path.name == "package-lock.json" or _is_requirements(path)]
    assert len(locks) >= 4
    addressed = []
    for path in locks:
        # npm notes whom to thank for money; nothing is fetched from there.
        lines = path.read_text(encoding="utf-8").splitlines()
        if any(re.search(r"https?://|file:", line) and '"url":' not in line for line in lines):
            addressed.append(name_of(path))
    assert addressed == [], "a lock file names versions and hashes; where from is the installer's business"


def _is_requirements(path: Path) -> bool:
    return path.suffix == ".txt" and path.parent in (ROOT / "requirements", ROOT / "bench" / "peers")


def test_locked_requirements_have_hashes() -> None:
    for path in sorted((ROOT / "requirements").glob("*.txt")):
        entries = re.split(r"\n(?=[A-Za-z0-9])", path.read_text(encoding="utf-8"))
        assert not [entry for entry in entries if "==" in entry and "--hash=sha256:" not in entry], path.name


def test_no_file_names_a_developers_machine() -> None:
    found = []
    for path in files():
        text = path.read_bytes().decode("utf-8", "replace")
        found += [f"{name_of(path)}: {text[at.start() : at.end() + 20]!r}" for at in DEVELOPERS_FOLDERS.finditer(text)]
    assert not found, f"a path of one machine is of no use on another:{lines_of(found)}"


def test_the_version_range_of_each_dependency_is_the_locked_one() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    wanted = re.findall(r'^    "([^"]+)",$', project.partition("dependencies = [")[2].partition("]")[0], re.MULTILINE)
    given = (ROOT / "requirements" / "core.in").read_text(encoding="utf-8").splitlines()
    assert sorted(wanted) == sorted(line for line in given if line and not line.startswith("#"))


def test_the_wheel_is_the_tree(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    )
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        about = {name.partition(".dist-info/")[2] for name in archive.namelist()} - {""}
        same = [name for name in names if archive.read(name) == (ROOT / name).read_bytes()]
    assert names == {name_of(path) for path in files() if path.is_relative_to(CODE)}
    assert sorted(same) == sorted(names)
    assert {"METADATA", "entry_points.txt", "licenses/LICENSE"} <= about
