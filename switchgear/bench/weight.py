"""How many megabytes an installation takes on disk."""

import os
import sys
import tempfile
from pathlib import Path

from switchgear.bench import children

_MB = 1024 * 1024
# What a new virtual environment holds before anything is installed into it.
_NOT_COUNTED = ("pip", "setuptools", "wheel", "_distutils_hack", "pkg_resources")
_NOT_COUNTED_FILES = ("distutils-precedence.pth",)


def installed_mb(folder: Path) -> float:
    """Return the size of a virtual environment or npm prefix, less what came with an empty one."""
    return sum(_bytes_below(folder)) / _MB


def weigh_checkout(root: Path) -> float:
    """Install the checkout, without extras, into a throwaway environment and return its size in MB."""
    with tempfile.TemporaryDirectory(prefix="bench-weight-") as scratch:
        children.run([sys.executable, "-m", "venv", scratch])
        python = str(Path(scratch) / "bin" / "python")
        children.run([python, "-m", "pip", "install", "--quiet", str(root)])
        return installed_mb(Path(scratch))


def is_counted(relative: Path) -> bool:
    """Whether a file in an environment belongs to what was installed, not to pip and its like."""
    parts = relative.parts
    if "site-packages" in parts:
        package = parts[parts.index("site-packages") + 1]
        return package.split("-")[0] not in _NOT_COUNTED and package not in _NOT_COUNTED_FILES
    return not (parts[0] == "bin" and _comes_with_venv(parts[-1])) and parts[-1] != "pyvenv.cfg"


def _comes_with_venv(name: str) -> bool:
    return name.lower().startswith(("pip", "python", "activate"))


def _bytes_below(folder: Path) -> list[int]:
    sizes: list[int] = []
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            if not path.is_symlink() and is_counted(path.relative_to(folder)):
                sizes.append(path.stat().st_size)
    return sizes
