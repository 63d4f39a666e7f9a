"""What TGI answers: text back into calls, stop sequences cut off, errors, the one model."""

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchgear.core.errors import UpstreamInvalid, UpstreamRejected, UpstreamTruncated
from switchgear.core.fold import fold
from switchgear.core.types import (
    Chat,
    Event,
    Finished,
    LogprobsDelta,
    Reply,
    ResponseFormat,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolChoice,
)
from switchgear.formats import tgi_reply
from tests.formats.tgi_chats import CLOCK, DIRECTORY, HELLO, WEATHER, chat
from tests.golden import check_golden, pretty

ANY = chat(tools=[CLOCK])
REPLIES = sorted(path.name.removesuffix(".stream.txt") for path in DIRECTORY.glob("*.stream.txt"))
ASKED = {
    "stop": chat(stop=["END", "\n\nEND"]),
    "stop_false_start": chat(stop=["END"]),
    "json": chat(response_format=ResponseFormat("json_object")),
    "logprobs": chat(logprobs=True, top_logprobs=2),
    "tools": chat(tools=[WEATHER, CLOCK]),
}


def stream_of(name: str) -> bytes:
    return (DIRECTORY / f"{name}.stream.txt").read_bytes()


def reply_of(name: str) -> bytes:
    return (DIRECTORY / f"{name}.reply.json").read_bytes()


def events_of(chunks: Iterable[bytes], asked: Chat = ANY) -> list[Event]:
    reader = tgi_reply.StreamReader(asked)
    events = [event for chunk in chunks for event in reader.feed(chunk)]
    return [*events, *reader.close()]


def streamed(*chunks: bytes, asked: Chat = ANY) -> Reply:
    return fold(events_of(chunks, asked))


@pytest.mark.parametrize("name", REPLIES)
def test_a_reply_reads_as_its_golden_file_says(name: str) -> None:
    reply = tgi_reply.read_reply(reply_of(name), ASKED.get(name, ANY))
    check_golden(DIRECTORY / f"{name}.canonical.json", pretty(reply))


@pytest.mark.parametrize("name", REPLIES)
def test_a_folded_stream_is_the_whole_reply(name: str) -> None:
    assert streamed(stream_of(name), asked=ASKED.get(name, ANY)) == tgi_reply.read_reply(
        reply_of(name), ASKED.get(name, ANY)
    )
    assert streamed(stream_of(name)) == tgi_reply.read_reply(reply_of(name), ANY)


@pytest.mark.parametrize("name", REPLIES)
def test_every_cut_in_two_and_every_byte_alone_read_the_same(name: str) -> None:
    stream, asked = stream_of(name), ASKED.get(name, ANY)
    events = events_of([stream], asked)
    assert events_of((stream[i : i + 1] for i in range(len(stream))), asked) == events
    for at in range(len(stream)):
        assert events_of([stream[:at], stream[at:]], asked) == events


@settings(max_examples=50)
@given(st.sampled_from(REPLIES), st.data())
def test_every_chunking_reads_the_same(name: str, data: st.DataObject) -> None:
    stream = stream_of(name)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert events_of(pieces) == events_of([stream])


@pytest.mark.parametrize("name", REPLIES)
def test_a_stream_cut_short_at_any_byte_is_truncated_never_a_success(name: str) -> None:
    stream = stream_of(name)
    for length in range(len(stream)):
        with pytest.raises(UpstreamTruncated):
            events_of([stream[:length]])


@pytest.mark.parametrize("name", REPLIES)
def test_a_whole_reply_cut_short_at_any_byte_is_invalid(name: str) -> None:
    reply = reply_of(name).rstrip()
    for length in range(len(reply)):
        with pytest.raises(UpstreamInvalid):
            tgi_reply.read_reply(reply[:length], ANY)


