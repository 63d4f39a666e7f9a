"""Newline-delimited JSON, cut anywhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchgear.core.errors import UpstreamInvalid, UpstreamTruncated
from switchgear.formats.ndjson import NdjsonReader
from switchgear.formats.sse import MAX_LINE_BYTES


def read(chunks: list[bytes]) -> list[bytes]:
    reader = NdjsonReader()
    lines = [line for chunk in chunks for line in reader.feed(chunk)]
    reader.close()
    return lines


def test_a_line_ends_at_a_line_feed_and_loses_its_carriage_return() -> None:
    assert read([b'{"a":1}\n{"b":2}\r\n']) == [b'{"a":1}', b'{"b":2}']


def test_blank_lines_are_skipped() -> None:
    assert read([b"\n\r\n  \n1\n\n"]) == [b"1"]


def test_an_unfinished_line_is_truncation_even_if_it_would_parse() -> None:
    with pytest.raises(UpstreamTruncated):
        read([b'{"a":1}\n{"b":2}'])


def test_no_bytes_are_no_lines() -> None:
    assert read([]) == read([b""]) == []


@given(st.lists(st.sampled_from([b"{}", b'{"x":"\xc3\xa9"}', b"", b"\r"])), st.data())
def test_every_chunking_reads_the_same(lines: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert read(pieces) == read([stream])


def test_a_line_may_be_as_long_as_the_bound_and_no_longer() -> None:
    longest = b"x" * MAX_LINE_BYTES
    assert read([longest + b"\n"]) == read([longest, b"\n"]) == [longest]
    for chunks in ([longest + b"x\n"], [longest, b"x", b"\n"]):
        with pytest.raises(UpstreamInvalid, match="more than 1048576 bytes"):
            read(chunks)


def test_the_lines_before_one_that_is_too_long_still_come_out() -> None:
    lines = NdjsonReader().feed(b"1\n" + b"x" * (MAX_LINE_BYTES + 1))
    assert next(lines) == b"1"
    with pytest.raises(UpstreamInvalid):
        next(lines)
