"""One try at one target: encode, send, and read the answer as far as its first byte."""

from collections.abc import Mapping
from time import perf_counter, time

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
from switchgear.engine.blame import blame
from switchgear.engine.connection import HttpResponse
from switchgear.engine.slots import Slots
from switchgear.engine.streaming import Relayed, Stream, Translated
from switchgear.engine.transport import Transport

MAX_REPLY_BYTES = 64 << 20
MAX_ERROR_BYTES = 65_536


class Upstream(msgspec.Struct):
    """A provider and what one worker keeps for it."""

    provider: Provider
    timeouts: TimeoutSettings
    slots: Slots


async def attempt(
    call: Call, client_format: Format, upstream: Upstream, target: Target, transport: Transport, total_at: float
) -> bytes | Stream:
    """A whole answer's body, or a stream that has begun.

    ``total_at`` is the perf_counter at which the call's total deadline is over. Raises SwitchgearError, with
    ``provider`` set.
    """
    try:
        await upstream.slots.take(total_at - perf_counter())
        try:
            result = await _exchange(call, client_format, upstream, target, transport, total_at - perf_counter())
        except BaseException:
            upstream.slots.give_back()
            raise
    except SwitchgearError as error:
        blame(error, upstream.provider)
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
    request = provider.encode(call.chat, target)
    sent_at = perf_counter()
    try:
        response = await transport.send(request, timeouts, b"x-request-id: %b\r\n" % call.id.encode(), left_s)
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
    try:
        return _read_whole(call, client_format, provider, body)
    except UpstreamInvalid:
        _refuse_compressed(response.headers)
        raise


async def _begin_stream(call: Call, client_format: Format, provider: Provider, response: HttpResponse) -> Stream | None:
    """A stream that has begun; None where the provider sent a whole answer instead."""
    assert call.chat is not None
    headers = response.headers
    _refuse_compressed(headers)
    if provider.format == client_format.name:
        if headers.get("content-type", "").startswith("application/json"):
            return None
        through: Relayed | Translated = Relayed(client_format.relay(call.chat))
    else:
        reply_id = client_format.reply_id(call.id)
        through = Translated(provider.decoder(call.chat), client_format.stream_writer(call.chat), reply_id)
    stream = Stream(call, client_format, provider, response, through)
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
    reply.id = reply.id or client_format.reply_id(call.id)
    reply.created_s = reply.created_s or int(time())
    return client_format.write_reply(reply, call.chat)


async def _read_error(provider: Provider, response: HttpResponse) -> SwitchgearError:
    if response.status < 400:
        return UpstreamInvalid(f"The provider answered with status {response.status}, which is not followed.")
    headers = response.headers
    try:
        _refuse_compressed(headers)
        body = await response.read_all(MAX_ERROR_BYTES)
    except UpstreamError:
        body = b""  # the status alone says enough
    return provider.read_error(response.status, headers, body)


def _refuse_compressed(headers: Mapping[str, str]) -> None:
    coding = headers.get("content-encoding", "").lower()
    if coding not in ("", "identity"):
        raise UpstreamInvalid(f"The provider compressed its answer ({coding[:20]!r}), though it was asked not to.")
