"""What OpenAI clients speak."""

import json

from switchgear.core.errors import InvalidRequest, UpstreamTruncated
from switchgear.core.types import Choice, Message, Reply, Text, TextDelta, Usage
from switchgear.formats import openai_chat
from switchgear.formats.sse import SseReader
from switchgear.surfaces import openai
from switchgear.surfaces.openai import OpenAIChat

DIALECT = OpenAIChat()
CHAT = DIALECT.read_request(b'{"model":"fast","messages":[],"stream":true,"stream_options":{"include_usage":true}}')
PLAIN_CHAT = DIALECT.read_request(b'{"model":"fast","messages":[],"stream":true}')
REPLY = Reply(
    id="x",
    model="upstream",
    created_s=5,
    choices=[Choice(0, Message("assistant", [Text("Hi")]), "stop")],
    usage=Usage(1, 2),
)
USAGE_FRAME = b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}\n\n'


def test_the_paths_are_openais_with_and_without_v1() -> None:
    assert openai.CHAT_PATHS == ("/v1/chat/completions", "/chat/completions")
    assert openai.MODELS_PATHS == ("/v1/models", "/models")


def test_it_has_the_name_of_the_format_that_passes_through() -> None:
    assert DIALECT.name == openai_chat.FORMAT
    assert DIALECT.stream_content_type == b"text/event-stream; charset=utf-8"


def test_a_keepalive_says_nothing() -> None:
    reader = SseReader()
    assert reader.feed(DIALECT.keepalive) == []
    reader.close()


def test_a_reply_goes_out_under_the_name_the_client_asked_for() -> None:
    body = DIALECT.write_reply(REPLY, CHAT)
    assert json.loads(body)["model"] == "fast"
    assert DIALECT.glance_reply(body) == Usage(1, 2)
    assert json.loads(DIALECT.add_extension(body, {"provider": "p"}))["x_gateway"] == {"provider": "p"}


def test_a_relay_shows_usage_only_to_who_asked() -> None:
    assert DIALECT.relay(CHAT).feed(USAGE_FRAME) == USAGE_FRAME
    assert DIALECT.relay(PLAIN_CHAT).feed(USAGE_FRAME) == b""


def test_a_writer_writes_usage_only_to_who_asked() -> None:
    for chat, asked in ((CHAT, True), (PLAIN_CHAT, False)):
        writer = DIALECT.stream_writer(chat)
        (frame,) = SseReader().feed(writer.write([TextDelta(text="Hi")]))
        assert json.loads(frame.data)["model"] == "fast"
        assert ("usage" in json.loads(frame.data)) is asked
        assert writer.close() == b"data: [DONE]\n\n"


def test_errors_are_said_in_the_body_and_in_the_stream_alike() -> None:
    error = InvalidRequest("bad", param="n")
    (frame,) = SseReader().feed(DIALECT.write_stream_error(error))
    assert frame.data == DIALECT.write_error(error)
    assert json.loads(frame.data)["error"]["param"] == "n"
    assert b"[DONE]" not in DIALECT.write_stream_error(UpstreamTruncated("ended"))
