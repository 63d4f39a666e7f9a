"""The fake provider as tests see it."""

import asyncio
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, overload

import msgspec

from tests.fake.journal import (
    Accepted,
    AnyEntry,
    ConnectionClosed,
    ConnectionOpened,
    Finished,
    HeadersSent,
    JournalReader,
    Malformed,
    SocketClosed,
)
from tests.fake.process import ToolProcess
from tests.fake.script import Script

POLL_S = 0.002
E = TypeVar(
    "E",
    ConnectionOpened,
    ConnectionClosed,
    Malformed,
    Accepted,
    HeadersSent,
    SocketClosed,
    Finished,
)


class FakeProvider:
    """A provider in a process of its own, doing as it is told, with a journal of what happened.

    Use it as a context manager. Script models by name; ``"*"`` stands for every model without a script of its
    own, ``"GET /v1/models"`` for a route without a model.
    """

    def __init__(self, *, durable: bool = False, port: int = 0, journal: str | None = None) -> None:
        self._own_journal = journal is None
        self._durable, self._wanted_port = durable, port
        own = f"{tempfile.gettempdir()}/fake-journal-{os.urandom(8).hex()}.jsonl"
        self.journal_path = journal or own
        self._reader = JournalReader(self.journal_path)
        self._process: ToolProcess | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._own_journal and os.path.exists(self.journal_path):
            os.unlink(self.journal_path)

    def start(self) -> None:
        """Start listening; after a ``stop`` on the same port, with the same journal."""
        arguments = ["--port", str(self._wanted_port), "--journal", self.journal_path]
        self._process = ToolProcess("tests.fake.provider", arguments + ["--durable"] * self._durable)
        self._wanted_port = self._process.port

    def stop(self) -> None:
        """End the process; the journal can still be read inside the ``with`` block."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""
        return self._wanted_port

    @property
    def url(self) -> str:
        """``http://127.0.0.1:<port>``; OpenAI clients want ``/v1`` after it."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process, for measuring or freezing it."""
        return self._running.pid

    # What it shall do.

    def script(self, model: str, script: Script | Sequence[Script]) -> None:
        """Answer this model so from now on; several scripts are used one after another, the last for ever."""
        scripts = [script] if isinstance(script, Script) else list(script)
        self._running.order("script", {"key": model, "scripts": scripts})

    def models(self, names: Sequence[str], *, only: bool = False) -> None:
        """List these models (the first is the one TGI serves); with ``only``, any other is a 404."""
        self._running.order("models", {"names": list(names), "only": only})

    def read_at(self, bytes_per_s: float | None) -> None:
        """Read requests slowly, on live and new connections; None for full speed."""
        self._running.order("read_at", bytes_per_s)

    def close_idle_connections(self, how: Literal["close", "reset"] = "close") -> int:
        """End every connection that has no request on it: what a pool will find stale. Returns how many."""
        return int(self._running.order("hang_up", {"idle_only": True, "how": how}))

    def close_all_connections(self, how: Literal["close", "reset"] = "reset") -> int:
        """End every connection, at work or not. Returns how many."""
        return int(self._running.order("hang_up", {"idle_only": False, "how": how}))

    def clear(self) -> None:
        """Be as new: no scripts, the default models, full speed, an empty journal. Connections stay."""
        self._running.order("reset")
        self._reader.forget()

    # What it did.

    @overload
    def journal(self) -> list[AnyEntry]: ...
    @overload
    def journal(self, kind: type[E]) -> list[E]: ...
    def journal(self, kind: type[Any] | None = None) -> list[Any]:
        """Everything written down since the last ``clear``, oldest first; of one kind if given."""
        entries = self._reader.entries()
        return entries if kind is None else [entry for entry in entries if isinstance(entry, kind)]

    def requests(self, model: str | None = None) -> list[Accepted]:
        """The requests it accepted, for one model if given."""
        return [entry for entry in self.journal(Accepted) if model is None or entry.model == model]

    def last_request(self, model: str | None = None) -> Accepted:
        """The latest request; AssertionError if there was none."""
        requests = self.requests(model)
        assert requests, f"no request for {model or 'any model'} arrived"
        return requests[-1]

    def finished(self, model: str | None = None) -> list[Finished]:
        """How attempts ended and what each would be billed, for one model if given."""
        return [entry for entry in self.journal(Finished) if model is None or entry.model == model]

    def open_attempts(self) -> list[int]:
        """The numbers of the attempts it is working on now."""
        return msgspec.convert(self._running.order("state")["attempts"], list[int])

    def connections_open(self) -> int:
        """How many connections it holds now."""
        return int(self._running.order("state")["connections"])

    @overload
    def wait_for(self, what: type[E], timeout_s: float = 5.0, *, count: int = 1) -> E: ...
    @overload
    def wait_for(self, what: Callable[[AnyEntry], bool], timeout_s: float = 5.0, *, count: int = 1) -> Any: ...
    def wait_for(self, what: Any, timeout_s: float = 5.0, *, count: int = 1) -> Any:
        """The first entry (or ``count``-th) of a kind or satisfying a predicate; TimeoutError if none comes.

        Blocks: in a coroutine use ``until``.
        """
        deadline_s = time.monotonic() + timeout_s
        while (entry := self._found(what, count)) is None:
            self._give_up_after(deadline_s, what)
            time.sleep(POLL_S)
        return entry

    @overload
    async def until(self, what: type[E], timeout_s: float = 5.0, *, count: int = 1) -> E: ...
    @overload
    async def until(self, what: Callable[[AnyEntry], bool], timeout_s: float = 5.0, *, count: int = 1) -> Any: ...
    async def until(self, what: Any, timeout_s: float = 5.0, *, count: int = 1) -> Any:
        """``wait_for`` for coroutines."""
        deadline_s = time.monotonic() + timeout_s
        while (entry := self._found(what, count)) is None:
            self._give_up_after(deadline_s, what)
            await asyncio.sleep(POLL_S)
        return entry

    def _found(self, what: Any, count: int) -> AnyEntry | None:
        wanted = (lambda entry: isinstance(entry, what)) if isinstance(what, type) else what
        entries = [entry for entry in self._reader.entries() if wanted(entry)]
        return entries[count - 1] if len(entries) >= count else None

    def _give_up_after(self, deadline_s: float, what: Any) -> None:
        if time.monotonic() < deadline_s:
            return
        last = "\n".join(map(repr, self._reader.entries()[-10:]))
        name = what.__name__ if isinstance(what, type) else "such an entry"
        raise TimeoutError(f"{name} was never written; the journal ends with:\n{last}")

    @property
    def _running(self) -> ToolProcess:
        assert self._process is not None, "use the fake provider as a context manager, or start() it"
        return self._process
