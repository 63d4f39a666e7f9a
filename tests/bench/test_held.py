"""Memory per open stream."""

from pathlib import Path

from switchgear.bench import gateway, held


def test_the_slope_leaves_out_what_the_first_batch_allocated() -> None:
    assert held.slope([(100, 50_000), (200, 52_000), (500, 62_000)]) == 30.0


def test_one_batch_is_no_slope() -> None:
    assert held.slope([(100, 50_000)]) is None
    assert held.slope([]) is None


def test_a_request_is_whole() -> None:
    place = gateway.Place(folder=Path(), port=4000, upstream_port=5000)
    head, _, body = held.request_bytes(gateway.own("1"), place).partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert b"[held]" in body