def said(text: str, asked: Chat = ANY, reason: str = "eos_token", pieces: Iterable[str] | None = None) -> Reply:
    """What a reply of this text, streamed in these pieces, folds to."""
    frames: list[dict[str, Any]] = [{"token": {"text": piece, "logprob": -0.5}} for piece in pieces or [text]]
    frames[-1] |= {
        "generated_text": text,
        "details": {"finish_reason": reason, "generated_tokens": 1, "input_length": 0},
    }
    return streamed(*(b"data: %b\n\n" % msgspec.json.encode(frame) for frame in frames), asked=asked)


@given(st.lists(st.sampled_from(["{", '"tool', '_calls"', ":[", "]", "}", " ", "a", "EN", "D", "\n", "é"]), min_size=1))
def test_however_a_text_is_cut_into_tokens_it_reads_the_same(pieces: list[str]) -> None:
    text = "".join(pieces)
    for asked in (ANY, chat(stop=["END", "\n\n", "a}"]), chat(tools=[CLOCK], stop=["END"])):
        for reason in ("eos_token", "stop_sequence"):
            assert said(text, asked, reason, pieces) == said(text, asked, reason)


def test_text_that_is_no_call_loses_nothing() -> None:
    for text in (
        '{"tool_calls"',
        '{"tool_calls":[]}',
        '{"tool_calls":[{"name":"f","arguments":7}]}',
        '{"tool_calls":[1]} x',
        " \n",
    ):
        assert said(text).text == text
        assert said(text).choices[0].finish_reason == "stop"


def test_text_is_not_held_back_longer_than_it_may_be_a_call_or_a_stop_sequence() -> None:
    reader = tgi_reply.StreamReader(chat(stop=["END"], tools=[CLOCK]))
    texts = [
        [event.text for event in reader.feed(b'data: {"token":{"text":%b}}\n\n' % msgspec.json.encode(piece))]
        for piece in ("Hi {", "x", "EN", "T ", '{"tool', '_calls"', "anything")
    ]
    assert texts == [["", "Hi "], ["{x"], [], ["ENT "], [], [], []]


def test_without_tools_in_the_request_no_text_is_a_call() -> None:
    text = '{"tool_calls":[{"name":"f","arguments":{}}]}'
    assert said(text, chat()).text == text
    assert said(text, chat(tools=[CLOCK], tool_choice=ToolChoice("none"))).text == text
    assert said(text, chat(tools=[CLOCK])).choices[0].finish_reason == "tool_calls"


def test_a_stop_sequence_is_cut_off_only_where_it_stopped_the_reply() -> None:
    assert said("One END", chat(stop=["END"]), "stop_sequence").text == "One "
    assert said("One END\n", chat(stop=["END"]), "stop_sequence").text == "One "
    assert said("One END", chat(stop=["END"]), "length").text == "One END"
    assert said("One END", ANY, "stop_sequence").text == "One END"


def test_the_same_call_in_another_turn_has_another_id() -> None:
    text = '{"tool_calls":[{"name":"f","arguments":{}},{"name":"f","arguments":{}}]}'
    ids = set()
    for asked in (chat(tools=[CLOCK]), chat([*HELLO, *HELLO], tools=[CLOCK])):
        ids |= {part.id for part in said(text, asked).choices[0].message.parts if isinstance(part, ToolCall)}
    assert len(ids) == 4


def test_special_tokens_are_not_text() -> None:
    assert "<|im_end|>" in stream_of("text").decode()
    assert streamed(stream_of("text")).text == "Grüße, 世界 👩‍🚀!"


def test_a_stream_without_details_is_complete_with_its_whole_text() -> None:
    events = events_of([b'data:{"token":{"text":"Hi","logprob":null},"generated_text":"Hi","details":null}\n\n'])
    assert events[1:] == [TextDelta(text="Hi"), Finished(reason="stop")]


