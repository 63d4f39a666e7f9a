"""Parrot, an imaginary vendor: ``POST /talk`` answers lines of JSON, ``{"say": …}`` until ``{"end": …}``."""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from switchgear.core import types
from switchgear.core.errors import SwitchgearError, UpstreamInvalid, UpstreamRejected, UpstreamTruncated
from switchgear.core.fold import fold
from switchgear.core.settings import ProviderSettings
from switchgear.formats.ndjson import NdjsonReader


class Line(msgspec.Struct):
    """One line of Parrot's: ``say`` until ``end``, which counts tokens; or ``wrong``."""

    say: str = ""
    end: types.FinishReason | None = None
    heard: int = 0
    said: int = 0
    wrong: str = ""


class Decoder:
    def __init__(self, model: str) -> None:
        self._lines, self._model, self._state = NdjsonReader(), model, "new"

    def feed(self, data: bytes) -> Iterator[types.Event]:
        for text in self._lines.feed(data):
            try:
                line = msgspec.json.decode(text, type=Line)
            except msgspec.DecodeError:
                raise UpstreamInvalid("Parrot sent a line that is not its format.") from None
            if line.wrong:
                raise UpstreamRejected(502, line.wrong)
            if self._state == "new":
                yield types.Started(id="", model=self._model, created_s=0)
            self._state = "ended" if line.end else "talking"
            if line.say:
                yield types.TextDelta(text=line.say)
            if line.end:
                yield types.UsageReport(usage=types.Usage(input_tokens=line.heard, output_tokens=line.said))
                yield types.Finished(reason=line.end)

    def close(self) -> Iterable[types.Event]:
        self._lines.close()
        if self._state != "ended":
            raise UpstreamTruncated("Parrot stopped in the middle of its answer.")
        return ()


class Parrot:
    format = "parrot"

    def __init__(self, name: str, settings: ProviderSettings) -> None:
        self.name, self.settings, key = name, settings, settings.api_key
        headers = {"authorization": f"Bearer {key.reveal()}"} if key else {}
        self._talk = types.Endpoint.to("POST", f"{settings.base_url}/talk", headers)

    def encode(self, chat: types.Chat, target: types.Target) -> types.HttpRequest:
        turns = [{"who": message.role, "says": message.text} for message in chat.prompt.messages]
        body = {"model": target.model, "turns": turns, "stream": chat.stream}
        return types.HttpRequest(self._talk, types.to_json(body))

    def read_reply(self, body: bytes, chat: types.Chat) -> types.Reply:
        return fold([*(decoder := self.decoder(chat)).feed(body), *decoder.close()])

    def decoder(self, chat: types.Chat) -> Decoder:
        return Decoder(chat.model)

    def read_error(self, status: int, headers: Mapping[str, str], body: bytes) -> SwitchgearError:
        return UpstreamRejected(status, body.decode("utf-8", "replace")[:500])

    def list_models(self) -> None: ...

    def read_models(self, body: bytes) -> list[types.ModelInfo]:
        return []


provider = Parrot
