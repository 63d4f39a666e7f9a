"""OpenAI chat completion streams: passed on, read, written; and assembled by OpenAI's own SDK."""

import json
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from switchgear.core.errors import UpstreamInvalid, UpstreamRejected, UpstreamTimeout, UpstreamTruncated
from switchgear.core.fold import fold, unfold
from switchgear.core.types import (
    Event,
    Finished,
    FinishReason,
    LogprobsDelta,
    RefusalDelta,
    Reply,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    Usage,
    UsageReport,
)
from switchgear.formats import openai_reply
from switchgear.formats.openai_stream import DONE_FRAME, StreamReader, StreamWriter, relay, write_stream_error
from switchgear.formats.sse import SseRelay
from tests.golden import GOLDEN, check_golden, pretty
from tests.golden.recordings import COMPLETE, FAILING, OPENAI, payloads


def events_of(*chunks: bytes) -> list[Event]:
    reader = StreamReader()
    events = [event for chunk in chunks for event in reader.feed(chunk)]
    return [*events, *reader.close()]


def relayed(stream: bytes, *, include_usage: bool = False) -> tuple[SseRelay, bytes]:
    passing = relay(include_usage)
    out = passing.feed(stream)
    return passing, out + passing.close()


def values(reply: Reply) -> Any:
    """A reply as plain values, so that numbers compare as numbers."""
    return json.loads(msgspec.json.encode(reply))


def chunk(**fields: Any) -> bytes:
    return b"data: %b\n\n" % json.dumps(fields).encode()


def delta(text: str, finish: str | None = None, index: int = 0, **fields: Any) -> bytes:
    return chunk(choices=[{"index": index, "delta": {"content": text}, "finish_reason": finish}], **fields)


USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}


# --- passing on --------------------------------------------------------------------------------------------------

# What a relay keeps from a client that did not ask for usage, and what it adds where the provider left it out.
HIDES_USAGE = {"usage", "llama_cpp", "vllm", "openrouter", "crlf", "cr", "mixed_ends", "no_done_usage"}
OWES_DONE = {"no_done", "no_done_usage"}
SAYS_MORE_AFTER_THE_END = {"after_done"}


@pytest.mark.parametrize("name", sorted(COMPLETE.keys() - SAYS_MORE_AFTER_THE_END))
def test_a_client_that_wants_usage_gets_every_byte(name: str) -> None:
    stream = COMPLETE[name].removeprefix(b"\xef\xbb\xbf")
    passing, out = relayed(COMPLETE[name], include_usage=True)
    assert out == stream + (DONE_FRAME if name in OWES_DONE else b"")
    assert passing.error is None


@pytest.mark.parametrize("name", sorted(COMPLETE))
def test_a_client_that_does_not_want_usage_gets_all_but_the_usage_chunk(name: str) -> None:
    _, out = relayed(COMPLETE[name], include_usage=True)
    passing, without = relayed(COMPLETE[name])
    said, shown = list(payloads(out)), list(payloads(without))
    hidden = [payload for payload in said if payload not in shown]
    assert bool(hidden) == (name in HIDES_USAGE)
    assert [payload for payload in said if payload not in hidden] == shown
    for payload in hidden:
        assert json.loads(payload)["choices"] == []
        assert json.loads(payload)["usage"]["prompt_tokens"]
    assert passing.error is None


PAYLOADS = st.sampled_from(
    ['{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}', '{"choices":[{"index":1}]}', "[DONE]", " [DONE]",
     "x[DONE]", '{"choices":[]} [DONE]', '{"choices":[]}{"choices":[]}', '{"choices":[]} {"choices":[]}', "",
     '{"choices":[],', '"usage":null}', '{"choices":[],"usage":{"prompt_tokens":1}}', '{"error":null}', '{"error":"x"}',
     '{"usage":{"prompt_tokens":2},"choices":[{}]}', " {} ", "7", "null", "[]"]
)  # fmt: skip
OTHERS = st.sampled_from([": c\n\n", "\n\n", "event: error\ndata: x\n\n"])
FRAMES = st.one_of(PAYLOADS.map("data: {}\n\n".format), OTHERS)


@settings(max_examples=200, deadline=None)
@given(st.lists(FRAMES, max_size=6), st.booleans())
def test_frames_seen_together_come_to_what_they_come_to_one_by_one(frames: list[str], include_usage: bool) -> None:
    together, alone = relay(include_usage), relay(include_usage)
    out = together.feed("".join(frames).encode())
    pieces = []
    for frame in frames:
        if alone.error is None:
            pieces.append(alone.feed(frame.encode()))
    assert (out, together.done, together.usage) == (b"".join(pieces), alone.done, alone.usage)
    assert str(together.error) == str(alone.error)


