"""A streamed answer on its way to the client: pulled piece by piece, so that a slow client slows the provider.

Once the first byte is out a failure is final: it becomes one frame in the client's dialect, and nothing follows it.
"""

from collections.abc import Callable
from time import perf_counter, time

from switchgear.core.errors import SwitchgearError, UpstreamError, UpstreamTruncated
from switchgear.core.protocols import Call, Decoder, Format, Provider, Relay, StreamWriter
from switchgear.core.types import Event, Started, Usage, UsageReport
from switchgear.engine.blame import blame
from switchgear.engine.connection import HttpResponse


class Relayed:
    """Provider and client speak the same format: frames pass verbatim."""

    __slots__ = ("_relay", "error")

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self.error: SwitchgearError | None = None

    @property
    def usage(self) -> Usage | None:
        """What the stream said it cost."""
        return self._relay.usage

    @property
    def done(self) -> bool:
        """Whether nothing more will come."""
        return self._relay.done

    def feed(self, data: bytes) -> bytes:
        """What may go out now."""
        out = self._relay.feed(data)
        self.error = self._relay.error
        return out

    def close(self) -> bytes:
        """The input has ended; what is still owed. Raises UpstreamTruncated."""
        return self._relay.close()


class Translated:
    """Provider and client speak different formats: bytes to events to bytes."""

    __slots__ = ("_decoder", "_reply_id", "_writer", "done", "error", "usage")

    def __init__(self, decoder: Decoder, writer: StreamWriter, reply_id: str) -> None:
        """``reply_id`` is for a provider that gives its reply none."""
        self._decoder = decoder
        self._reply_id = reply_id
        self._writer = writer
        self.error: SwitchgearError | None = None
        self.usage: Usage | None = None
        self.done = False

    def feed(self, data: bytes) -> bytes:
        """What may go out now; an error is kept until what came before it is out."""
        events: list[Event] = []
        try:
            for event in self._decoder.feed(data):
                events.append(event)
        except UpstreamError as error:
            self.error = error
        return self._write(events)

    def close(self) -> bytes:
        """The input has ended; what is still owed. Raises UpstreamTruncated."""
        out = self._write(list(self._decoder.close()))
        self.done = True
        return out + self._writer.close()

    def _write(self, events: list[Event]) -> bytes:
        for event in events:
            if isinstance(event, UsageReport):
                self.usage = event.usage
            elif isinstance(event, Started):
                event.id = event.id or self._reply_id
                event.created_s = event.created_s or int(time())
        return self._writer.write(events) if events else b""


class Stream:
    """What the edge pulls from. ``close`` must be called once, however it ended."""

    __slots__ = ("_call", "_ended", "_failure", "_first", "_format", "_give_back", "_provider", "_response", "_through")

    def __init__(
        self,
        call: Call,
        client_format: Format,
        provider: Provider,
        response: HttpResponse,
        through: Relayed | Translated,
    ) -> None:
        self._call = call
        self._format = client_format
        self._provider = provider
        self._response = response
        self._through = through
        self._first = b""
        self._ended = False
        self._failure: SwitchgearError | None = None
        self._give_back: Callable[[], None] | None = None

    def on_close(self, give_back: Callable[[], None]) -> None:
        """Have this called when the stream lets go of the provider."""
        self._give_back = give_back

    async def begin(self) -> None:
        """Wait for the first bytes worth sending. Raises SwitchgearError: nothing is out yet, another may try."""
        self._first = await self._pull()
        self._call.first_byte_at = perf_counter()

    async def next(self) -> bytes:
        """The next bytes for the client; empty at the end. Never raises an upstream's error: it says it in-band."""
        if self._first:
            first, self._first = self._first, b""
            return first
        if self._ended:
            return b""
        try:
            if self._failure is not None:
                raise self._failure
            return await self._pull()
        except SwitchgearError as error:
            blame(error, self._provider)
            return self.fail(error)

    def fail(self, error: SwitchgearError) -> bytes:
        """End the stream with this error; the frame that says so, empty if the stream had already ended."""
        if self._ended:
            return b""
        self._ended = True
        error.provider = error.provider or self._call.provider
        self._call.error = error
        return self._format.write_stream_error(error)

    def close(self) -> None:
        """Let go of the provider; what is known of the usage is kept."""
        if self._give_back is not None:
            self._give_back()
            self._give_back = None
        self._call.usage = self._through.usage or self._call.usage
        self._response.close(content_ended=self._through.done)

    async def _pull(self) -> bytes:
        through, response = self._through, self._response
        while True:
            data = await response.read()
            if not data:
                if not response.framed and not through.done:
                    raise UpstreamTruncated("The provider closed the connection in the middle of its stream.")
                owed = through.close()  # raises where the reply was not complete
                self._ended = True
                return owed
            out = through.feed(data)
            if through.error is not None:
                if not out:
                    raise through.error
                self._failure = through.error
            elif through.done:
                self._ended = True
            if out or self._ended:
                return out
