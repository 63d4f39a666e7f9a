"""OpenAI chat completions: whole replies, both ways; and as OpenAI's own SDK reads them."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw
from openai.types.chat import ChatCompletion

from switchgear.core.errors import UpstreamError, UpstreamInvalid, UpstreamRejected
from switchgear.core.types import Choice, Message, Refusal, Reply, Text, Thinking, ToolCall, Usage
from switchgear.formats import openai_reply
from tests.formats.drawn_messages import CALLS, SAID, TEXTS

LOGPROBS = st.builds(lambda token: Raw(msgspec.json.encode({"content": [{"token": token}], "refusal": None})), TEXTS)
COUNTS = st.integers(0, 10**6)
REPLIES = st.builds(
    Reply,
    id=TEXTS,
    model=SAID,
    created_s=st.integers(0, 2**40),
    choices=st.lists(
        st.builds(
            Choice,
            st.integers(0, 3),
            st.tuples(
                st.lists(st.builds(Thinking, SAID), max_size=1),
                st.lists(st.builds(Text, SAID), max_size=1),
                st.lists(st.builds(Refusal, SAID), max_size=1),
                st.lists(CALLS, max_size=2),
            ).map(lambda parts: Message("assistant", [*parts[0], *parts[1], *parts[2], *parts[3]])),
            st.none() | st.sampled_from(["stop", "length", "tool_calls", "content_filter"]),
            st.none() | LOGPROBS,
        ),
        max_size=3,
    ),
    usage=st.none() | st.builds(Usage, COUNTS, COUNTS, cached_input_tokens=COUNTS, reasoning_tokens=COUNTS),
)


@settings(max_examples=60, deadline=None)
@given(REPLIES)
def test_a_written_reply_reads_back_as_the_same(reply: Reply) -> None:
    written = openai_reply.write_reply(reply, reply.model)
    assert openai_reply.read_reply(written) == reply
    assert openai_reply.glance_reply(written) == reply.usage


@settings(max_examples=60, deadline=None)
@given(REPLIES)
def test_the_sdk_reads_a_written_reply(reply: Reply) -> None:
    for choice in reply.choices:
        choice.finish_reason = choice.finish_reason or "stop"
        choice.logprobs = None
    completion = ChatCompletion.model_validate_json(openai_reply.write_reply(reply, "asked for"))
    assert completion.model == "asked for"
    assert [choice.message.content or "" for choice in completion.choices] == [c.message.text for c in reply.choices]
    if completion.usage is not None and reply.usage is not None:
        assert completion.usage.total_tokens == reply.usage.total_tokens


def test_a_reply_that_says_nothing_has_empty_content() -> None:
    reply = Reply(id="x", model="m", created_s=0, choices=[Choice(0, Message("assistant", []), "stop")])
    assert json.loads(openai_reply.write_reply(reply, "m"))["choices"][0]["message"]["content"] == ""
    reply.choices[0].message.parts = [ToolCall("a", "f", "{}")]
    assert json.loads(openai_reply.write_reply(reply, "m"))["choices"][0]["message"]["content"] is None


def test_fields_of_a_reply_that_nobody_knows_do_not_matter() -> None:
    reply = openai_reply.read_reply(
        b'{"x":1,"created":1.5,"choices":[{"y":2,"message":{"content":"Hi","annotations":[]}}],"usage":null}'
    )
    assert (reply.text, reply.created_s, reply.usage) == ("Hi", 1, None)


@pytest.mark.parametrize("read", [openai_reply.read_reply, openai_reply.glance_reply])
@pytest.mark.parametrize(
    "said", [b"", b"<html>", b"[]", b"null", b"{}", b'{"choices":5}', b'{"choices":null}', b'{"choices":[', b"[" * 9999]
)
def test_what_is_no_reply_is_invalid(read: Any, said: bytes) -> None:
    with pytest.raises(UpstreamInvalid) as invalid:
        read(said)
    assert invalid.value.status == 502


@pytest.mark.parametrize("read", [openai_reply.read_reply, openai_reply.glance_reply])
@pytest.mark.parametrize("status", [429, 503])
def test_an_error_in_a_reply_of_status_200_is_that_error(read: Any, status: int) -> None:
    with pytest.raises(UpstreamRejected, match="slow down") as rejected:
        read(b'{"error":{"message":"slow down","code":%d}}' % status)
    assert rejected.value.status == status


def test_an_error_beside_no_choices_is_an_error() -> None:
    with pytest.raises(UpstreamRejected, match="no luck"):
        openai_reply.glance_reply(b'{"choices":[],"error":"no luck"}')


@pytest.mark.parametrize("cut", range(0, 180, 9))
def test_a_reply_cut_short_is_never_a_reply(cut: int) -> None:
    reply = Reply(
        id="x",
        model="m",
        created_s=0,
        choices=[Choice(0, Message("assistant", [Text("Grüße")]), "stop")],
        usage=Usage(1, 2),
    )
    whole = openai_reply.write_reply(reply, "m")
    assert cut < len(whole)
    for read in (openai_reply.read_reply, openai_reply.glance_reply):
        with pytest.raises(UpstreamError):
            read(whole[:cut])


def test_the_extension_comes_last() -> None:
    extended = openai_reply.add_extension(b'{"id": "x"}', {"provider": "openai", "cost_usd": None})
    assert extended == b'{"id": "x","x_gateway":{"provider":"openai","cost_usd":null}}'