@pytest.mark.parametrize("payload", ["x[DONE]", " [DONE]", "[DONE] ", "[DONE][DONE]", '"[DONE]"', "[done]"])
@pytest.mark.parametrize("before", [b"", b": comment\n\n", b'data: {"choices":[]}\n\n'])
def test_only_the_end_mark_itself_is_the_end(payload: str, before: bytes) -> None:
    passing = relay(True)
    assert passing.feed(before + f"data: {payload}\n\n".encode()) == before
    assert isinstance(passing.error, UpstreamInvalid)
    assert not passing.done


@pytest.mark.parametrize("name", sorted(COMPLETE))
def test_usage_is_read_by_the_relay_as_by_the_reader(name: str) -> None:
    passing, _ = relayed(COMPLETE[name])
    assert passing.usage == fold(events_of(COMPLETE[name])).usage
    assert passing.done


def test_nothing_counts_after_the_end() -> None:
    _, out = relayed(COMPLETE["after_done"])
    assert list(payloads(out))[-1] == "[DONE]"
    assert b"late" not in out
    assert b"nonsense" not in out


def test_the_last_usage_counts() -> None:
    later = {**USAGE, "completion_tokens": 7}
    passing = relay(False)
    passing.feed(delta("a", usage=USAGE) + delta("b", usage=later) + delta("c", usage=None) + delta("", usage={}))
    assert passing.usage == Usage(9, 7)


def test_usage_beside_a_choice_is_passed_on_and_counted() -> None:
    stream = delta("a", "stop", usage=USAGE) + DONE_FRAME
    passing, out = relayed(stream)
    assert out == stream
    assert passing.usage == Usage(9, 4)


def test_details_of_usage_are_read() -> None:
    details = {"prompt_tokens_details": {"cached_tokens": 3}, "completion_tokens_details": {"reasoning_tokens": 2}}
    passing = relay(False)
    passing.feed(chunk(choices=[], usage={**USAGE, **details}))
    assert passing.usage == Usage(9, 4, cached_input_tokens=3, reasoning_tokens=2)


@pytest.mark.parametrize("name", sorted(FAILING))
def test_a_failing_stream_fails_alike_passed_on_or_read(name: str) -> None:
    passing = relay(False)
    passing.feed(FAILING[name])
    seen = passing.error
    if seen is None:
        with pytest.raises(UpstreamTruncated):
            passing.close()
    if name == "bad_utf8":  # a relay does not look into the text it passes on
        assert seen is None
        return
    with pytest.raises((UpstreamRejected, UpstreamInvalid, UpstreamTruncated)) as failed:
        events_of(FAILING[name])
    if seen is not None:
        assert (type(seen), seen.status, seen.message, seen.code) == (
            type(failed.value), failed.value.status, failed.value.message, failed.value.code
        )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "kind", "status", "message"),
    [
        ("error_object", UpstreamRejected, 502, "The server had an error."),
        ("error_event", UpstreamRejected, 502, "Overloaded"),
        ("error_event_text", UpstreamRejected, 502, "upstream crashed"),
        ("error_openrouter", UpstreamRejected, 429, "Rate limited upstream"),
        ("error_then_done", UpstreamRejected, 502, "CUDA out of memory"),
        ("error_vllm", UpstreamRejected, 500, "engine died"),
        ("bad_json", UpstreamInvalid, 502, "not a chat completion chunk"),
        ("html", UpstreamInvalid, 502, "not a chat completion chunk"),
    ],
)
def test_an_error_in_a_stream_keeps_the_providers_words(
    name: str, kind: type[Exception], status: int, message: str
) -> None:
    passing = relay(False)
    out = passing.feed(OPENAI[name])
    assert isinstance(passing.error, kind)
    assert passing.error.status == status
    assert message in passing.error.message
    assert message.encode() not in out
    assert b"[DONE]" not in out


@pytest.mark.parametrize("error", [None, "null"])
def test_an_error_of_null_is_no_error(error: str | None) -> None:
    stream = b'data: {"error":null,"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n' + DONE_FRAME
    assert relayed(stream)[1] == stream
    assert events_of(stream)[-1] == Finished(reason="stop")


# --- reading -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(COMPLETE))
def test_a_stream_reads_as_its_golden_file_says(name: str) -> None:
    check_golden(GOLDEN / "openai_chat" / f"{name}.canonical.json", pretty(fold(events_of(COMPLETE[name]))))


