"""The gateway without HTTP: ``await gateway.chat(...)``, ``async for event in gateway.stream(...)``."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from time import perf_counter
from types import TracebackType
from typing import Any

from switchgear.app import Config, Parts, read_config
from switchgear.core.errors import ClientClosed, SwitchgearError
from switchgear.core.protocols import Call
from switchgear.core.types import Event, ModelInfo, Reply, to_json
from switchgear.engine.streaming import Stream
from switchgear.formats import openai_reply
from switchgear.formats.openai_stream import StreamReader
from switchgear.pages import ModelPages
from switchgear.surfaces.openai import OpenAIChat

Message = Mapping[str, Any]


class Gateway:
    """Calls models from Python, through the same routes, retries and limits as the server.

    Use it as ``async with Gateway(config) as gateway``, or call ``close``. One event loop per instance.
    """

    def __init__(self, config: Config = None) -> None:
        """``config`` as for ``create_app``. Raises ConfigError."""
        self._parts = Parts(read_config(config), trusted=True)
        self._format = OpenAIChat()

    async def __aenter__(self) -> "Gateway":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        await self._parts.close()

    async def chat(self, *, model: str, messages: Sequence[Message], **parameters: Any) -> Reply:
        """One complete answer.

        ``messages`` and ``parameters`` are OpenAI's chat completion fields. Raises SwitchgearError: InvalidRequest,
        ModelNotFound, UpstreamRejected, UpstreamTimeout and the rest of the tree in ``switchgear.core.errors``.
        """
        call = _call()
        try:
            result = await self._run(call, {"model": model, "messages": messages, **parameters, "stream": False})
            assert isinstance(result, bytes)
            return openai_reply.read_reply(result)
        finally:
            self._finish(call)

    async def stream(
        self, *, model: str, messages: Sequence[Message], **parameters: Any
    ) -> AsyncGenerator[Event, None]:
        """The answer's events as they come; ``event.text`` is what each says. Raises as ``chat``, midway too."""
        call, reader = _call(), StreamReader()
        options = {"stream": True, "stream_options": {"include_usage": True}}
        try:
            result = await self._run(call, {"model": model, "messages": messages, **parameters, **options})
            if not isinstance(result, Stream):
                for event in reader.feed(result):
                    yield event
                return
            try:
                while data := await result.next():
                    if call.error is not None:
                        raise call.error
                    for event in reader.feed(data):
                        yield event
            finally:
                result.close()
        finally:
            self._finish(call)

    async def models(self) -> list[ModelInfo]:
        """Every model on offer: configured names, and what the providers were found to have."""
        await self._parts.discovery.first()
        return list(ModelPages(self._parts.router, self._parts.discovery).all())

    async def _run(self, call: Call, body: Mapping[str, Any]) -> bytes | Stream:
        pipeline = self._parts.pipeline
        try:
            await pipeline.admit(call)
            result = await pipeline.run(call, self._format, to_json(body))
        except SwitchgearError as error:
            call.error = error
            raise
        except BaseException:
            call.error = ClientClosed("The caller stopped waiting.")
            raise
        call.status = 200
        return result

    def _finish(self, call: Call) -> None:
        call.ended_at = perf_counter()
        if call.error is not None and not call.status:
            call.status = call.error.status
        self._parts.pipeline.finish(call)


def _call() -> Call:
    return Call("library", "library", "", "", {})
