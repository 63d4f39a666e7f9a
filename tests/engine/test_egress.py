"""The way out: which proxy is chosen, and what it is told. The tests' proxy resolves every name to loopback."""

import asyncio
import base64
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
import trustme

from switchgear.core.errors import ConfigError, UpstreamTimeout, UpstreamUnavailable
from switchgear.core.settings import TimeoutSettings
from switchgear.core.types import HttpOrigin, HttpRequest
from switchgear.engine.egress import Egress, Proxy
from switchgear.engine.transport import Transport
from tests.engine.rig import (
    MAX_BYTES,
    PATIENT,
    PROMISED_CLOSE_S,
    PROMISED_DEADLINE_S,
    Peer,
    Serve,
    always,
    answering,
    ended,
    get,
    leaks,
    origin_of,
    patient,
    post,
    raw_server,
    reply,
    server_tls,
    until,
)
from tests.fake import FakeProvider

LOGIN = b"proxy-authorization: Basic " + base64.b64encode(b"user:p@ss") + b"\r\n"


class TinyProxy:
    """Forwards absolute-form requests, carries tunnels, and writes down the heads it was sent."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.connections = 0
        self.url = ""

    async def serve(self, peer: Peer) -> None:
        self.connections += 1
        while True:
            request = await peer.request()
            head, _, body = request.partition(b"\r\n\r\n")
            self.heads.append(head + b"\r\n\r\n")
            method, target, _ = head.split(b" ", 2)
            if method == b"CONNECT":
                await self._tunnel(peer, int(target.rpartition(b":")[2]))
                return
            authority, _, path = target.removeprefix(b"http://").partition(b"/")
            lines = [line for line in head.split(b"\r\n")[1:] if not line.lower().startswith(b"proxy-")]
            reader, writer = await asyncio.open_connection("127.0.0.1", int(authority.rpartition(b":")[2] or 80))
            first = b"%b /%b HTTP/1.1" % (method, path)
            writer.write(b"\r\n".join([first, *lines, b"connection: close", b"", b""]) + body)
            answer = (await reader.read(-1)).replace(b"connection: close\r\n", b"")
            writer.close()
            await peer.send(answer)

    async def _tunnel(self, peer: Peer, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await peer.send(b"HTTP/1.1 200 Connection established\r\nx-proxy: tiny\r\n\r\n")

        async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(65_536):
                    sink.write(data)
                    await sink.drain()
            sink.close()

        await asyncio.gather(carry(peer.reader, writer), carry(reader, peer.writer))


@contextlib.asynccontextmanager
async def tiny_proxy() -> AsyncIterator[TinyProxy]:
    proxy = TinyProxy()
    async with raw_server(proxy.serve) as server:
        proxy.url = server.url
        yield proxy


@contextlib.asynccontextmanager
async def transport_through(environ: Mapping[str, str]) -> AsyncIterator[Transport]:
    """A transport with this environment, which must have let go of everything at the end."""
    transport = Transport(Egress(environ))
    try:
        yield transport
    finally:
        await transport.close()
        await until(lambda: not leaks(transport), lambda: leaks(transport))


def with_login(url: str) -> str:
    return url.replace("http://", "http://user:p%40ss@")


async def fetch(transport: Transport, request: HttpRequest, timeouts: TimeoutSettings = PATIENT) -> tuple[int, bytes]:
    return await asyncio.wait_for(transport.fetch(request, timeouts, MAX_BYTES), 10)


# --- which proxy -------------------------------------------------------------------------------------------------


def chosen(environ: Mapping[str, str], url: str) -> str:
    """The proxy's authority, empty for the direct way."""
    proxy = Egress(environ).proxy_for(origin_of(url))
    return proxy.origin.authority if proxy else ""


BOTH = {"HTTP_PROXY": "http://plain.test:1", "HTTPS_PROXY": "http://secure.test:2"}


@pytest.mark.parametrize(
    ("environ", "url", "expected"),
    [
        ({}, "https://api.test", ""),
        (BOTH, "http://api.test", "plain.test:1"),
        (BOTH, "https://api.test", "secure.test:2"),
        ({"http_proxy": "http://lower.test:3", **BOTH}, "http://api.test", "lower.test:3"),
        ({"ALL_PROXY": "http://all.test:4"}, "https://api.test", "all.test:4"),
        ({"all_proxy": "http://all.test:4", **BOTH}, "https://api.test", "secure.test:2"),
        ({"HTTPS_PROXY": "secure.test:2"}, "https://api.test", "secure.test:2"),
        ({"HTTPS_PROXY": "http://secure.test"}, "https://api.test", "secure.test"),
        ({"HTTPS_PROXY": "https://secure.test"}, "https://api.test", "secure.test"),
        ({"HTTPS_PROXY": ""}, "https://api.test", ""),
        ({"HTTP_PROXY": "http://plain.test:1"}, "https://api.test", ""),
        ({"HTTPS_PROXY": "http://[::1]:8080"}, "https://api.test", "[::1]:8080"),
    ],
)
def test_the_proxy_is_that_of_the_scheme(environ: dict[str, str], url: str, expected: str) -> None:
    assert chosen(environ, url) == expected


