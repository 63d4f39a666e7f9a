"""The fault proxy as tests see it."""

from types import TracebackType
from typing import Any, Literal, Self

import msgspec

from tests.fake.process import ToolProcess
from tests.fault.faults import Cut, CutWay, Direction, Faults


class FaultProxy:
    """A TCP proxy in a process of its own; an order is in force, for live and new connections, on return.

    Faults add up (``latency`` and ``drip`` together) until ``pass_through`` ends them all.
    """

    def __init__(self, target: tuple[str, int], *, port: int = 0) -> None:
        self._target, self._wanted_port = target, port
        self._faults = Faults()
        self._process: ToolProcess | None = None

    def __enter__(self) -> Self:
        host, port = self._target
        arguments = ["--target", f"{host}:{port}", "--port", str(self._wanted_port)]
        self._process = ToolProcess("tests.fault.proxy", arguments)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.stop()
        self._process = None

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""
        return self._running.port

    @property
    def address(self) -> tuple[str, int]:
        """Host and port, as sockets want them."""
        return ("127.0.0.1", self.port)

    @property
    def url(self) -> str:
        """``http://127.0.0.1:<port>``."""
        return f"http://127.0.0.1:{self.port}"

    # Faults that last.

    def pass_through(self) -> None:
        """End every fault and listen again; a connection that has lost bytes stays silent."""
        self._faults = Faults()
        self._running.order("faults", self._faults)

    def latency(self, delay_s: float, direction: Direction = "down") -> None:
        """Deliver everything so much later, in order and without slowing the flow."""
        self._change(latency_s=delay_s, latency_direction=direction)

    def drip(self, bytes_per_s: float, direction: Direction = "down") -> None:
        """Deliver so few bytes a second, twenty times a second (or byte by byte)."""
        self._change(bytes_per_s=bytes_per_s, drip_direction=direction)

    def black_hole(self) -> None:
        """Accept, swallow, never answer; live connections fall silent, for good once they lost a byte."""
        self._change(swallow=True)

    def freeze(self) -> None:
        """Carry nothing and lose nothing; new connections are accepted and wait."""
        self._change(frozen=True)

    def thaw(self) -> None:
        """Deliver what was held back and go on."""
        self._change(frozen=False)

    def cut_after(self, n_bytes: int, how: CutWay = "close", direction: Literal["down", "up"] = "down") -> None:
        """End each connection after it carried so many bytes; a live one counts from now."""
        self._change(cut=Cut(n_bytes, how, direction))

    def refuse(self) -> None:
        """Be down: live connections are reset, new ones refused by the kernel, until ``pass_through``."""
        self._running.order("refuse")

    # Faults of a moment.

    def reset(self) -> int:
        """RST every live connection, on both sides. Returns how many."""
        return int(self._running.order("reset"))

    def half_close(self) -> int:
        """FIN towards the client of every live connection, which may go on sending. Returns how many."""
        return int(self._running.order("half_close"))

    # What it carried.

    def connections_open(self) -> int:
        """How many connections it holds now."""
        return self._state()["connections_open"]

    def connections_total(self) -> int:
        """How many it has ever accepted."""
        return self._state()["connections_total"]

    def bytes_down(self) -> int:
        """Bytes delivered from the target to clients."""
        return self._state()["bytes_down"]

    def bytes_up(self) -> int:
        """Bytes delivered from clients to the target."""
        return self._state()["bytes_up"]

    def _change(self, **changes: Any) -> None:
        self._faults = msgspec.structs.replace(self._faults, **changes)
        self._running.order("faults", self._faults)

    def _state(self) -> dict[str, int]:
        return msgspec.convert(self._running.order("state"), dict[str, int])

    @property
    def _running(self) -> ToolProcess:
        assert self._process is not None, "use the fault proxy as a context manager"
        return self._process
