"""One try at one target: encode, send, and read the answer as far as its first byte."""

import re
from time import perf_counter

import msgspec

from switchgear.core.errors import (
    SwitchgearError,
    UpstreamError,
    UpstreamInvalid,
    UpstreamTimeout,
)
from switchgear.core.fold import unfold
from switchgear.core.protocols import Call, Format, Provider
from switchgear.core.settings import TimeoutSettings
from switchgear.core.types import Target
from switchgear.engine.connection import HttpResponse
from switchgear.engine.slots import Slots
from switchgear.engine.streaming import Relayed, Stream, Translated
from switchgear.engine.transport import Transport

MAX_REPLY_BYTES = 64 << 20
MAX_ERROR_BYTES = 65_536

_KEY_LIKE = re.compile(r"\b(sk|pk|gsk|xai|key|hf|nvapi|AIza)[-_][A-Za-z0-9_*.\-]{8,}")


class Upstream(msgspec.Struct):
    """A provider and what one worker keeps for it."""

    provider: Provider
    timeouts: TimeoutSettings
    slots: Slots


async def attempt(
    call: Call, client_format: Format, upstream: Upstream, target: Target, transport: Transport, left_s: float
) -> bytes | Stream:
    """A whole answer's body, or a stream that has begun.

    ``left_s`` is what remains of the call's total deadline. Raises SwitchgearError, with ``provider`` set.
    """
    await upstream.slots.take()
    try:
        result = await _exchange(call, client_format, upstream, target, transport, left_s)
    except BaseException as error:
        upstream.slots.give_back()
        if isinstance(error, SwitchgearError):
            _name(error, upstream.provider)
        raise
    if isinstance(result, Stream):
        result.on_close(upstream.slots.give_back)
    else:
        upstream.slots.give_back()
    return result


async def _exchange(
    call: Call, client_format: Format, upstream: Upstream, target: Target, transport: Transport, left_s: float
) -> bytes | Stream:
    assert call.chat is not None
    provider, timeouts = upstream.provider, upstream.timeouts
    if left_s <= 0:
        raise UpstreamTimeout("total", timeouts.total_s)
    if left_s < timeouts.total_s:
        timeouts = msgspec.structs.replace(timeouts, total_s=left_s)
    request = provider.encode(call.chat, target)
    sent_at = perf_counter()
    try:
        response = await transport.send(request, timeouts, b"x-request-id: %b\r\n" % call.id.encode())
        try:
            if response.status != 200:
                raise await _read_error(provider, response)
            if call.chat.stream:
                stream = await _begin_stream(call, client_format, provider, response)
                if stream is not None:
                    return stream
            body = await response.read_all(MAX_REPLY_BYTES)
        except BaseException:
            response.close()
            raise
        response.close()
    finally:
        call.upstream_s += perf_counter() - sent_at
    return _read_whole(call, client_format, provider, body)


async def _begin_stream(call: Call, client_format: Format, provider: Provider, response: HttpResponse) -> Stream | None:
    """A stream that has begun; None where the provider sent a whole answer instead."""
    assert call.chat is not None
    if provider.format == client_format.name:
        if response.headers.get("content-type", "").startswith("application/json"):
            return None
        through: Relayed | Translated = Relayed(client_format.relay(call.chat))
    else:
        through = Translated(provider.decoder(call.chat), client_format.stream_writer(call.chat))
    stream = Stream(call, client_format, response, through)
    await stream.begin()
    return stream


def _read_whole(call: Call, client_format: Format, provider: Provider, body: bytes) -> bytes:
    assert call.chat is not None
    if call.chat.stream:  # asked for a stream, got a whole answer: the client gets its stream all the same
        reply = provider.read_reply(body, call.chat)
        call.usage = reply.usage
        writer = client_format.stream_writer(call.chat)
        return writer.write(list(unfold(reply))) + writer.close()
    if provider.format == client_format.name:
        call.usage = client_format.glance_reply(body)
        return body
    reply = provider.read_reply(body, call.chat)
    call.usage = reply.usage
    return client_format.write_reply(reply, call.chat)


async def _read_error(provider: Provider, response: HttpResponse) -> SwitchgearError:
    if response.status < 400:
        return UpstreamInvalid(f"The provider answered with status {response.status}, which is not followed.")
    try:
        body = await response.read_all(MAX_ERROR_BYTES)
    except UpstreamError:
        body = b""
    return provider.read_error(response.status, response.headers, body)


def _name(error: SwitchgearError, provider: Provider) -> None:
    """Say whose error it is, and make sure that no credential is in it."""
    if error.provider is not None:
        return
    error.provider = provider.name
    message, key = error.message, provider.settings.api_key
    if key:
        message = message.replace(key.reveal(), "[redacted]")
    error.message = f"{provider.name}: {_KEY_LIKE.sub('[redacted]', message)}"
