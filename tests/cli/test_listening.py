"""The address is checked before anything is started."""

import socket

import pytest

from switchgear.cli.listening import CannotListen, with_address
from switchgear.core.settings import ServerSettings


def test_port_zero_becomes_a_free_port() -> None:
    port = with_address(ServerSettings(port=0)).port
    assert port > 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", port))


def test_a_name_becomes_an_address() -> None:
    assert with_address(ServerSettings(host="localhost", port=0)).host in ("127.0.0.1", "::1")


@pytest.mark.parametrize("shared", [False, True], ids=["alone", "SO_REUSEPORT"])
def test_a_port_in_use_is_said(shared: bool) -> None:
    with socket.socket() as other:
        if shared:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(CannotListen) as caught:
            with_address(ServerSettings(port=port))
    assert str(caught.value) == (
        f"127.0.0.1 port {port} is in use by another program; stop it, or choose another port with --port"
    )
    assert caught.value.exit_code == 1


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(CannotListen, match=r"cannot listen on 192\.0\.2\.1 port 0: "):
        with_address(ServerSettings(host="192.0.2.1", port=0))


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(CannotListen, match="is not an address of this machine"):
        with_address(ServerSettings(host="no such host", port=0))