@pytest.mark.parametrize(
    ("no_proxy", "url", "direct"),
    [
        ("api.test", "http://api.test", True),
        ("api.test", "http://eu.api.test", True),
        (".api.test", "http://eu.api.test", True),
        ("API.Test", "http://api.test", True),
        ("other.test, api.test", "http://api.test", True),
        ("*", "http://anything.test", True),
        ("api.test:8080", "http://api.test:8080", True),
        ("10.0.0.7", "http://10.0.0.7:8000", True),
        ("api.test:8080", "http://api.test", False),
        ("pi.test", "http://api.test", False),
        ("api.test", "http://api.test.evil", False),
        ("", "http://api.test", False),
    ],
)
def test_no_proxy_names_the_hosts_that_are_reached_directly(no_proxy: str, url: str, direct: bool) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        assert chosen({**BOTH, name: no_proxy}, url) == ("" if direct else "plain.test:1")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "http://127.9.8.7", "http://localhost", "http://model.localhost", "http://[::1]:1"]
)
def test_loopback_is_always_reached_directly(url: str) -> None:
    assert chosen(BOTH, url) == ""


@pytest.mark.parametrize("url", ["http://localhost.test", "http://128.0.0.1", "http://notlocalhost"])
def test_what_only_looks_like_loopback_is_not(url: str) -> None:
    assert chosen(BOTH, url) == "plain.test:1"


@pytest.mark.parametrize(
    "url",
    [
        "socks5://user:canary@p.test:1",
        "http://",
        "http://user:canary@",
        "http://p.test:port",
        "http://[p.test",
        "http://user:canary@p.test:99999",
    ],
)
def test_a_proxy_that_cannot_be_used_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigError, match="HTTPS_PROXY: expected an http:// or https:// URL of a proxy") as caught:
        Egress({"HTTPS_PROXY": url})
    assert "canary" not in str(caught.value)


def test_a_proxys_password_is_not_in_its_repr() -> None:
    proxy = Egress({"HTTP_PROXY": "http://user:canary@p.test:1"}).proxy_for(HttpOrigin("http", "api.test", 80))
    assert proxy == Proxy(
        HttpOrigin("http", "p.test", 1),
        b"proxy-authorization: Basic " + base64.b64encode(b"user:canary") + b"\r\n",
    )
    assert "canary" not in repr(proxy)
    assert base64.b64encode(b"user:canary").decode() not in repr(proxy)


def test_a_password_cannot_add_a_header() -> None:
    proxy = Egress({"HTTP_PROXY": "http://user:a%0d%0ax-evil:1@p.test:1"}).proxy_for(HttpOrigin("http", "a.test", 80))
    assert proxy is not None
    assert proxy.authorization_line.count(b"\n") == 1


# --- http through a proxy ----------------------------------------------------------------------------------------


async def test_a_plain_request_goes_to_the_proxy_in_absolute_form(fake: FakeProvider) -> None:
    async with tiny_proxy() as proxy, transport_through({"HTTP_PROXY": with_login(proxy.url)}) as transport:
        url = f"http://provider.test:{fake.port}"
        for _ in range(3):
            status, body = await fetch(transport, post(url))
            assert (status, b"You said: hello" in body) == (200, True)
        first = proxy.heads[0]
        assert first.startswith(b"POST http://provider.test:%d/v1/chat/completions HTTP/1.1\r\n" % fake.port)
        assert b"\r\nhost: provider.test:%d\r\n" % fake.port in first
        assert LOGIN in first
        assert proxy.connections == 1  # kept, as any connection
        assert fake.last_request().header("proxy-authorization") is None


async def test_the_default_port_is_left_out_of_an_absolute_form() -> None:
    seen: list[bytes] = []

    async def serve(peer: Peer) -> None:
        seen.append(await peer.request())
        await peer.send(reply())

    async with raw_server(serve) as server, transport_through({"HTTP_PROXY": server.url}) as transport:
        assert await fetch(transport, get("http://provider.test")) == (200, b"{}")
    assert seen[0].startswith(b"GET http://provider.test/v1/models HTTP/1.1\r\nhost: provider.test\r\n")
    assert b"proxy-authorization" not in seen[0]


