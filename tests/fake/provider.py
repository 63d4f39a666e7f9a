"""The fake provider as a process: ``python -m tests.fake.provider --journal FILE``."""

import argparse
import asyncio
import itertools
import tempfile
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import msgspec

from tests.fake.answer import answer_to, refusal_answer
from tests.fake.connection import Attempt, Connection, Received
from tests.fake.control import listen_for_control
from tests.fake.journal import Accepted, AnyEntry, JournalWriter, now_s
from tests.fake.process import announce_and_wait, run_tool
from tests.fake.script import Script
from tests.fake.wires import WIRES
from tests.fake.wires.protocol import Ask, Request, Route, Wire

DEFAULT_MODELS = ("fake-model",)
ANY_MODEL = "*"
HEALTHY = Script()


class Provider:
    """Scripts, models, and every connection; what the control port can change."""

    def __init__(self, journal: JournalWriter) -> None:
        self.read_bytes_per_s: float | None = None
        self._journal = journal
        self._connections: set[Connection] = set()
        self._connection_numbers, self._attempt_numbers = itertools.count(1), itertools.count(1)
        self._scripts: dict[str, Iterator[Script]] = {}
        self._models = list(DEFAULT_MODELS)
        self._knows_no_others = False

    # For connections.

    def opened(self, connection: Connection) -> int:
        """Register a connection and number it."""
        self._connections.add(connection)
        if self.read_bytes_per_s is not None:
            connection.slow_down()
        return next(self._connection_numbers)

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self._connections.discard(connection)

    def write(self, entry: AnyEntry) -> None:
        """Write an entry to the journal."""
        self._journal.write(entry)

    def accept(self, received: Received, connection: int) -> Attempt:
        """Write a request down, judge it and decide the answer."""
        number, path = next(self._attempt_numbers), received.target.partition("?")[0]
        found = _find(received.method, unquote(path))
        wire, request, ask = None, None, None
        if found is not None:
            wire, route, parts = found
            request = Request(
                number=number,
                route=route.name,
                path=path,
                path_parts=parts,
                headers=received.headers,
                body=received.body,
                json=_decoded(received.body),
                models=self._models,
            )
            ask = wire.read(request)
        self.write(
            Accepted(
                t=now_s(),
                connection=connection,
                attempt=number,
                method=received.method,
                path=received.target,
                headers=received.headers,
                body=received.body.decode("utf-8", "replace"),
                model=ask.model if ask else None,
            )
        )
        keep_alive = received.keep_alive
        if wire is None or request is None or ask is None:
            error = WIRES[0].error(404, f"Invalid URL ({received.method} {path})")
            return Attempt(number, None, refusal_answer(404, error), HEALTHY, keep_alive)
        script = self._next_script(received.method, path, ask)
        answer = answer_to(request, wire, ask, script, keep_alive=keep_alive)
        # A request that the wire refuses is answered at once: the script is for good ones.
        applied = HEALTHY if answer.refused and script.status is None and script.redirect_to is None else script
        return Attempt(number, ask.model, answer, applied, keep_alive)

    def _next_script(self, method: str, path: str, ask: Ask) -> Script:
        keys = [ask.model, f"{method} {path}", ANY_MODEL] if ask.model else [f"{method} {path}"]
        scripts = next((self._scripts[key] for key in keys if key in self._scripts), None)
        if scripts is not None:
            return next(scripts)
        if ask.model and self._knows_no_others and ask.model not in self._models:
            return Script(status=404, error=f"The model `{ask.model}` does not exist or you do not have access to it.")
        return HEALTHY

    # For the control port.

    async def obey(self, verb: str, value: Any) -> object:
        """Do what a test orders."""
        if verb == "script":
            scripts = msgspec.convert(value["scripts"], list[Script])
            # One after another, the last for ever.
            self._scripts[value["key"]] = itertools.chain(scripts[:-1], itertools.repeat(scripts[-1]))
        elif verb == "models":
            self._models, self._knows_no_others = value["names"], value["only"]
        elif verb == "reset":
            self._scripts.clear()
            self._models, self._knows_no_others = list(DEFAULT_MODELS), False
            self._read_at(None)
        elif verb == "read_at":
            self._read_at(value)
        elif verb == "hang_up":
            return self._hang_up(idle_only=value["idle_only"], how=value["how"])
        elif verb == "state":
            return {"connections": len(self._connections), "attempts": self._open_attempts()}
        else:
            raise ValueError(f"no such verb: {verb}")
        return None

    def _read_at(self, bytes_per_s: float | None) -> None:
        self.read_bytes_per_s = bytes_per_s
        if bytes_per_s is not None:
            for connection in self._connections:
                connection.slow_down()

    def _hang_up(self, *, idle_only: bool, how: Any) -> int:
        ended = [connection for connection in self._connections if not (idle_only and connection.attempt)]
        for connection in ended:
            connection.hang_up(how)
        return len(ended)

    def _open_attempts(self) -> list[int]:
        attempts = (connection.attempt for connection in self._connections)
        return sorted(attempt.number for attempt in attempts if attempt is not None and not attempt.finished)


def _find(method: str, path: str) -> tuple[Wire, Route, dict[str, str]] | None:
    for wire in WIRES:
        for route in wire.routes:
            if route.method == method and (match := route.pattern.fullmatch(path)):
                return wire, route, match.groupdict()
    return None


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


async def main(arguments: argparse.Namespace) -> None:
    """Listen until told to stop."""
    provider = Provider(JournalWriter(arguments.journal, durable=arguments.durable))
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(provider), "127.0.0.1", arguments.port, backlog=4096)
    control_port = await listen_for_control(provider.obey)
    await announce_and_wait(server.sockets[0].getsockname()[1], control_port)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--journal", default=None)
    parser.add_argument("--durable", action="store_true", help="fsync each journal entry")
    options = parser.parse_args()
    if options.journal is None:
        options.journal = tempfile.mkstemp(prefix="fake-journal-", suffix=".jsonl")[1]
    run_tool(main(options))
