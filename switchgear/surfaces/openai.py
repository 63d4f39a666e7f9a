"""What OpenAI clients speak: its paths, and its dialect as a Format."""

from collections.abc import Mapping
from typing import Any

from switchgear.core.errors import SwitchgearError
from switchgear.core.protocols import Relay, StreamWriter
from switchgear.core.types import Chat, Reply, Usage
from switchgear.formats import openai_chat, openai_error, openai_reply, openai_stream
from switchgear.formats.sse import KEEPALIVE

NAME = "openai"

CHAT_PATHS = ("/v1/chat/completions", "/chat/completions")
MODELS_PATHS = ("/v1/models", "/models")


class OpenAIChat:
    """Chat completions, as a client's dialect."""

    name = openai_chat.FORMAT
    stream_content_type = b"text/event-stream; charset=utf-8"
    keepalive = KEEPALIVE

    def read_request(self, body: bytes) -> Chat:
        """A request as a client sent it. Raises InvalidRequest."""
        return openai_chat.read_request(body)

    def glance_reply(self, body: bytes) -> Usage | None:
        """The usage in a reply that passes verbatim. Raises UpstreamError where it is no reply."""
        return openai_reply.glance_reply(body)

    def reply_id(self, call_id: str) -> str:
        """An id in this dialect's style, for a reply whose provider gave none."""
        return f"chatcmpl-{call_id}"

    def write_reply(self, reply: Reply, chat: Chat) -> bytes:
        """A whole reply."""
        return openai_reply.write_reply(reply, chat.model)

    def add_extension(self, body: bytes, extension: Mapping[str, Any]) -> bytes:
        """A whole reply with the ``x_gateway`` object added."""
        return openai_reply.add_extension(body, extension)

    def relay(self, chat: Chat) -> Relay:
        """A relay for one stream that is already in this format."""
        return openai_stream.relay(chat.include_usage)

    def stream_writer(self, chat: Chat) -> StreamWriter:
        """A writer for one stream that is not."""
        return openai_stream.StreamWriter(chat.model, include_usage=chat.include_usage)

    def write_error(self, error: SwitchgearError) -> bytes:
        """The body of an error reply."""
        return openai_error.write_error(error)

    def write_stream_error(self, error: SwitchgearError) -> bytes:
        """The frame that ends a stream which failed after it began."""
        return openai_stream.write_stream_error(error)
