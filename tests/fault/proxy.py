"""The fault proxy as a process: ``python -m tests.fault.proxy --target HOST:PORT``."""

import argparse
import asyncio
import socket
from typing import Any

import msgspec

from tests.fake.control import listen_for_control
from tests.fake.process import announce_and_wait, run_tool
from tests.fault.faults import Faults
from tests.fault.link import Link


class Proxy:
    """A listener that can be shut, the links through it, and the faults of the moment."""

    def __init__(self, target: tuple[str, int], port: int) -> None:
        self._target = target
        self._faults = Faults()
        self._links: set[Link] = set()
        self._thawed = asyncio.Event()
        self._thawed.set()
        self._server: asyncio.Server | None = None
        self._finished_bytes = {"down": 0, "up": 0}
        self._accepted = 0
        # Bound but never listening: nobody else can be given the port while the listener is shut.
        self._placeholder = _bound(port)
        self.port: int = self._placeholder.getsockname()[1]

    async def listen(self) -> None:
        """Accept connections, if it does not already."""
        if self._server is None:
            self._server = await asyncio.start_server(self._carry, sock=_bound(self.port), backlog=1024)

    async def obey(self, verb: str, value: Any) -> object:
        """Do what a test orders."""
        if verb == "faults":
            await self._set(msgspec.convert(value, Faults))
            return None
        if verb == "refuse":
            self._shut()
            return self._end_all()
        if verb == "reset":
            return self._end_all()
        if verb == "half_close":
            for link in self._links:
                link.half_close()
            return len(self._links)
        if verb == "state":
            return self._state()
        raise ValueError(f"no such verb: {verb}")

    async def _set(self, faults: Faults) -> None:
        if faults.cut is not None and faults.cut != self._faults.cut:
            for link in self._links:
                link.count_from_now()
        self._faults = faults
        if faults.frozen:
            self._thawed.clear()
        else:
            self._thawed.set()
        await self.listen()

    def _shut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def _end_all(self) -> int:
        links = list(self._links)
        for link in links:
            link.end("reset")
        return len(links)

    def _state(self) -> dict[str, int]:
        live = {
            way: sum(lane.carried_bytes for link in self._links if (lane := getattr(link, way)) is not None)
            for way in ("down", "up")
        }
        return {
            "connections_open": len(self._links),
            "connections_total": self._accepted,
            "bytes_down": self._finished_bytes["down"] + live["down"],
            "bytes_up": self._finished_bytes["up"] + live["up"],
        }

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link((reader, writer), lambda: self._faults, self._thawed)
        self._links.add(link)
        self._accepted += 1
        try:
            await link.run(*self._target)
        except asyncio.CancelledError:
            # Only the end of the process cancels; there is nobody left to tell.
            return
        finally:
            self._links.discard(link)
            self._finished_bytes["down"] += link.down.carried_bytes if link.down else 0
            self._finished_bytes["up"] += link.up.carried_bytes if link.up else 0


def _bound(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    return bound


async def main(arguments: argparse.Namespace) -> None:
    """Carry until told to stop."""
    host, _, port = arguments.target.rpartition(":")
    proxy = Proxy((host, int(port)), arguments.port)
    await proxy.listen()
    control_port = await listen_for_control(proxy.obey)
    await announce_and_wait(proxy.port, control_port)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", required=True)
    parser.add_argument("--port", type=int, default=0)
    run_tool(main(parser.parse_args()))