async def test_a_bypassed_host_does_not_see_the_proxy(fake: FakeProvider) -> None:
    async with tiny_proxy() as proxy, transport_through({"HTTP_PROXY": proxy.url}) as transport:
        assert (await fetch(transport, post(fake.url)))[0] == 200
        assert proxy.connections == 0
        assert fake.last_request().path == "/v1/chat/completions"


async def test_what_the_proxy_answers_to_a_plain_request_is_the_answer() -> None:
    denied = reply(b"login first", status=b"407 Proxy Authentication Required")
    async with raw_server(always(denied)) as server, transport_through({"HTTP_PROXY": server.url}) as transport:
        assert await fetch(transport, get("http://provider.test")) == (407, b"login first")


async def test_a_proxy_that_is_down_is_said(closed_port: int) -> None:
    async with transport_through({"ALL_PROXY": f"http://127.0.0.1:{closed_port}"}) as transport:
        for url in ("http://provider.test", "https://provider.test"):
            with pytest.raises(UpstreamUnavailable, match="Connection refused"):
                await fetch(transport, get(url))
            assert not leaks(transport)


# --- https through a proxy ---------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def secure_provider(authority: trustme.CA, name: str, serve: Serve) -> AsyncIterator[str]:
    """Its URL, under a name that only the proxy can resolve."""
    async with raw_server(serve, tls=server_tls(authority, name)) as server:
        yield f"https://provider.test:{server.port}"


def trust(transport: Transport, url: str, authority: trustme.CA, folder: Path) -> None:
    authority.cert_pem.write_to_path(folder / "ca.pem")
    transport.configure(origin_of(url), max_connections=4, tls_ca_file=str(folder / "ca.pem"))


async def test_a_secure_request_goes_through_a_tunnel(authority: trustme.CA, tmp_path: Path) -> None:
    seen: list[bytes] = []

    async def serve(peer: Peer) -> None:
        while True:
            seen.append(await peer.request())
            await peer.send(reply(b"inside"))

    async with (
        tiny_proxy() as proxy,
        secure_provider(authority, "provider.test", serve) as url,
        transport_through({"HTTPS_PROXY": with_login(proxy.url)}) as transport,
    ):
        trust(transport, url, authority, tmp_path)
        for _ in range(3):
            assert await fetch(transport, post(url)) == (200, b"inside")
        target = url.removeprefix("https://").encode()
        assert proxy.heads == [b"CONNECT %b HTTP/1.1\r\nhost: %b\r\n%b\r\n" % (target, target, LOGIN)]
        assert len(seen) == 3
        assert seen[0].startswith(b"POST /v1/chat/completions HTTP/1.1\r\nhost: %b\r\n" % target)
        assert not any(b"proxy-authorization" in request for request in seen)  # the proxy's, and nobody else's


async def test_the_certificate_inside_a_tunnel_is_verified(authority: trustme.CA, tmp_path: Path) -> None:
    seen: list[bytes] = []

    async def serve(peer: Peer) -> None:
        seen.append(await peer.request())

    async with tiny_proxy() as proxy, transport_through({"HTTPS_PROXY": proxy.url}) as transport:
        async with secure_provider(authority, "provider.test", serve) as url:
            with pytest.raises(UpstreamUnavailable, match="certificate is not trusted"):
                await fetch(transport, post(url))
            await until(lambda: not leaks(transport), lambda: leaks(transport))
        async with secure_provider(authority, "other.test", serve) as url:
            trust(transport, url, authority, tmp_path)
            with pytest.raises(UpstreamUnavailable, match=r"certificate is not trusted \(.*provider\.test"):
                await fetch(transport, post(url))
            await until(lambda: not leaks(transport), lambda: leaks(transport))
        assert proxy.connections == 2
        assert seen == []


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (reply(b"login first", status=b"407 Proxy Authentication Required"), 407),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", 403),
        (b"HTTP/1.1 301 Moved\r\nlocation: http://elsewhere.test\r\n\r\n", 301),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", 502),
        (b"HTTP/1.1 200 Fine\r\nx: " + b"a" * 20_000, 502),
    ],
    ids=["407", "403", "301", "not http", "endless head"],
)
async def test_a_refused_tunnel_says_so(answer: bytes, status: int) -> None:
    refused = f"The proxy refused a tunnel to provider.test with status {status}"
    async with (
        raw_server(answering(answer)) as server,
        transport_through({"HTTPS_PROXY": with_login(server.url)}) as transport,
    ):
        with pytest.raises(UpstreamUnavailable, match=refused) as caught:
            await fetch(transport, post("https://provider.test"))
        assert "p@ss" not in str(caught.value)
        await until(lambda: server.live == 0)
        await until(lambda: not leaks(transport), lambda: leaks(transport))


