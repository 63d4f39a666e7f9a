"""The command `switchgear bench`: options in, tables out."""

import argparse
import importlib.metadata
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from switchgear.bench import budget, children, contest, floor, gateway, machine, measure, peers, weight
from switchgear.bench.gateway import Gateway
from switchgear.bench.report import Report, as_markdown, as_text

_ROOT = Path(__file__).resolve().parents[2]
_PEERS = _ROOT / "bench" / "peers"
_CACHE = _ROOT / ".cache" / "bench-peers"
_MISSING_PROGRAM, _NOT_VALID = 2, 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark and print its tables.

    Returns 0; 1 if a gateway or a row could not be measured; 2 if a program is missing or an option is wrong.
    """
    options = _parser().parse_args(argv)
    try:
        programs = machine.find_programs()
        files = [peers.read(_PEERS, name) for name in peer_names(options.peers)]
    except (machine.MissingProgramError, LookupError) as error:
        _say(str(error))
        return _MISSING_PROGRAM
    children.end_with_this_process()
    pinned = _take_the_load_core()
    try:
        rivals, absent = _install(files)
        own = _own(options)
        report = _measure(options, programs, [own, *rivals], pinned)
    except KeyboardInterrupt:
        return 130
    finally:
        children.stop_all()
    report.not_measured.update(absent)
    _write(report, options)
    has_faults = report.not_measured or any(one.faults for one in report.gateways)
    return _NOT_VALID if has_faults else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="switchgear bench", description=main.__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round, no installed size: about 40 s")
    parser.add_argument("--rounds", type=int, help="how many rounds to take the median of (3; 1 with --quick)")
    parser.add_argument("--peers", nargs="*", default=[], metavar="NAME", help="rivals to install and measure too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures as JSON")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables as Markdown")
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration for this gateway, with @UPSTREAM@")
    return parser


def peer_names(given: Sequence[str]) -> list[str]:
    """Return the names in `--peers a b`, `--peers "a b"` or `--peers a,b`: make passes one word."""
    return [name for word in given for name in word.replace(",", " ").split()]


def _take_the_load_core() -> bool:
    # Hundreds of open streams are two sockets each in the gateway; children inherit the limit.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if not machine.has_two_cores():
        _say("two cores are needed for figures that mean anything; this run is not pinned")
        return False
    os.sched_setaffinity(0, {machine.LOAD_CORE})
    return True


def _install(files: Sequence[peers.PeerFile]) -> tuple[list[Gateway], dict[str, str]]:
    rivals: list[Gateway] = []
    absent: dict[str, str] = {}
    for peer in files:
        try:
            rivals.append(peers.gateway(peer, peers.install(_PEERS, peer, _CACHE, _say)))
        except peers.InstallError as error:
            absent[peer.name] = f"could not be installed: {error}"
            _say(absent[peer.name])
    return rivals, absent


def _own(options: argparse.Namespace) -> Gateway:
    try:
        version = importlib.metadata.version("switchgear")
    except importlib.metadata.PackageNotFoundError:
        version = "checkout"
    own = gateway.own(version, options.config.read_text() if options.config else None)
    if options.quick or not (_ROOT / "pyproject.toml").is_file():
        return own
    _say("weighing an installation of the core")
    try:
        return msgspec.structs.replace(own, installed_mb=weight.weigh_checkout(_ROOT))
    except subprocess.CalledProcessError as error:
        _say(f"it cannot be installed: {str(error.stderr)[-400:]}")
        return own


def _measure(
    options: argparse.Namespace, programs: machine.Programs, gateways: Sequence[Gateway], pinned: bool
) -> Report:
    effort = measure.QUICK if options.quick else measure.FULL
    rounds = options.rounds or (1 if options.quick else 3)
    nginx = floor.floor(programs, floor.version(programs))
    with tempfile.TemporaryDirectory(prefix="switchgear-bench-") as scratch:
        results = contest.run(programs, [*gateways, nginx], Path(scratch), effort, rounds, _say)
    measured = {one.name: one for one in results.figures}
    own = measured.get(gateways[0].name)
    return Report(
        date=machine.today(),
        machine=machine.describe(),
        pinned=pinned,
        rounds=rounds,
        effort="quick" if options.quick else "full",
        gateways=results.figures,
        verdicts=budget.judge(own, measured) if own else [],
        spread_percent=results.spread,
        not_measured=results.failed,
    )


def _write(report: Report, options: argparse.Namespace) -> None:
    sys.stdout.write(as_text(report) + "\n")
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    if options.markdown:
        options.markdown.write_text(as_markdown(report))


def _say(text: str) -> None:
    # Progress goes to standard error, so that standard output is the report alone.
    sys.stderr.write(f"bench: {text}\n")
    sys.stderr.flush()
