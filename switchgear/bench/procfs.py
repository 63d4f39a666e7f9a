"""CPU time and memory of a process tree, read from /proc.

`/proc/PID/stat` counts everything, reaped children too, but in clock ticks of 10 ms.
`/proc/PID/task/*/schedstat` counts nanoseconds, but forgets a thread when it ends. A difference uses the
second, unless a thread ended in between or the first says that much more was spent.
"""

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

_TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


class CpuReading(msgspec.Struct, frozen=True):
    """A tree's CPU time so far: coarse and complete, and fine per living thread."""

    coarse_us: int
    thread_ns: dict[int, int]


class Stat(msgspec.Struct, frozen=True):
    """The fields of /proc/PID/stat that are used here."""

    pid: int
    parent: int
    cpu_us: int


def parse_stat(text: str) -> Stat:
    """Read one /proc/PID/stat line; CPU is user + system, own and reaped children's (see proc(5))."""
    # The program's name is in brackets and may itself hold spaces and brackets.
    head, _, tail = text.rpartition(")")
    fields = tail.split()
    ticks = sum(int(field) for field in fields[11:15])
    return Stat(pid=int(head.split(" ", 1)[0]), parent=int(fields[1]), cpu_us=ticks * _TICK_US)


def descendants(root: int, stats: Iterable[Stat]) -> list[int]:
    """Return `root` and every process below it, parents first."""
    children: dict[int, list[int]] = {}
    for stat in stats:
        children.setdefault(stat.parent, []).append(stat.pid)
    tree = [root]
    for pid in tree:
        tree.extend(children.get(pid, ()))
    return tree


def read_cpu(root: int) -> CpuReading:
    """Read the CPU time of `root` and everything below it."""
    stats = _all_stats()
    tree = descendants(root, stats.values())
    threads: dict[int, int] = {}
    for pid in tree:
        threads.update(_thread_ns(pid))
    return CpuReading(coarse_us=sum(stats[pid].cpu_us for pid in tree if pid in stats), thread_ns=threads)


def cpu_between_us(before: CpuReading, after: CpuReading) -> float:
    """Return the CPU time spent between two readings, in microseconds."""
    coarse_us = after.coarse_us - before.coarse_us
    fine_us = (sum(after.thread_ns.values()) - sum(before.thread_ns.values())) / 1000
    none_ended = bool(before.thread_ns) and before.thread_ns.keys() <= after.thread_ns.keys()
    # A thread or child that came and went in between shows in the coarse figure only.
    if none_ended and fine_us >= 0.97 * coarse_us - 4 * _TICK_US:
        return fine_us
    return float(coarse_us)


def rss_kb(root: int) -> int:
    """Return the resident memory of `root` and everything below it; shared pages count once per process."""
    return sum(_vm_rss_kb(pid) for pid in descendants(root, _all_stats().values()))


def parse_vm_rss_kb(status: str) -> int:
    """Return VmRSS from the text of /proc/PID/status, 0 where there is none (a process that has ended)."""
    for line in status.splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def _vm_rss_kb(pid: int) -> int:
    try:
        return parse_vm_rss_kb((_PROC / str(pid) / "status").read_text())
    except OSError:
        return 0


def _thread_ns(pid: int) -> dict[int, int]:
    times: dict[int, int] = {}
    try:
        tasks = list((_PROC / str(pid) / "task").iterdir())
    except OSError:
        return times
    for task in tasks:
        try:
            times[int(task.name)] = int((task / "schedstat").read_text().split()[0])
        except (OSError, IndexError):  # the thread ended, or the kernel keeps no such statistics
            continue
    return times


def _all_stats() -> dict[int, Stat]:
    stats: dict[int, Stat] = {}
    for entry in _PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = parse_stat((entry / "stat").read_text())
        except OSError:  # it ended between the listing and the reading
            continue
        stats[stat.pid] = stat
    return stats