async def test_a_proxy_that_hangs_up_is_said() -> None:
    async with (
        raw_server(answering(b"", then=Peer.close)) as server,
        transport_through({"HTTPS_PROXY": server.url}) as transport,
    ):
        with pytest.raises(UpstreamUnavailable, match="The proxy closed the connection"):
            await fetch(transport, post("https://provider.test"))


async def test_a_tunnel_whose_other_end_is_gone_is_said() -> None:
    established = b"HTTP/1.1 200 Connection established\r\n\r\n"
    for end in (Peer.close, Peer.reset):
        async with (
            raw_server(answering(established, then=end)) as server,
            transport_through({"HTTPS_PROXY": server.url}) as transport,
        ):
            with pytest.raises(UpstreamUnavailable):
                await fetch(transport, post("https://provider.test"))
            await until(lambda t=transport: not leaks(t))  # type: ignore[misc]  # a default is a parameter to mypy


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 Connection established\r\n\r\n"], ids=["connect", "handshake"])
async def test_a_silent_proxy_meets_the_deadline_for_connecting(answer: bytes) -> None:
    async with raw_server(answering(answer)) as server, transport_through({"HTTPS_PROXY": server.url}) as transport:
        began_s = time.monotonic()
        with pytest.raises(UpstreamTimeout) as caught:
            await fetch(transport, post("https://provider.test"), patient(connect_s=0.3))
        assert caught.value.deadline == "connect"
        assert 0.29 <= time.monotonic() - began_s <= 0.3 + PROMISED_DEADLINE_S
        await until(lambda: server.live == 0)
        await until(lambda: not leaks(transport), lambda: leaks(transport))


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 Connection established\r\n\r\n"], ids=["connect", "handshake"])
async def test_leaving_while_a_tunnel_is_made_closes_the_socket(answer: bytes) -> None:
    asked = asyncio.Event()

    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer)
        if answer:
            await peer.reader.readexactly(1)  # of the handshake
        asked.set()
        await peer.gone()

    async with raw_server(serve) as server, transport_through({"HTTPS_PROXY": server.url}) as transport:
        task = asyncio.ensure_future(fetch(transport, post("https://provider.test")))
        await asked.wait()
        left_s = time.monotonic()
        assert await ended(task) is None
        await until(lambda: server.live == 0)
        assert time.monotonic() - left_s <= PROMISED_CLOSE_S
        await until(lambda: not leaks(transport), lambda: leaks(transport))


async def test_leaving_in_the_middle_of_a_tunnelled_body_closes_the_tunnel(
    authority: trustme.CA, tmp_path: Path
) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nfirst")
        await peer.gone()

    async with (
        tiny_proxy() as proxy,
        secure_provider(authority, "provider.test", serve) as url,
        transport_through({"HTTPS_PROXY": proxy.url}) as transport,
    ):
        trust(transport, url, authority, tmp_path)
        response = await transport.send(get(url), PATIENT)
        assert await response.read() == b"first"
        response.close()
        await until(lambda: not leaks(transport), lambda: leaks(transport))


async def test_a_proxy_may_itself_be_reached_by_tls(
    authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    seen: list[bytes] = []

    async def serve(peer: Peer) -> None:
        seen.append(await peer.request())
        await peer.send(reply(b"by way of tls"))

    tls: ssl.SSLContext = server_tls(authority, "127.0.0.1")
    async with raw_server(serve, tls=tls) as server, transport_through({"HTTP_PROXY": server.url}) as transport:
        assert await fetch(transport, get("http://provider.test")) == (200, b"by way of tls")
    assert seen[0].startswith(b"GET http://provider.test/v1/models HTTP/1.1\r\n")


async def test_a_tunnel_may_lead_through_a_proxy_reached_by_tls(
    authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    proxy = TinyProxy()
    async with (
        raw_server(proxy.serve, tls=server_tls(authority, "127.0.0.1")) as at,
        secure_provider(authority, "provider.test", always(reply(b"tls in tls"))) as url,
        transport_through({"HTTPS_PROXY": at.url}) as transport,
    ):
        for _ in range(2):
            assert await fetch(transport, get(url)) == (200, b"tls in tls")
        assert proxy.connections == 1
