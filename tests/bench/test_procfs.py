"""CPU time and memory, as /proc writes them."""

import os

from switchgear.bench import procfs
from switchgear.bench.procfs import CpuReading, Stat

LINE = "4242 (a (b) c) S 17 4242 4242 0 -1 4194304 9000 0 0 0 150 50 7 3 20 0 4 0 123456 93372000 3941 18446744"


def test_a_stat_line_is_read_past_a_name_with_spaces_and_brackets() -> None:
    tick_us = 1_000_000 // os.sysconf("SC_CLK_TCK")
    assert procfs.parse_stat(LINE) == Stat(pid=4242, parent=17, cpu_us=210 * tick_us)


def test_a_tree_is_the_root_and_all_below_it() -> None:
    stats = [Stat(pid, parent, 0) for pid, parent in ((1, 0), (5, 1), (6, 5), (7, 6), (8, 1), (9, 5))]
    assert sorted(procfs.descendants(5, stats)) == [5, 6, 7, 9]


def test_nanoseconds_are_used_where_every_thread_lived_on() -> None:
    before = CpuReading(coarse_us=1_000_000, thread_ns={1: 500_000_000, 2: 500_000_000})
    after = CpuReading(coarse_us=1_250_000, thread_ns={1: 600_000_000, 2: 654_321_000, 3: 1_000})
    assert procfs.cpu_between_us(before, after) == 254_322.0


def test_ticks_are_used_where_a_thread_ended() -> None:
    before = CpuReading(coarse_us=1_000_000, thread_ns={1: 500_000_000, 2: 500_000_000})
    after = CpuReading(coarse_us=1_250_000, thread_ns={1: 600_000_000})
    assert procfs.cpu_between_us(before, after) == 250_000.0


def test_ticks_are_used_where_a_child_came_and_went_in_between() -> None:
    before = CpuReading(coarse_us=0, thread_ns={1: 0})
    after = CpuReading(coarse_us=900_000, thread_ns={1: 100_000_000})
    assert procfs.cpu_between_us(before, after) == 900_000.0


def test_resident_memory_is_read_from_status() -> None:
    assert procfs.parse_vm_rss_kb("Name:\tx\nVmPeak:\t  99 kB\nVmRSS:\t   15764 kB\nThreads:\t1\n") == 15764
    assert procfs.parse_vm_rss_kb("Name:\tx\nState:\tZ (zombie)\n") == 0


def test_this_very_process_has_used_time_and_memory() -> None:
    before = procfs.read_cpu(os.getpid())
    sum(range(200_000))
    assert procfs.cpu_between_us(before, procfs.read_cpu(os.getpid())) >= 0
    assert procfs.rss_kb(os.getpid()) > 1000
