"""The fault proxy does what it says, to live and to new connections."""

import http.client
import json
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.fake import FakeProvider, Script, SocketClosed
from tests.fault import FaultProxy


class EchoServer:
    """Sends back what it gets, until the peer's end; remembers what it saw."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        self.ends: list[str] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._echo, args=(connection,), daemon=True).start()

    def _echo(self, connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(65536):
                    connection.sendall(data)
                self.ends.append("close")
            except OSError:
                self.ends.append("reset")


@pytest.fixture
def echo() -> Iterator[EchoServer]:
    server = EchoServer()
    yield server
    server.close()


@pytest.fixture
def proxy(echo: EchoServer) -> Iterator[FaultProxy]:
    with FaultProxy(target=echo.address) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[socket.socket]:
    """A live connection, made before the test breaks anything."""
    with connected(proxy) as client:
        assert said(client, b"hello") == b"hello"
        yield client


def connected(proxy: FaultProxy) -> socket.socket:
    return socket.create_connection(proxy.address, timeout=5)


def said(client: socket.socket, data: bytes) -> bytes:
    """Send, and read as much back."""
    client.sendall(data)
    received = b""
    while len(received) < len(data):
        more = client.recv(65536)
        if not more:
            break
        received += more
    return received


def is_silent(client: socket.socket, for_s: float = 0.15) -> bool:
    return not select.select([client], [], [], for_s)[0]


def seconds(work: Callable[[], object]) -> float:
    start_s = time.monotonic()
    work()
    return time.monotonic() - start_s


def eventually(condition: Callable[[], bool], timeout_s: float = 2.0) -> bool:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.005)
    return True


def test_it_passes_everything_through(proxy: FaultProxy, client: socket.socket) -> None:
    data = bytes(range(256)) * 20_000
    sender = threading.Thread(target=client.sendall, args=(data,))
    sender.start()
    received = bytearray()
    while len(received) < len(data):
        received += client.recv(65536)
    sender.join()
    assert bytes(received) == data
    assert proxy.bytes_up() == proxy.bytes_down() == len(data) + len(b"hello")
    assert (proxy.connections_open(), proxy.connections_total()) == (1, 1)


def test_an_end_is_passed_on_both_ways(proxy: FaultProxy, client: socket.socket, echo: EchoServer) -> None:
    client.shutdown(socket.SHUT_WR)
    assert client.recv(10) == b""
    assert eventually(lambda: echo.ends == ["close"])
    assert eventually(lambda: proxy.connections_open() == 0)
    assert proxy.bytes_down() == len(b"hello")


def test_a_reset_by_the_client_reaches_the_target(client: socket.socket, echo: EchoServer) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    assert eventually(lambda: echo.ends == ["reset"])


def test_latency_delays_each_answer(proxy: FaultProxy, client: socket.socket) -> None:
    proxy.latency(0.1)
    assert 0.1 <= seconds(lambda: said(client, b"x")) < 0.3
    proxy.latency(0.1, direction="both")
    assert 0.2 <= seconds(lambda: said(client, b"x")) < 0.5
    proxy.pass_through()
    assert seconds(lambda: said(client, b"x")) < 0.1


def test_latency_does_not_slow_the_flow() -> None:
    with FakeProvider() as fake, FaultProxy(("127.0.0.1", fake.port)) as slow:
        slow.latency(0.2)
        fake.script("m", Script(chunks=["x"], repeat_chunks=20, delay_between_chunks_s=0.02))
        ask = {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True}
        connection = http.client.HTTPConnection(*slow.address, timeout=5)
        connection.request("POST", "/v1/chat/completions", json.dumps(ask))
        assert 0.55 < seconds(lambda: connection.getresponse().read()) < 2.0
        connection.close()


def test_a_drip_gives_so_many_bytes_a_second(proxy: FaultProxy, client: socket.socket) -> None:
    proxy.drip(1000)
    assert 0.25 <= seconds(lambda: said(client, b"x" * 300)) < 1.0


def test_a_black_hole_swallows_live_and_new_connections(proxy: FaultProxy, client: socket.socket) -> None:
    proxy.black_hole()
    client.sendall(b"anyone?")
    with connected(proxy) as newcomer:
        newcomer.sendall(b"anyone?")
        assert is_silent(client)
        assert is_silent(newcomer)
        proxy.pass_through()
        # Bytes were lost, so going on would be nonsense.
        client.sendall(b"now?")
        assert is_silent(client)
    with connected(proxy) as later:
        assert said(later, b"now?") == b"now?"


def test_refused_is_what_the_kernel_says(proxy: FaultProxy, client: socket.socket) -> None:
    proxy.refuse()
    with pytest.raises(ConnectionResetError):
        client.recv(10)
    for _ in range(3):
        with pytest.raises(ConnectionRefusedError):
            connected(proxy)
    proxy.pass_through()
    with connected(proxy) as later:
        assert said(later, b"back") == b"back"


def test_half_close_ends_what_the_client_reads(proxy: FaultProxy, client: socket.socket, echo: EchoServer) -> None:
    assert proxy.half_close() == 1
    assert client.recv(10) == b""
    client.sendall(b"still talking")
    assert eventually(lambda: proxy.bytes_up() == len(b"hello" + b"still talking"))
    assert echo.ends == []


def test_reset_kills_the_living_only(proxy: FaultProxy, client: socket.socket, echo: EchoServer) -> None:
    assert proxy.reset() == 1
    with pytest.raises(ConnectionResetError):
        client.recv(10)
    assert eventually(lambda: echo.ends == ["reset"])
    with connected(proxy) as later:
        assert said(later, b"fine") == b"fine"


@pytest.mark.parametrize("n_bytes", [0, 1, 7, 100_000])
def test_a_connection_is_cut_at_the_very_byte(proxy: FaultProxy, n_bytes: int) -> None:
    proxy.cut_after(n_bytes)
    with connected(proxy) as client:
        assert len(said(client, b"x" * (n_bytes + 50))) == n_bytes
    proxy.pass_through()
    assert proxy.bytes_down() == n_bytes


def test_a_cut_may_be_a_reset(proxy: FaultProxy) -> None:
    proxy.cut_after(3, how="reset")
    with connected(proxy) as client:
        client.sendall(b"abcdef")
        assert client.recv(10) == b"abc"
        with pytest.raises(ConnectionResetError):
            client.recv(10)


def test_a_cut_may_be_silence(proxy: FaultProxy) -> None:
    proxy.cut_after(3, how="hang")
    with connected(proxy) as client:
        client.sendall(b"abcdef")
        assert client.recv(10) == b"abc"
        assert is_silent(client)


def test_a_request_can_be_cut_too(proxy: FaultProxy) -> None:
    proxy.cut_after(3, direction="up")
    with connected(proxy) as client:
        client.sendall(b"abcdef")
        client.settimeout(2)
        assert client.recv(10) in (b"abc", b"")
        assert eventually(lambda: proxy.connections_open() == 0)
        assert proxy.bytes_up() == 3


def test_a_live_connection_is_cut_counting_from_now(proxy: FaultProxy, client: socket.socket) -> None:
    proxy.cut_after(3)
    assert said(client, b"abcdef") == b"abc"


def test_frozen_bytes_are_late_and_not_lost(proxy: FaultProxy, client: socket.socket) -> None:
    proxy.freeze()
    client.sendall(b"patience")
    with connected(proxy) as newcomer:
        newcomer.sendall(b"me too")
        assert is_silent(client)
        assert is_silent(newcomer)
        proxy.thaw()
        assert client.recv(20) == b"patience"
        assert newcomer.recv(20) == b"me too"


def test_faults_add_up_until_passed_through(proxy: FaultProxy, client: socket.socket) -> None:
    proxy.latency(0.1)
    proxy.drip(1000)
    assert seconds(lambda: said(client, b"x" * 100)) >= 0.15
    proxy.pass_through()
    assert seconds(lambda: said(client, b"x" * 100)) < 0.1


def test_a_dead_target_is_a_reset(echo: EchoServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        address = nobody.getsockname()
    with FaultProxy(address) as proxy, pytest.raises(ConnectionResetError), connected(proxy) as client:
        client.recv(10)


def test_a_client_that_leaves_is_noticed_behind_the_proxy() -> None:
    with FakeProvider() as fake, FaultProxy(("127.0.0.1", fake.port)) as proxy:
        fake.script("m", Script(hang_before_headers=True))
        body = b'{"model": "m", "messages": [{"role": "user", "content": "x"}]}'
        with connected(proxy) as client:
            client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            assert eventually(lambda: fake.open_attempts() == [1])
            left_s = time.monotonic()
        assert fake.wait_for(SocketClosed).t - left_s < 0.1
