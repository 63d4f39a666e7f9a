"""What every stream format must hold, however its input is cut and wherever it ends."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchgear.core.errors import UpstreamError
from switchgear.core.protocols import Decoder
from switchgear.core.types import Chat, Event, Message, Prompt, ResponseFormat, Text, Tool
from switchgear.formats import ollama_reply, openai_stream, tgi_reply
from switchgear.formats.sse import MAX_LINE_BYTES
from tests.golden import GOLDEN
from tests.golden.recordings import COMPLETE, FAILING, OPENAI, frame_ends, may_complete

REPLACEMENT = "\ufffd"


class Outcome(NamedTuple):
    """What came out of a stream, and what it failed with, if it failed."""

    passed: Any
    error: tuple[str, int, str | None, str] | None


def _said(error: UpstreamError) -> tuple[str, int, str | None, str]:
    return type(error).__name__, error.status, error.code, error.message


def relayed(chunks: Iterable[bytes], *, include_usage: bool) -> Outcome:
    relay = openai_stream.relay(include_usage)
    out = []
    for chunk in chunks:
        out.append(relay.feed(chunk))
        if relay.error is not None:
            return Outcome(b"".join(out), _said(relay.error))
    try:
        out.append(relay.close())
    except UpstreamError as error:
        return Outcome(b"".join(out), _said(error))
    return Outcome(b"".join(out), None)


def decoded(decoder: Decoder, chunks: Iterable[bytes]) -> Outcome:
    events: list[Event] = []
    try:
        for chunk in chunks:
            for event in decoder.feed(chunk):
                events.append(event)  # what came before an error counts
        events.extend(decoder.close())
    except UpstreamError as error:
        return Outcome(events, _said(error))
    return Outcome(events, None)


@dataclass
class Subject:
    """One way of reading streams, the streams it reads, and what it must take for a failure."""

    read: Callable[[str, Iterable[bytes]], Outcome]
    complete: dict[str, bytes]
    failing: dict[str, bytes]
    unit_ends: Callable[[bytes], list[int]]
    """Where a frame or line ends, 0 first."""
    may_complete: Callable[[bytes], bool]
    """Whether a proper prefix may be called complete."""
    errors: tuple[bytes, ...]
    nonsense: tuple[bytes, ...]

    @property
    def streams(self) -> dict[str, bytes]:
        return self.complete | self.failing


def lines_end(stream: bytes) -> list[int]:
    return [0, *(match.end() for match in re.finditer(b"\n", stream))]


def never(prefix: bytes) -> bool:
    return False


def files(directory: str) -> dict[str, bytes]:
    paths = sorted((GOLDEN / directory).glob("*.stream.txt"))
    return {path.name.removesuffix(".stream.txt"): path.read_bytes() for path in paths}


HELLO = [Message("user", [Text("Hello")])]
TGI_ASKED: dict[str, dict[str, Any]] = {
    "stop": {"stop": ["END", "\n\nEND"]},
    "stop_false_start": {"stop": ["END"]},
    "json": {"response_format": ResponseFormat("json_object")},
    "logprobs": {"logprobs": True, "top_logprobs": 2},
}


def read_tgi(name: str, chunks: Iterable[bytes]) -> Outcome:
    asked = Prompt(messages=HELLO, **TGI_ASKED.get(name, {"tools": [Tool("get_time")]}))
    return decoded(tgi_reply.StreamReader(Chat("any", stream=True, prompt=asked)), chunks)


OPENAI_ERRORS = (
    b'data: {"error":{"message":"boom","type":"server_error","code":null}}\n\n',
    b'data: {"error":"boom"}\r\n\r\n',
    b'event: error\ndata: {"message":"boom"}\n\n',
    b"event: error\ndata: boom\n\n",
    b'event: error\ndata: {"choices":[]}\n\n',
    b'data: {"id":"x",\ndata: "choices":[],"error":{"code":503,"message":"boom"}}\n\n',
)
SSE_NONSENSE = (b'data: {"choices":[{"index":0,"de\n\n', b"data: <html>\n\n", b"data: []\n\n", b"data:\n\n")
SUBJECTS = {
    "openai relay": Subject(
        lambda name, chunks: relayed(chunks, include_usage=False),
        COMPLETE, FAILING, frame_ends, may_complete, OPENAI_ERRORS, SSE_NONSENSE,
    ),
    "openai relay with usage": Subject(
        lambda name, chunks: relayed(chunks, include_usage=True),
        COMPLETE, FAILING, frame_ends, may_complete, OPENAI_ERRORS, SSE_NONSENSE,
    ),
    "openai reader": Subject(
        lambda name, chunks: decoded(openai_stream.StreamReader(), chunks),
        COMPLETE, FAILING, frame_ends, may_complete, OPENAI_ERRORS, SSE_NONSENSE,
    ),
    "ollama": Subject(
        lambda name, chunks: decoded(ollama_reply.StreamReader(), chunks),
        files("ollama"), {}, lines_end, never,
        (b'{"error":"boom"}\n', b'{"error":"boom"}\r\n'),
        (b'{"message":{"cont\n', b"<html>\n", b"[]\n", b"{}\n"),
    ),
    "tgi": Subject(
        read_tgi, files("tgi"), {}, frame_ends, never,
        (b'data:{"error":"boom","error_type":"generation"}\n\n', b'event: error\ndata: {"error":"boom"}\r\n\r\n'),
        (b'data:{"token":{"te\n\n', b"data: <html>\n\n", b"data: []\n\n", b"data: {}\n\n"),
    ),
}  # fmt: skip

every_stream = pytest.mark.parametrize(
    ("subject", "name"), [(subject, name) for subject in SUBJECTS for name in SUBJECTS[subject].streams]
)
every_complete_stream = pytest.mark.parametrize(
    ("subject", "name"), [(subject, name) for subject in SUBJECTS for name in SUBJECTS[subject].complete]
)
every_subject = pytest.mark.parametrize("subject", SUBJECTS)
every_sse_subject = pytest.mark.parametrize("subject", [name for name in SUBJECTS if name != "ollama"])


def single_bytes(stream: bytes) -> list[bytes]:
    return [stream[at : at + 1] for at in range(len(stream))]


def cut(stream: bytes, places: Iterable[int]) -> list[bytes]:
    at = [0, *sorted(places), len(stream)]
    return [stream[a:b] for a, b in pairwise(at)]


def thirds(stream: bytes) -> list[bytes]:
    return cut(stream, [len(stream) // 3, 2 * len(stream) // 3])


def test_there_are_enough_recorded_streams() -> None:
    assert len(OPENAI) >= 30
    assert len(COMPLETE) >= 20
    assert len(FAILING) >= 8
    assert files("ollama")
    assert files("tgi")


# --- cuts --------------------------------------------------------------------------------------------------------


@every_stream
def test_every_cut_in_two_comes_to_the_same(subject: str, name: str) -> None:
    read, stream = SUBJECTS[subject].read, SUBJECTS[subject].streams[name]
    whole = read(name, [stream])
    for at in range(len(stream) + 1):
        assert read(name, [stream[:at], stream[at:]]) == whole, at


@every_stream
def test_every_byte_alone_comes_to_the_same(subject: str, name: str) -> None:
    read, stream = SUBJECTS[subject].read, SUBJECTS[subject].streams[name]
    assert read(name, single_bytes(stream)) == read(name, [stream])


@every_subject
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_cuts_come_to_the_same(subject: str, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(SUBJECTS[subject].streams)))
    read, stream = SUBJECTS[subject].read, SUBJECTS[subject].streams[name]
    places = data.draw(st.lists(st.integers(0, len(stream)), min_size=2, max_size=40))
    assert read(name, cut(stream, places)) == read(name, [stream])


@every_complete_stream
def test_no_replacement_character_is_ever_made(subject: str, name: str) -> None:
    read, stream = SUBJECTS[subject].read, SUBJECTS[subject].complete[name]
    for chunks in ([stream], single_bytes(stream)):
        passed = read(name, chunks).passed
        text = passed.decode() if isinstance(passed, bytes) else msgspec.json.encode(passed).decode()
        assert REPLACEMENT not in text


# --- ends --------------------------------------------------------------------------------------------------------


@every_complete_stream
def test_a_complete_stream_is_a_success(subject: str, name: str) -> None:
    assert SUBJECTS[subject].read(name, [SUBJECTS[subject].complete[name]]).error is None


@pytest.mark.parametrize(
    ("subject", "name"), [(subject, name) for subject in SUBJECTS for name in SUBJECTS[subject].failing]
)
def test_a_failing_stream_is_never_a_success(subject: str, name: str) -> None:
    stream = SUBJECTS[subject].failing[name]
    law = SUBJECTS[subject]
    assert law.read(name, [stream]).error is not None
    for length in range(len(stream)):
        prefix = stream[:length]
        assert law.read(name, [prefix]).error is not None or law.may_complete(prefix), length


@every_complete_stream
def test_a_stream_that_ends_early_is_a_success_only_where_it_had_said_all(subject: str, name: str) -> None:
    law, stream = SUBJECTS[subject], SUBJECTS[subject].complete[name]
    for length in range(len(stream)):
        prefix = stream[:length]
        assert (law.read(name, [prefix]).error is None) == law.may_complete(prefix), length


@every_complete_stream
def test_what_an_early_end_leaves_is_the_beginning_of_the_whole(subject: str, name: str) -> None:
    read, stream = SUBJECTS[subject].read, SUBJECTS[subject].complete[name]
    whole = read(name, [stream]).passed
    for length in SUBJECTS[subject].unit_ends(stream):
        early = read(name, [stream[:length]])
        if early.error is not None:
            assert early.passed == whole[: len(early.passed)]


# --- errors ------------------------------------------------------------------------------------------------------


def fails_alike_wherever_it_stands(law: Subject, name: str, units: Iterable[bytes]) -> None:
    """Each unit, put between any two of the stream before its end, is one error after all that came before it."""
    stream = law.complete[name]
    ends = law.unit_ends(stream)
    for unit in units:
        for place in ends[:-1]:
            if has_ended(law, name, stream[:place]):
                continue  # after the end nothing counts
            broken = stream[:place] + unit + stream[place:]
            before = law.read(name, [stream[:place]])
            outcomes = [law.read(name, chunks) for chunks in ([broken], single_bytes(broken))]
            outcomes.append(law.read(name, cut(broken, [place + 1, place + len(unit) - 1])))
            assert outcomes[0].error is not None, (unit, place)
            assert all(outcome == outcomes[0] for outcome in outcomes), (unit, place)
            if before.error is not None:
                assert outcomes[0].passed == before.passed, (unit, place)
            if isinstance(outcomes[0].passed, bytes):
                assert b"boom" not in outcomes[0].passed
                assert b"[DONE]" not in outcomes[0].passed


def has_ended(law: Subject, name: str, prefix: bytes) -> bool:
    """Whether the stream has said that it is complete, so that nothing after it can change that."""
    return law.read(name, [prefix, *law.errors[:1]]).error is None


@every_complete_stream
def test_an_error_in_any_place_is_one_error_after_what_came_before(subject: str, name: str) -> None:
    fails_alike_wherever_it_stands(SUBJECTS[subject], name, SUBJECTS[subject].errors)


@every_complete_stream
def test_nonsense_in_any_place_is_one_error_after_what_came_before(subject: str, name: str) -> None:
    fails_alike_wherever_it_stands(SUBJECTS[subject], name, SUBJECTS[subject].nonsense)


@every_complete_stream
def test_only_the_end_of_a_stream_makes_errors_harmless(subject: str, name: str) -> None:
    law, stream = SUBJECTS[subject], SUBJECTS[subject].complete[name]
    ended = [place for place in law.unit_ends(stream) if has_ended(law, name, stream[:place])]
    said_so = [place for place in law.unit_ends(stream) if b"[DONE]" in stream[:place]]
    if subject.startswith("openai"):
        assert ended == said_so
    else:
        assert ended == law.unit_ends(stream)[-len(ended) :]
        assert law.unit_ends(stream)[-1] in ended


@every_subject
@pytest.mark.parametrize("stands", ["first", "later"])
def test_a_line_without_end_is_an_error_however_it_is_cut(subject: str, stands: str) -> None:
    law = SUBJECTS[subject]
    name, stream = next((name, stream) for name, stream in law.complete.items() if name == "text")
    place = law.unit_ends(stream)[0 if stands == "first" else 2]
    unit = b'data: {"choices":[],"x":"%b"}\n\n' % (b"x" * (MAX_LINE_BYTES + 100))
    broken = stream[:place] + unit + stream[place:]
    pieces = [broken[at : at + 65_536] for at in range(0, len(broken), 65_536)]
    outcomes = [law.read(name, chunks) for chunks in ([broken], pieces, thirds(broken))]
    assert outcomes[0].error is not None
    assert outcomes[0].error[0] == "UpstreamInvalid"
    assert outcomes == [outcomes[0]] * 3
    assert outcomes[0].passed == law.read(name, [stream[:place]]).passed


# --- server-sent events ------------------------------------------------------------------------------------------


@every_sse_subject
@pytest.mark.parametrize("end", [b"\r\n", b"\r"])
def test_all_three_ends_of_a_line_mean_the_same(subject: str, end: bytes) -> None:
    law = SUBJECTS[subject]
    for name, stream in law.streams.items():
        if b"\r" not in stream:
            other, same = law.read(name, [stream.replace(b"\n", end)]), law.read(name, [stream])
            passed = other.passed
            if isinstance(passed, bytes):
                # The mark a relay adds itself, where the provider left it out, has LF whatever the rest has.
                passed = passed.replace(end, b"\n")
            assert (passed, other.error) == (same.passed, same.error), name


@every_sse_subject
def test_a_byte_order_mark_at_the_start_means_nothing(subject: str) -> None:
    law = SUBJECTS[subject]
    for name, stream in law.streams.items():
        marked = b"\xef\xbb\xbf" + stream.removeprefix(b"\xef\xbb\xbf")
        assert law.read(name, [marked]) == law.read(name, [stream]), name
        assert law.read(name, single_bytes(marked)) == law.read(name, [stream]), name


@every_sse_subject
def test_a_comment_in_any_place_means_nothing(subject: str) -> None:
    law, comment = SUBJECTS[subject], b": keep-alive\n\n"
    for name, stream in law.complete.items():
        whole = law.read(name, [stream])
        unmarked = stream.removeprefix(b"\xef\xbb\xbf")
        for place in frame_ends(unmarked):
            commented = unmarked[:place] + comment + unmarked[place:]
            outcome = law.read(name, [commented])
            assert outcome == law.read(name, single_bytes(commented))
            if isinstance(outcome.passed, bytes):
                assert outcome.passed.replace(comment, b"", 1) == whole.passed
            else:
                assert outcome == whole


@every_sse_subject
def test_data_may_stand_on_several_lines(subject: str) -> None:
    law = SUBJECTS[subject]
    name, stream = "text", law.complete["text"]
    spread = re.sub(rb'(?m)^data: ?(\{)(")', rb"data: \1\ndata:\2", stream)
    assert spread.count(b"\n") > stream.count(b"\n")
    outcome, whole = law.read(name, single_bytes(spread)), law.read(name, [stream])
    assert outcome.error is None
    if isinstance(outcome.passed, bytes):
        assert outcome.passed == spread
    else:
        assert outcome == whole
