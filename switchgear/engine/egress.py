"""The way out: which proxy, if any, stands between the gateway and a provider.

``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY`` mean what they mean to curl; loopback addresses are
always reached directly, as in Go, because a local model behind a company's proxy cannot be reached at all.
"""

import asyncio
import base64
import ipaddress
import ssl
from collections.abc import Mapping
from typing import Literal
from urllib.parse import unquote, urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # documented, missing in the stubs

from msgspec import Struct

from switchgear.core.errors import ConfigError, UpstreamUnavailable
from switchgear.core.types import HttpOrigin

MAX_CONNECT_REPLY_BYTES = 16_384


class Proxy(Struct, frozen=True):
    """A proxy, and the ``Proxy-Authorization`` line for it (empty where it wants none)."""

    origin: HttpOrigin
    authorization_line: bytes = b""

    def __repr__(self) -> str:
        return f"Proxy({self.origin!r})"


class Egress:
    """Chooses the proxy for an origin, from environment variables."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Raises ConfigError for a proxy that is not an http:// or https:// URL."""
        named = {name: environ.get(f"{name}_proxy") or environ.get(f"{name.upper()}_PROXY") for name in _NAMES}
        self._proxies = {name: _read(name, url) for name, url in named.items() if url and name != "no"}
        self._no_proxy = named["no"] or ""

    def proxy_for(self, origin: HttpOrigin) -> Proxy | None:
        """The proxy to go through; None for the direct way."""
        proxy = self._proxies.get(origin.scheme) or self._proxies.get("all")
        if proxy is None or _is_loopback(origin.host):
            return None
        bypassed = self._no_proxy and proxy_bypass_environment(f"{origin.host}:{origin.port}", {"no": self._no_proxy})
        return None if bypassed else proxy


async def open_tunnel(
    loop: asyncio.AbstractEventLoop,
    proxy: Proxy,
    origin: HttpOrigin,
    connection: asyncio.BufferedProtocol,
    tls: ssl.SSLContext,
) -> None:
    """Ask the proxy for a tunnel to ``origin`` (RFC 9110, 9.3.6), and TLS inside it, for ``connection``.

    Raises OSError, ssl.SSLError, or UpstreamUnavailable where the proxy says no.
    """
    asking = _Asking(loop)
    at = proxy.origin
    outer = ssl.create_default_context() if at.scheme == "https" else None
    transport, _ = await loop.create_connection(lambda: asking, at.host, at.port, ssl=outer)
    try:
        host = f"[{origin.host}]" if ":" in origin.host else origin.host
        authority = f"{host}:{origin.port}".encode()
        transport.write(b"CONNECT %b HTTP/1.1\r\nhost: %b\r\n%b\r\n" % (authority, authority, proxy.authorization_line))
        status = await asking.answered
        if status != 200:
            raise UpstreamUnavailable(f"The proxy refused a tunnel to {origin.host} with status {status}.")
        inside = await loop.start_tls(transport, connection, tls, server_hostname=origin.host)
        if inside is None:
            raise UpstreamUnavailable("The tunnel closed while TLS began.")
        connection.connection_made(inside)
    except BaseException:
        transport.abort()
        raise


class _Asking(asyncio.Protocol):
    """Reads the head of the proxy's answer to CONNECT."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.answered: asyncio.Future[int] = loop.create_future()
        self._head = b""

    def data_received(self, data: bytes) -> None:
        self._head += data
        if self.answered.done():
            return
        if b"\r\n\r\n" in self._head:
            words = self._head.split(b" ", 2)
            self.answered.set_result(int(words[1]) if len(words) > 1 and words[1].isdigit() else 502)
        elif len(self._head) > MAX_CONNECT_REPLY_BYTES:
            self.answered.set_result(502)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.answered.done():
            self.answered.set_exception(UpstreamUnavailable("The proxy closed the connection."))


_NAMES = ("http", "https", "all", "no")


def _read(name: str, url: str) -> Proxy:
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # brackets or a port that are none; its own text may hold the password
        usable = False
    if not usable:
        raise ConfigError([f"{name.upper()}_PROXY: expected an http:// or https:// URL of a proxy"]) from None
    scheme: Literal["http", "https"] = "https" if parts.scheme == "https" else "http"
    line = b""
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        line = b"proxy-authorization: Basic %b\r\n" % base64.b64encode(pair)
    return Proxy(HttpOrigin(scheme, parts.hostname or "", parts.port or (443 if scheme == "https" else 80)), line)


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