def test_a_stream_begins_once_and_before_all_else() -> None:
    for stream in COMPLETE.values():
        events = events_of(stream)
        assert [event for event in events if isinstance(event, Started)] == events[:1]


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_a_stream_without_its_end_mark_is_complete_once_every_choice_is(order: list[int]) -> None:
    first, second = order
    begun = delta("a", index=first) + delta("b", index=second) + delta("", "stop", index=first)
    with pytest.raises(UpstreamTruncated):
        events_of(begun)
    with pytest.raises(UpstreamTruncated):
        relayed(begun)
    assert len(fold(events_of(begun + delta("", "stop", index=second))).choices) == 2
    assert relayed(begun + delta("", "stop", index=second))[1].endswith(DONE_FRAME)


def test_a_stream_of_nothing_is_truncated() -> None:
    for stream in (b"", b": keep-alive\n\n", chunk(choices=[]), chunk(choices=None)):
        with pytest.raises(UpstreamTruncated):
            events_of(stream)
        with pytest.raises(UpstreamTruncated):
            relayed(stream)


def test_the_events_before_an_error_still_come_out() -> None:
    events = StreamReader().feed(delta("Hi", id="x") + b"data: {nonsense\n\n")
    assert next(iter(events)) == Started(id="x", model="", created_s=0)
    assert next(iter(events)) == TextDelta(text="Hi")
    with pytest.raises(UpstreamInvalid):
        next(iter(events))


@pytest.mark.parametrize(
    ("word", "reason"),
    [("stop", "stop"), ("length", "length"), ("tool_calls", "tool_calls"), ("function_call", "tool_calls"),
     ("content_filter", "content_filter"), ("eos", "stop")],
)  # fmt: skip
def test_every_finish_reason_is_read(word: str, reason: str) -> None:
    finished = events_of(delta("", word))[-1]
    assert isinstance(finished, Finished)
    assert finished.reason == reason


# --- OpenAI's own SDK --------------------------------------------------------------------------------------------


def assembled(stream: bytes) -> Reply:
    """What the SDK makes of a stream, chunk by chunk, read back as a whole reply."""
    state: ChatCompletionStreamState[None] = ChatCompletionStreamState()
    for payload in payloads(stream):
        if payload == "[DONE]":
            break
        state.handle_chunk(ChatCompletionChunk.model_validate_json(payload))
    return openai_reply.read_reply(state.current_completion_snapshot.model_dump_json().encode())


# Azure's first chunk and a tool call without a type are not of the SDK's types; a stream of nothing comes to nothing.
@pytest.mark.parametrize("name", sorted(COMPLETE.keys() - {"azure", "tool_in_one_chunk", "empty"}))
def test_the_sdk_assembles_a_relayed_stream_as_we_fold_it(name: str) -> None:
    _, out = relayed(COMPLETE[name], include_usage=True)
    ours, theirs = fold(events_of(COMPLETE[name])), assembled(out)
    if ours.usage is not None and theirs.usage is None:
        theirs.usage = ours.usage  # the SDK overlooks usage beside a choice
    assert values(ours) == values(theirs)


@pytest.mark.parametrize("name", sorted(COMPLETE.keys() - {"empty"}))
def test_a_folded_stream_is_the_whole_reply(name: str) -> None:
    reply = fold(events_of(COMPLETE[name]))
    assert values(openai_reply.read_reply(openai_reply.write_reply(reply, reply.model))) == values(reply)


# --- writing -----------------------------------------------------------------------------------------------------

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
LOGPROBS = TEXTS.map(
    lambda token: Raw(
        msgspec.json.encode(
            {"content": [{"token": token, "bytes": None, "logprob": -0.5, "top_logprobs": []}], "refusal": None}
        )
    )
)
REASONS: st.SearchStrategy[FinishReason] = st.sampled_from(["stop", "length", "tool_calls", "content_filter"])


@st.composite
def choice_events(draw: st.DrawFn, index: int) -> list[Event]:
    """All that one choice says: text, thinking, refusal, and tool calls whose pieces interleave."""
    events: list[Event] = []
    begun = set[int]()
    for kind in draw(
        st.lists(st.sampled_from(["text", "thinking", "refusal", "call", "call", "logprobs"]), max_size=8)
    ):
        text = draw(TEXTS)
        match kind:
            case "text":
                events.append(TextDelta(index=index, text=text))
            case "thinking":
                events.append(ThinkingDelta(index=index, text=text))
            case "refusal":
                events.append(RefusalDelta(index=index, text=text))
            case "logprobs":
                events.append(LogprobsDelta(index=index, logprobs=draw(LOGPROBS)))
            case _:
                call = draw(st.integers(0, len(begun)))
                new = call not in begun
                begun.add(call)
                events.append(
                    ToolCallDelta(
                        index=index,
                        call=call,
                        id=f"call_{call}" if new else None,
                        name=f"tool_{call}" if new else None,
                        arguments=text,
                    )
                )
    return [*events, Finished(index=index, reason=draw(REASONS))]


