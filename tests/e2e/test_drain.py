"""Guarantee 15, short: SIGTERM under live streams, in one worker and in two."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.e2e.gateway import GatewayProcess
from tests.e2e.talk import Wire, ask, chat, payloads, request_bytes, text_of, the_one_error, unchunked
from tests.fake import FakeProvider, Script

STREAMS = 50
CHUNKS = 8
PAUSE_S = 0.15
EXIT_WITHIN_S = 1.0
TICKING = Script(chunks=["tick "], repeat_chunks=CHUNKS, delay_between_chunks_s=PAUSE_S)


def config(fake: FakeProvider, **server: Any) -> dict[str, Any]:
    up = {"kind": "openai_compatible", "base_url": f"{fake.url}/v1", "models": ["m", "ticking", "endless"]}
    return {"server": server, "providers": {"up": up, "ollama": {"base_url": fake.url, "discover": False}}}


def open_streams(gateway: GatewayProcess, model: str, count: int) -> list[Wire]:
    streams = [Wire(gateway, timeout_s=20) for _ in range(count)]
    for stream in streams:
        stream.send(request_bytes({"model": model, "stream": True}))
    return streams


def read_rests(streams: list[Wire]) -> list[tuple[bytes, float]]:
    """What is left of each stream, to the end of its body, and when that came."""

    def one(stream: Wire) -> tuple[bytes, float]:
        try:
            return stream.read_until(b"\r\n0\r\n\r\n"), time.monotonic()
        finally:
            stream.leave()

    with ThreadPoolExecutor(len(streams)) as pool:
        return list(pool.map(one, streams))


def statuses(gateway: GatewayProcess, path: str = "/health/ready") -> Iterator[int]:
    """The status of a page, again and again, until nobody answers any more."""
    while True:
        try:
            yield ask(gateway, "GET", path, timeout_s=5).status
        except OSError:
            return


@pytest.mark.parametrize("workers", [1, 2])
def test_live_streams_finish_and_the_process_ends_with_the_last(fake: FakeProvider, workers: int) -> None:
    fake.script("ticking", TICKING)
    with GatewayProcess(config(fake, workers=workers, drain_timeout_s=30)) as gateway:
        assert len(gateway.worker_pids()) == workers
        time.sleep(0.2)
        streams = open_streams(gateway, "up/ticking", STREAMS)
        fake.wait_for(lambda entry: getattr(entry, "model", "") == "ticking", count=STREAMS)
        gateway.terminate()
        time.sleep(0.2)
        # Readiness says no at once, though connections are still accepted; so do new calls.
        assert ask(gateway, "GET", "/health/ready").status == 503
        assert ask(gateway, "GET", "/ready").json == {"status": "draining"}
        assert ask(gateway, "GET", "/health/live").status == 200
        refused = chat(gateway, "up/m")
        assert refused.status == 503
        assert refused.error["code"] == "service_unavailable"
        assert refused.headers["retry-after"] == "1"
        rests = read_rests(streams)
        code = gateway.wait(10)
        ended_at = time.monotonic()
        for rest, _ in rests:
            said = payloads(unchunked(rest))
            assert text_of(said) == "tick " * CHUNKS
            assert said[-1] == "[DONE]"
        assert ended_at - max(at for _, at in rests) <= EXIT_WITHIN_S
        assert code == 0
        assert {entry.outcome for entry in fake.finished("ticking")} == {"complete"}


def test_an_idle_process_ends_at_once(fake: FakeProvider) -> None:
    with GatewayProcess(config(fake)) as gateway:
        idle = Wire(gateway)  # a kept-alive connection holds nothing up
        chat(gateway, "up/m")
        gateway.terminate()
        asked_at = time.monotonic()
        assert gateway.wait(10) == 0
        assert time.monotonic() - asked_at <= EXIT_WITHIN_S
        idle.leave()


@pytest.mark.parametrize("provider", ["up", "ollama"])
def test_past_the_deadline_each_stream_gets_one_error(fake: FakeProvider, provider: str) -> None:
    endless = Script(chunks=["tick "], repeat_chunks=10_000, delay_between_chunks_s=0.05)
    fake.script("endless", endless)
    with GatewayProcess(config(fake, drain_timeout_s=0.5)) as gateway:
        streams = open_streams(gateway, f"{provider}/endless", 10)
        for stream in streams:
            stream.read_until(b"tick")
        gateway.terminate()
        asked_at = time.monotonic()
        rests = [b"HTTP/1.1 200 OK\r\n\r\n" + rest for rest, _ in read_rests(streams)]
        assert gateway.wait(10) == 0
        assert time.monotonic() - asked_at <= 0.5 + 2 * EXIT_WITHIN_S
    for rest in rests:
        assert rest.count(b'"error"') == 1
        assert b"service_unavailable" in rest
        assert b"[DONE]" not in rest
    fake.wait_for(lambda entry: getattr(entry, "outcome", "") == "abandoned", count=10)


def test_past_the_deadline_a_call_without_an_answer_gets_a_503(fake: FakeProvider) -> None:
    fake.script("endless", Script(hang_before_headers=True))
    with GatewayProcess(config(fake, drain_timeout_s=0.3)) as gateway, ThreadPoolExecutor(2) as pool:
        whole = pool.submit(chat, gateway, "up/endless")
        streamed = pool.submit(chat, gateway, "up/endless", stream=True)
        fake.wait_for(lambda entry: getattr(entry, "model", "") == "endless", count=2)
        gateway.terminate()
        for answer in (whole.result(10), streamed.result(10)):
            assert answer.status == 503
            assert answer.error["code"] == "service_unavailable"


def test_a_stream_kept_alive_by_comments_gets_its_error_in_band(fake: FakeProvider) -> None:
    fake.script("endless", Script(hang_before_headers=True))
    with GatewayProcess(config(fake, drain_timeout_s=0.3, keepalive_s=0.1)) as gateway:
        (stream,) = open_streams(gateway, "up/endless", 1)
        head = stream.read_until(b": keep-alive")
        gateway.terminate()
        ((rest, _),) = read_rests([stream])
    assert the_one_error(unchunked(head + rest))["code"] == "service_unavailable"


def test_new_calls_are_served_until_the_pre_drain_window_is_over(fake: FakeProvider) -> None:
    with GatewayProcess(config(fake, pre_drain_s=0.8)) as gateway:
        gateway.terminate()
        asked_at = time.monotonic()
        time.sleep(0.1)
        assert ask(gateway, "GET", "/health/ready").status == 503
        assert chat(gateway, "up/m").status == 200
        assert set(statuses(gateway)) == {503}
        assert 0.7 <= time.monotonic() - asked_at < 0.8 + EXIT_WITHIN_S


def test_a_second_sigterm_changes_nothing(fake: FakeProvider) -> None:
    fake.script("ticking", Script(chunks=["tick "], repeat_chunks=8, delay_between_chunks_s=0.06))
    with GatewayProcess(config(fake)) as gateway:
        (stream,) = open_streams(gateway, "up/ticking", 1)
        stream.read_until(b"tick")
        for _ in range(3):
            gateway.terminate()
            time.sleep(0.05)
        ((rest, _),) = read_rests([stream])
        assert b"[DONE]" in rest
        assert gateway.wait(10) == 0


def test_the_log_is_whole_after_a_drain(fake: FakeProvider) -> None:
    with GatewayProcess(config(fake)) as gateway:
        for number in range(20):
            chat(gateway, "up/m", headers={"X-Request-ID": f"last-{number}"})
        gateway.terminate()
        gateway.wait(10)
        logged = {record["request_id"] for record in gateway.log_records()}
        assert {f"last-{number}" for number in range(20)} <= logged