def test_log_probabilities_come_only_where_they_were_asked_for() -> None:
    def of(asked: Chat) -> list[Event]:
        return [event for event in events_of([stream_of("logprobs")], asked) if isinstance(event, LogprobsDelta)]

    assert of(chat(top_logprobs=2)) == []
    assert of(chat(logprobs=True, top_logprobs=5)) != []
    whole = tgi_reply.read_reply(reply_of("logprobs"), chat(logprobs=True)).choices[0].logprobs
    assert whole is not None
    content = [{"token": "Hi", "logprob": -0.25, "bytes": [72, 105], "top_logprobs": []}]
    assert msgspec.json.decode(whole) == {"content": content, "refusal": None}


@pytest.mark.parametrize(
    ("kind", "status"),
    [("overloaded", 429), ("validation", 422), ("generation", 424), ("incomplete_generation", 500), ("new", 500)],
)
def test_an_error_in_a_stream_has_the_status_of_its_kind(kind: str, status: int) -> None:
    frame = b'data:{"error":"no luck","error_type":"%b"}\n\n' % kind.encode()
    reader = tgi_reply.StreamReader(ANY).feed(b'data:{"token":{"text":"Hi"}}\n\n' + frame)
    assert [next(reader), next(reader)][1] == TextDelta(text="Hi")
    with pytest.raises(UpstreamRejected, match="no luck") as rejected:
        next(reader)
    assert (rejected.value.status, rejected.value.code) == (status, kind)


def test_a_reply_of_status_200_that_says_error_is_an_error() -> None:
    with pytest.raises(UpstreamRejected) as rejected:
        tgi_reply.read_reply(b'{"error":"busy","error_type":"overloaded"}', ANY)
    assert rejected.value.status == 429


@pytest.mark.parametrize(
    "data", [b"nonsense", b"[]", b"{}", b'{"token":{}}', b'{"token":{"text":"\xff"}}', b"[" * 9999]
)
def test_an_event_that_is_no_token_is_invalid(data: bytes) -> None:
    with pytest.raises(UpstreamInvalid):
        events_of([b"data:" + data + b"\n\n"])


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"generated_text":7}', b'{"details":{}}'])
def test_a_whole_reply_that_is_none_is_invalid(body: bytes) -> None:
    with pytest.raises(UpstreamInvalid):
        tgi_reply.read_reply(body, ANY)


def test_nothing_is_read_after_the_end_and_comments_are_skipped() -> None:
    stream = b":\n\n" + stream_of("text") + b'data:{"error":"late","error_type":"generation"}\n\ndata:{"to'
    assert streamed(stream) == streamed(stream_of("text"))


def test_calls_keep_their_order_and_their_own_bytes() -> None:
    calls = [event for event in events_of([stream_of("tools_spaced")]) if isinstance(event, ToolCallDelta)]
    assert [(call.call, call.name, call.arguments) for call in calls] == [(0, "get_time", '{"at": 1.50}')]


# --- errors and models -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error":"Model is overloaded","error_type":"overloaded"}', "Model is overloaded"),
        (b"Failed to parse the request body as JSON", "Failed to parse the request body as JSON"),
        (b"<html>", "The provider answered 429."),
    ],
)
def test_an_error_keeps_its_status_its_words_and_when_to_come_back(body: bytes, message: str) -> None:
    error = tgi_reply.read_error(429, {"retry-after": "2"}, body)
    assert (error.status, error.message, error.retry_after) == (429, message, "2")


def test_info_names_the_one_model_and_how_much_it_holds() -> None:
    (model,) = tgi_reply.read_models(
        b'{"model_id":"HuggingFaceTB/SmolLM2","max_input_tokens":4095,"max_total_tokens":4096}'
    )
    assert (model.id, model.owned_by, model.context_window_tokens) == ("HuggingFaceTB/SmolLM2", "HuggingFaceTB", 4096)


def test_a_model_in_a_folder_has_no_owner() -> None:
    assert tgi_reply.read_models(b'{"model_id":"/data"}')[0].owned_by == ""


@pytest.mark.parametrize("body", [b"", b"[]", b"{}"])
def test_an_info_that_is_none_is_invalid(body: bytes) -> None:
    with pytest.raises(UpstreamInvalid):
        tgi_reply.read_models(body)