@st.composite
def streams(draw: st.DrawFn, *, begin_in_order: bool = False) -> list[Event]:
    """A whole stream; the events of its choices interleave."""
    choices = [draw(choice_events(index)) for index in range(draw(st.integers(1, 3)))]
    events: list[Event] = [Started(id=draw(TEXTS), model="m", created_s=1_790_000_000)]
    if begin_in_order:
        events += [TextDelta(index=index, text=draw(TEXTS)) for index in range(len(choices))]
    while any(choices):
        events.append(draw(st.sampled_from([choice for choice in choices if choice])).pop(0))
    return [*events, UsageReport(usage=Usage(7, 5, cached_input_tokens=draw(st.integers(0, 2))))]


def written(events: Iterable[Event], *, include_usage: bool = True) -> bytes:
    writer = StreamWriter("m", include_usage=include_usage)
    return writer.write(list(events)) + writer.close()


@settings(max_examples=40, deadline=None)
@given(streams())
def test_what_is_written_reads_back_as_the_same_events(events: list[Event]) -> None:
    assert events_of(written(events)) == events


@settings(max_examples=40, deadline=None)
@given(streams(begin_in_order=True))  # the SDK finds choices by their place
def test_the_sdk_assembles_what_is_written_as_we_fold_it(events: list[Event]) -> None:
    assert values(assembled(written(events))) == values(fold(events))


@settings(max_examples=40, deadline=None)
@given(streams())
def test_the_shortest_stream_of_a_reply_says_the_same(events: list[Event]) -> None:
    reply = fold(events)
    assert values(fold(events_of(written(unfold(reply))))) == values(reply)


@settings(max_examples=30, deadline=None)
@given(streams())
def test_what_is_written_passes_a_relay_unchanged(events: list[Event]) -> None:
    stream = written(events)
    passing, out = relayed(stream, include_usage=True)
    assert out == stream
    assert passing.usage == fold(events).usage
    assert relayed(stream)[1] == written(events, include_usage=False).replace(b"}]}\n\n", b'}],"usage":null}\n\n')


def test_each_choice_begins_with_its_role() -> None:
    stream = written(
        [TextDelta(index=1, text="b"), TextDelta(text="a"), TextDelta(text="A"), TextDelta(index=1, text="B")]
    )
    deltas = [json.loads(payload)["choices"] for payload in payloads(stream) if payload != "[DONE]"]
    assert [(choice["index"], choice["delta"]) for (choice,) in deltas] == [
        (1, {"role": "assistant", "content": "b"}),
        (0, {"role": "assistant", "content": "a"}),
        (0, {"content": "A"}),
        (1, {"content": "B"}),
    ]


def test_usage_is_written_once_at_the_end_and_only_if_asked_for() -> None:
    events = [Started(id="x", model="upstream", created_s=5), TextDelta(text="a"), UsageReport(usage=Usage(1, 2))]
    with_usage = [json.loads(payload) for payload in payloads(written(events)) if payload != "[DONE]"]
    assert [body["usage"] for body in with_usage] == [
        None,
        {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    ]
    assert [body["choices"] == [] for body in with_usage] == [False, True]
    assert all((body["id"], body["model"], body["created"]) == ("x", "m", 5) for body in with_usage)
    assert b"usage" not in written(events, include_usage=False)


def test_usage_nobody_knows_is_not_made_up() -> None:
    assert list(payloads(written([TextDelta(text="a")])))[1:] == ["[DONE]"]


def test_a_signature_alone_is_not_a_chunk() -> None:
    assert written([ThinkingDelta(text="", signature="s")]) == DONE_FRAME


def test_an_error_is_one_frame_and_no_end_mark() -> None:
    error = UpstreamTimeout("between_chunks", 60)
    error.provider = "openai"
    frame = write_stream_error(error)
    (payload,) = payloads(frame)
    assert json.loads(payload) == {
        "error": {
            "message": "No further bytes from the provider within 60 s (timeouts.between_chunks_s).",
            "type": "timeout_error",
            "param": None,
            "code": "upstream_timeout",
            "provider": "openai",
        }
    }
    assert frame.endswith(b"\n\n")
