"""The address to listen on: resolved, free, and with a port that is a number."""

import errno
import socket

import click
from msgspec.structs import replace

from switchgear.core.settings import ServerSettings


class CannotListen(click.ClickException):
    """The address cannot be listened on; the text says why and what to do. Exit code 1."""

    def show(self, file: object = None) -> None:
        """Print it the way all our errors are printed."""
        click.echo(f"error: {self.message}", err=True)


def with_address(server: ServerSettings) -> ServerSettings:
    """The same settings with an IP address as ``host`` and a free port where it was 0.

    The server that listens later shares its port with any other that does so too, so two gateways on one port would
    each get half of the requests; binding here without sharing finds the other. Raises CannotListen.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror:
        raise CannotListen(f"server.host: {server.host!r} is not an address of this machine") from None
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
            # Only listening tells where another process listens on the same port through a wider address.
            probe.listen(1)
        except OSError as error:
            raise CannotListen(_why(server, error)) from None
        return replace(server, host=str(address[0]), port=int(probe.getsockname()[1]))


def _why(server: ServerSettings, error: OSError) -> str:
    where = f"{server.host} port {server.port}"
    if error.errno == errno.EADDRINUSE:
        return f"{where} is in use by another program; stop it, or choose another port with --port"
    if error.errno == errno.EACCES:
        return f"{where} needs more rights than this user has; choose a port above 1023 with --port"
    return f"cannot listen on {where}: {error.strerror}"
