"""What the benchmark needs of the machine: its programs, two cores, free ports, and a name for the report."""

import os
import platform
import re
import shutil
import socket
from datetime import UTC, datetime
from pathlib import Path

import msgspec

# The gateway has a core to itself; everything that is not the gateway shares the other.
GATEWAY_CORE = 0
LOAD_CORE = 1

_MODULE_FOLDERS = (
    Path("/usr/lib/nginx/modules"),
    Path("/usr/lib64/nginx/modules"),
    Path("/etc/nginx/modules"),
)
_LUA_MODULES = ("ndk_http_module.so", "ngx_http_lua_module.so")


class MissingProgramError(Exception):
    """A program the benchmark needs is not installed; the text says which Debian package has it."""


class Programs(msgspec.Struct, frozen=True):
    """Full paths of the external programs."""

    nginx: str
    wrk: str
    lua_modules: tuple[str, ...]


def find_programs() -> Programs:
    """Find nginx, its Lua module and wrk, or raise `MissingProgramError` naming every package to install."""
    # Debian puts nginx in /usr/sbin, which is not on everybody's PATH.
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/usr/local/sbin"
    nginx, wrk = shutil.which("nginx", path=path), shutil.which("wrk", path=path)
    lua = _find_lua_modules()
    wanted = {"nginx-light": nginx, "libnginx-mod-http-lua": lua, "wrk": wrk}
    absent = [package for package, found in wanted.items() if not found]
    if absent or nginx is None or wrk is None:
        raise MissingProgramError(f"the benchmark needs more programs; install: apt-get install {' '.join(absent)}")
    return Programs(nginx=nginx, wrk=wrk, lua_modules=lua)


def _find_lua_modules() -> tuple[str, ...]:
    for folder in _MODULE_FOLDERS:
        paths = tuple(folder / name for name in _LUA_MODULES)
        if all(path.is_file() for path in paths):
            return tuple(map(str, paths))
    return ()


def has_two_cores() -> bool:
    """Whether both cores the method asks for may be used by this process."""
    return {GATEWAY_CORE, LOAD_CORE} <= os.sched_getaffinity(0)


def free_port() -> int:
    """Return a loopback TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def cpu_model(cpuinfo: str) -> str:
    """Return the processor's name from the text of /proc/cpuinfo."""
    found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def describe() -> str:
    """Return one line naming the processor, the cores, the kernel and Python."""
    model = cpu_model(Path("/proc/cpuinfo").read_text())
    return f"{model}, {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}"


def today() -> str:
    """Return today's date in UTC as YYYY-MM-DD."""
    return datetime.now(UTC).date().isoformat()
