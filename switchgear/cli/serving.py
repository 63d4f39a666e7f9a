"""Granian with our application in it: workers, signals, logs."""

import logging
import math
import os
import signal
import time
from functools import partial
from threading import Thread
from types import FrameType

from granian.constants import HTTPModes, Interfaces, Loops, RuntimeModes
from granian.http import HTTP1Settings, HTTP2Settings
from granian.log import LogLevels
from granian.server.mp import MPServer

from switchgear.app import Application
from switchgear.core.settings import ServerSettings, Settings

BACKLOG = 2048
BACKPRESSURE = 8192
CLIENT_BUFFER_BYTES = 65_536
"""What granian holds for a client that does not read, and the most it takes of request headers; its own is 400 KiB."""
RESPAWN_INTERVAL_S = 0.2
REMIND_EVERY_S = 0.5
KILL_MARGIN_S = 10
RUNTIME_MODE = RuntimeModes.st

# Standard output belongs to the request log.
_LOGGING = {
    "handlers": {
        name: {"formatter": formatter, "class": "logging.StreamHandler", "stream": "ext://sys.stderr"}
        for name, formatter in (("console", "generic"), ("access", "access"))
    }
}
_GRANIAN_LEVELS = {"debug": LogLevels.info, "info": LogLevels.warning, "warning": LogLevels.warning}


def serve(settings: Settings, log_level: str) -> None:
    """Serve until told to stop. Raises SystemExit with code 1 where workers keep dying."""
    server = _server(settings.server, _GRANIAN_LEVELS.get(log_level, LogLevels.error))
    stopper = _Stopper(server)
    server.on_startup(stopper.install)
    server.serve(target_loader=partial(load_app, settings, log_level), wrap_loader=False)


def load_app(settings: Settings, log_level: str) -> Application:
    """The application, in a worker. A function of picklable values, so that a spawned worker can call it too."""
    logging.getLogger("switchgear").setLevel(log_level.upper())
    return Application(settings, owns_process=True)


def _server(settings: ServerSettings, level: LogLevels) -> MPServer:
    return MPServer(
        "switchgear",
        address=settings.host,
        port=settings.port,
        interface=Interfaces.ASGI,
        workers=settings.workers,
        runtime_threads=1,
        runtime_mode=RUNTIME_MODE,
        loop=Loops.uvloop,
        http=HTTPModes.auto,
        http1_settings=HTTP1Settings(max_buffer_size=CLIENT_BUFFER_BYTES),
        http2_settings=HTTP2Settings(max_send_buffer_size=CLIENT_BUFFER_BYTES),
        websockets=False,
        backlog=BACKLOG,
        backpressure=BACKPRESSURE,
        log_level=level,
        log_dictconfig=_LOGGING,
        respawn_failed_workers=True,
        respawn_interval=RESPAWN_INTERVAL_S,
        # A worker ends its streams itself in time; this is for one that hangs.
        workers_kill_timeout=math.ceil(settings.pre_drain_s + settings.drain_timeout_s) + KILL_MARGIN_S,
    )


class _Stopper:
    """Signals of the parent: the first asks the workers to finish, a second Ctrl-C ends them at once."""

    def __init__(self, server: MPServer) -> None:
        self._server = server
        self._parent_id = os.getpid()
        self._asked = False
        self._hangup_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN

    def install(self) -> None:
        """Take the signals over from granian, which has just set its own."""
        signal.signal(signal.SIGINT, self._stop)
        signal.signal(signal.SIGTERM, self._stop)
        # A closed terminal ends us as it ends any command, unless nohup asked otherwise; granian would reload.
        signal.signal(signal.SIGHUP, signal.SIG_IGN if self._hangup_ignored else self._stop)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._parent_id:
            os._exit(0)  # a worker so young that it still has our handlers
        if self._asked and number == signal.SIGINT:
            for worker in self._server.wrks:
                worker.kill()  # type: ignore[no-untyped-call]  # granian leaves it untyped
        elif not self._asked:
            self._asked = True
            if number == signal.SIGINT:
                os.write(2, b"\nfinishing what is under way; Ctrl-C again to stop at once\n")
            self._server.signal_handler_interrupt()  # type: ignore[no-untyped-call]  # granian leaves it untyped
            Thread(target=self._remind, name="switchgear-stopper", daemon=True).start()

    def _remind(self) -> None:
        """Tell the workers again: one that was just starting, its loop not turning yet, misses the first time."""
        while self._server.wrks:
            time.sleep(REMIND_EVERY_S)
            for worker in list(self._server.wrks):
                worker.terminate()  # type: ignore[no-untyped-call]  # granian leaves it untyped
