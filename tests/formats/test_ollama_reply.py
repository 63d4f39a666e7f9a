"""What Ollama answers: replies whole and in lines, errors, models."""

from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchgear.core.errors import UpstreamInvalid, UpstreamRejected, UpstreamTruncated
from switchgear.core.fold import fold
from switchgear.core.types import Event, Finished, LogprobsDelta, Reply, TextDelta, ToolCallDelta
from switchgear.formats import ollama_reply
from tests.golden import GOLDEN, check_golden, pretty

DIRECTORY = GOLDEN / "ollama"
REPLIES = sorted(path.name.removesuffix(".stream.txt") for path in DIRECTORY.glob("*.stream.txt"))


def stream_of(name: str) -> bytes:
    return (DIRECTORY / f"{name}.stream.txt").read_bytes()


def reply_of(name: str) -> bytes:
    return (DIRECTORY / f"{name}.reply.json").read_bytes()


def events_of(chunks: Iterable[bytes]) -> list[Event]:
    reader = ollama_reply.StreamReader()
    events = [event for chunk in chunks for event in reader.feed(chunk)]
    return [*events, *reader.close()]


def streamed(*chunks: bytes) -> Reply:
    return fold(events_of(chunks))


@pytest.mark.parametrize("name", REPLIES)
def test_a_reply_reads_as_its_golden_file_says(name: str) -> None:
    check_golden(DIRECTORY / f"{name}.canonical.json", pretty(ollama_reply.read_reply(reply_of(name))))


@pytest.mark.parametrize("name", REPLIES)
def test_a_folded_stream_is_the_whole_reply(name: str) -> None:
    assert streamed(stream_of(name)) == ollama_reply.read_reply(reply_of(name))


@pytest.mark.parametrize("name", REPLIES)
def test_every_cut_in_two_and_every_byte_alone_read_the_same(name: str) -> None:
    stream = stream_of(name)
    events = events_of([stream])
    assert events_of(stream[i : i + 1] for i in range(len(stream))) == events
    for at in range(len(stream)):
        assert events_of([stream[:at], stream[at:]]) == events


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
            ollama_reply.read_reply(reply[:length])


def test_the_text_before_an_error_line_still_comes_out() -> None:
    events = ollama_reply.StreamReader().feed(b'{"message":{"content":"Hi"},"done":false}\n{"error":"out of memory"}\n')
    next(events)
    assert next(events) == TextDelta(text="Hi")
    with pytest.raises(UpstreamRejected, match="out of memory") as rejected:
        next(events)
    assert rejected.value.status == 500


def test_a_reply_of_status_200_that_says_error_is_an_error() -> None:
    with pytest.raises(UpstreamRejected, match="no"):
        ollama_reply.read_reply(b'{"error":"no"}')


@pytest.mark.parametrize(
    "line",
    [
        b"nonsense", b"[]", b"{}", b'{"done":true}', b'{"message":{"content":7}}', b'{"message":{"content":"\xff"}}',
        b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}}', b"[" * 100_000,
        b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":{"a":"\xff"}}}]}}',
        b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":' + b'{"a":' * 9000 + b"1" + b"}" * 9003,
    ],
)  # fmt: skip
def test_a_line_that_is_no_chat_response_is_invalid(line: bytes) -> None:
    with pytest.raises(UpstreamInvalid):
        events_of([line + b"\n"])


def test_a_reply_that_is_not_done_is_invalid() -> None:
    with pytest.raises(UpstreamInvalid, match="done"):
        ollama_reply.read_reply(b'{"message":{"content":"Hi"},"done":false}')


def test_nothing_is_read_after_the_end() -> None:
    stream = stream_of("text")
    assert streamed(stream + b'{"error":"late"}\nhalf a li') == streamed(stream)


def test_calls_without_ids_get_ids_of_their_own() -> None:
    call = '{"function":{"name":"f","arguments":{}}}'
    line = f'{{"created_at":"2026-11-01T12:00:00Z","message":{{"tool_calls":[{call},{call}]}},"done":true}}\n'
    ids = [event.id for event in events_of([line.encode()]) if isinstance(event, ToolCallDelta)]
    later = line.replace(":00Z", ":01Z")
    ids += [event.id for event in events_of([later.encode()]) if isinstance(event, ToolCallDelta)]
    assert len(set(ids)) == 4
    assert all(str(call_id).startswith("call_") for call_id in ids)


def test_a_call_cut_off_by_the_limit_finishes_for_length() -> None:
    line = b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":{}}}]},"done":true,"done_reason":"length"}\n'
    assert Finished(reason="length") in events_of([line])


def test_log_probabilities_come_in_openais_shape() -> None:
    (event,) = [event for event in events_of([stream_of("logprobs")]) if isinstance(event, LogprobsDelta)]
    said = msgspec.json.decode(event.logprobs)
    assert said["refusal"] is None
    assert said["content"][0]["token"] == "Hi"
    assert said["content"][0]["top_logprobs"][1] == {"token": "Yo", "logprob": -1.5, "bytes": None}


# --- errors and models -------------------------------------------------------------------------------------------


def test_an_error_keeps_its_status_its_words_and_when_to_come_back() -> None:
    error = ollama_reply.read_error(503, {"retry-after": "7"}, b'{"error":"server busy"}')
    assert (error.status, error.message, error.retry_after) == (503, "server busy", "7")


def test_an_absent_model_has_openais_code() -> None:
    assert ollama_reply.read_error(404, {}, b'{"error":"model \'x\' not found"}').code == "model_not_found"


@pytest.mark.parametrize(
    ("body", "message"),
    [(b"busy", "busy"), (b"", "The provider answered 502."), (b"<html>", "The provider answered 502.")],
)
def test_an_error_that_is_not_json_is_still_read(body: bytes, message: str) -> None:
    assert ollama_reply.read_error(502, {}, body).message == message


def test_models_are_listed_with_what_they_can_do() -> None:
    (model,) = ollama_reply.read_models(
        b'{"models":[{"name":"qwen3:8b","model":"qwen3:8b","modified_at":"2026-11-01T12:00:00.123456789-07:00",'
        b'"details":{"family":"qwen3","context_length":40960},"capabilities":["completion","tools","thinking"]},{}]}'
    )
    assert (model.id, model.owned_by, model.created_s) == ("qwen3:8b", "ollama", 1793559600)
    assert model.context_window_tokens == 40960
    assert model.capabilities == ["completion", "tools", "thinking"]


def test_a_model_of_an_older_server_has_a_name_and_no_more() -> None:
    (model,) = ollama_reply.read_models(b'{"models":[{"name":"a","modified_at":"never"}]}')
    assert (model.id, model.created_s, model.capabilities) == ("a", 0, [])


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"models":[1]}'])
def test_a_model_list_that_is_none_is_invalid(body: bytes) -> None:
    with pytest.raises(UpstreamInvalid):
        ollama_reply.read_models(body)
