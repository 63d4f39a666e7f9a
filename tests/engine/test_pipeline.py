"""The one path: policies around it, targets tried in order, and the one end every call comes to."""

import asyncio
import itertools
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from switchgear.core.errors import (
    InvalidRequest,
    ModelNotFound,
    PermissionDenied,
    SwitchgearError,
    Unavailable,
    UpstreamError,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from switchgear.core.protocols import Call, Phase, Policy
from switchgear.core.settings import ModelSettings, TimeoutSettings
from switchgear.engine.attempt import Upstream
from switchgear.engine.pipeline import Pipeline
from switchgear.engine.routing import Router
from switchgear.engine.slots import Slots
from switchgear.engine.streaming import Stream
from switchgear.engine.transport import Transport
from switchgear.strategies import fallback
from switchgear.surfaces.openai import OpenAIChat
from tests.engine.rig import (
    PATIENT,
    PROMISED_CLOSE_S,
    PROMISED_DEADLINE_S,
    all_of,
    chat_body,
    chunks_of,
    ended,
    leaks,
    new_call,
    patient,
    pool_of,
    text_of,
    until,
    upstream_of,
)
from tests.fake import Accepted, FakeProvider, HeadersSent, Script, SocketClosed
from tests.fault import FaultProxy

FORMAT = OpenAIChat()


class Recorder:
    """A policy that writes down when it ran, and does in ``before`` what it is told."""

    def __init__(
        self, name: str, phase: Phase, log: list[str], act: Callable[[Call], Awaitable[None] | None] | None = None
    ) -> None:
        self.name = name
        self.phase = phase
        self._log = log
        self._act = act

    def before(self, call: Call) -> Awaitable[None] | None:
        self._log.append(f"+{self.name}")
        return self._act(call) if self._act else None

    def after(self, call: Call) -> None:
        self._log.append(f"-{self.name}")


def pipeline_of(
    transport: Transport,
    upstreams: dict[str, Upstream],
    targets: Sequence[str],
    *,
    policies: Sequence[Policy] = (),
    total_s: float = 40.0,
) -> Pipeline:
    """One that offers the model ``m`` at these targets."""
    return Pipeline(
        policies=policies,
        router=Router({"m": ModelSettings(targets=tuple(targets))}, upstreams, "", {}),
        upstreams=upstreams,
        transport=transport,
        strategy=fallback.order,
        total_s=total_s,
        known_models=lambda: ["up/other"],
    )


async def carried_out(pipeline: Pipeline, body: bytes, call: Call | None = None) -> bytes | Stream:
    """What the edge does with a call, its end included."""
    call = call or new_call()
    try:
        await pipeline.admit(call)
        result = await pipeline.run(call, FORMAT, body)
        if not isinstance(result, Stream):
            return result
        try:
            return await all_of(result)
        finally:
            result.close()
    except SwitchgearError as error:
        call.error = error
        raise
    finally:
        pipeline.finish(call)


@pytest.fixture
def pair(transport: Transport, fake: FakeProvider) -> dict[str, Upstream]:
    """Two providers at the fake; the models ``first`` and ``second`` tell them apart."""
    return {
        name: upstream_of("openai_compatible", fake.url, name, timeouts=patient(first_byte_s=0.3))
        for name in ("one", "two")
    }


TARGETS = ("one/first", "two/second")


# --- falling back ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "stream"),
    [(401, True), (429, True), (500, True)]
    + [(status, False) for status in (401, 402, 403, 404, 408, 409, 425, 429, 500, 502, 503, 504, 529)],
)
async def test_the_next_target_is_tried_after_a_status_that_is_not_the_requests_fault(
    transport: Transport, fake: FakeProvider, pair: dict[str, Upstream], status: int, stream: bool
) -> None:
    fake.script("first", Script(status=status))
    fake.script("second", Script(text="I can."))
    call = new_call()
    answer = await carried_out(pipeline_of(transport, pair, TARGETS), chat_body(stream=stream), call)
    assert isinstance(answer, bytes)
    assert b"I " in answer
    assert [request.model for request in fake.requests()] == ["first", "second"]
    assert (call.attempts, call.provider, call.error) == (2, "two", None)
    assert [(failure.provider, failure.status) for failure in call.failures] == [("one", status)]


@pytest.mark.parametrize(
    "script",
    [
        Script(hang_before_headers=True),
        Script(delay_before_first_byte_s=5),
        Script(raw_head=b"nonsense\r\n\r\n"),
        Script(cut_after_bytes=0),
        Script(cut_after_bytes=0, cut="reset"),
        Script(cut_after_bytes=5, cut="reset"),
        Script(header_flood_bytes=600_000),
        Script(gzip=True),
        Script(redirect_to="http://elsewhere.test"),
        Script(raw_frames=[b'data: {"error": {"message": "overloaded"}}\n\n']),
        Script(raw_frames=[b"data: nonsense\n\n"]),
        Script(never_ending_line_bytes=2_000_000),
    ],
    ids=[
        "no head", "no body", "no http", "closed", "reset", "reset later", "header flood", "gzip", "redirect",
        "error event", "nonsense", "endless line",
    ],
)  # fmt: skip
async def test_the_next_target_is_tried_after_any_failure_before_the_first_byte(
    transport: Transport, fake: FakeProvider, pair: dict[str, Upstream], script: Script
) -> None:
    fake.script("first", script)
    fake.script("second", Script(text="I can."))
    answer = await carried_out(pipeline_of(transport, pair, TARGETS), chat_body(stream=True))
    assert isinstance(answer, bytes)
    assert text_of(answer) == "I can."
    assert answer.endswith(b"data: [DONE]\n\n")
    await until(lambda: not transport._busy)


async def test_the_next_target_is_tried_where_nobody_listens(
    transport: Transport, fake: FakeProvider, closed_port: int
) -> None:
    upstreams = {
        "down": upstream_of("openai_compatible", f"http://127.0.0.1:{closed_port}", "down"),
        "up": upstream_of("openai_compatible", fake.url, "up"),
    }
    answer = await carried_out(pipeline_of(transport, upstreams, ("down/first", "up/second")), chat_body())
    assert b"You said" in answer if isinstance(answer, bytes) else False
    assert [request.model for request in fake.requests()] == ["second"]


async def test_the_next_target_is_tried_where_connecting_takes_too_long(
    transport: Transport, fake: FakeProvider, deaf_port: int
) -> None:
    upstreams = {
        "deaf": upstream_of("openai_compatible", f"http://127.0.0.1:{deaf_port}", timeouts=patient(connect_s=0.2)),
        "up": upstream_of("openai_compatible", fake.url, "up"),
    }
    assert await carried_out(pipeline_of(transport, upstreams, ("deaf/first", "up/second")), chat_body())


async def test_the_next_target_is_tried_where_the_line_is_full(
    transport: Transport, fake: FakeProvider, pair: dict[str, Upstream]
) -> None:
    full = Slots(1, 0, 1)
    await full.take()
    pair["one"].slots = full
    assert await carried_out(pipeline_of(transport, pair, TARGETS), chat_body())
    assert [request.model for request in fake.requests()] == ["second"]


async def test_the_next_target_may_speak_another_format(transport: Transport, fake: FakeProvider) -> None:
    upstreams = {
        "one": upstream_of("openai_compatible", fake.url, "one"),
        "two": upstream_of("ollama", fake.url, "two"),
        "three": upstream_of("tgi", fake.url, "three"),
    }
    fake.script("first", Script(status=503))
    fake.script("second", Script(status=429))
    fake.script("*", Script(text="Third."))
    pipeline = pipeline_of(transport, upstreams, (*TARGETS, "three/third"))
    answer = await carried_out(pipeline, chat_body(stream=True))
    assert isinstance(answer, bytes)
    assert text_of(answer) == "Third."


@pytest.mark.parametrize("status", [400, 413, 415, 422])
async def test_a_request_that_is_at_fault_is_not_tried_elsewhere(
    transport: Transport, fake: FakeProvider, pair: dict[str, Upstream], status: int
) -> None:
    fake.script("first", Script(status=status, error="Bad, bad."))
    with pytest.raises(UpstreamRejected, match="Bad, bad") as caught:
        await carried_out(pipeline_of(transport, pair, TARGETS), chat_body())
    assert caught.value.status == status
    assert [request.model for request in fake.requests()] == ["first"]


@pytest.mark.parametrize(
    "script",
    [
        Script(stream_error="overloaded"),
        Script(cut_after_bytes=400),
        Script(cut_after_bytes=400, cut="reset"),
        Script(omit_done=True, finish_reason=None, cut_after_bytes=600),
    ],
    ids=["error event", "closed", "reset", "no end"],
)
async def test_after_the_first_byte_nothing_is_tried_elsewhere(
    transport: Transport, fake: FakeProvider, pair: dict[str, Upstream], script: Script
) -> None:
    first = script.__class__(**{f: getattr(script, f) for f in script.__struct_fields__} | {"text": "One two three."})
    fake.script("first", first)
    call = new_call()
    answer = await carried_out(pipeline_of(transport, pair, TARGETS), chat_body(stream=True), call)
    assert isinstance(answer, bytes)
    assert "error" in chunks_of(answer)[-1]
    assert b"[DONE]" not in answer
    assert isinstance(call.error, UpstreamError)
    assert call.error.provider == "one"
    assert [request.model for request in fake.requests()] == ["first"]


async def test_the_last_failure_is_the_answer(
    transport: Transport, fake: FakeProvider, pair: dict[str, Upstream]
) -> None:
    fake.script("first", Script(status=503, error="Sleeping."))
    fake.script("second", Script(status=429, error="Slower.", headers={"Retry-After": "9"}))
    call = new_call()
    with pytest.raises(UpstreamRejected) as caught:
        await carried_out(pipeline_of(transport, pair, TARGETS), chat_body(), call)
    assert (caught.value.status, caught.value.message) == (429, "two: Slower.")
    assert caught.value.headers() == [(b"retry-after", b"9")]
    assert [failure.message for failure in call.failures] == ["one: Sleeping.", "two: Slower."]


async def test_each_target_is_tried_once(transport: Transport, fake: FakeProvider, pair: dict[str, Upstream]) -> None:
    fake.script("*", Script(status=500))
    with pytest.raises(UpstreamRejected):
        await carried_out(pipeline_of(transport, pair, TARGETS), chat_body())
    assert len(fake.requests()) == 2


async def test_a_model_without_targets_is_unavailable(transport: Transport, pair: dict[str, Upstream]) -> None:
    with pytest.raises(Unavailable, match="No provider can serve this model"):
        await carried_out(pipeline_of(transport, pair, ()), chat_body())


async def test_an_unknown_model_is_named_with_near_ones(transport: Transport, pair: dict[str, Upstream]) -> None:
    with pytest.raises(ModelNotFound, match="Did you mean 'up/other'"):
        await carried_out(pipeline_of(transport, pair, TARGETS), chat_body("up/othr"))


# --- deadlines ---------------------------------------------------------------------------------------------------


async def test_the_deadline_of_the_whole_call_spans_all_attempts(transport: Transport, fake: FakeProvider) -> None:
    fake.script("*", Script(hang_before_headers=True))
    upstreams = {
        name: upstream_of("openai_compatible", fake.url, name, timeouts=patient(first_byte_s=0.4, total_s=1.0))
        for name in ("one", "two", "three", "four", "five")
    }
    pipeline = pipeline_of(transport, upstreams, [f"{name}/{name}" for name in upstreams], total_s=1.0)
    began_s, call = time.monotonic(), new_call()
    with pytest.raises(UpstreamTimeout) as caught:
        await carried_out(pipeline, chat_body(), call)
    assert caught.value.deadline == "total"
    assert 0.99 <= time.monotonic() - began_s <= 1.0 + PROMISED_DEADLINE_S
    assert len(fake.requests()) < 5  # once the time is over nobody is asked any more
    assert {failure.status for failure in call.failures} == {504}


async def test_time_spent_in_policies_is_part_of_the_call(
    transport: Transport, fake: FakeProvider, pair: dict[str, Upstream]
) -> None:
    fake.script("*", Script(delay_before_headers_s=5))
    policy = Recorder("queue", Phase.QUEUE, [], lambda call: asyncio.sleep(0.3))
    began_s = time.monotonic()
    pair = {name: Upstream(upstream.provider, PATIENT, upstream.slots) for name, upstream in pair.items()}
    with pytest.raises(UpstreamTimeout) as caught:
        await carried_out(pipeline_of(transport, pair, TARGETS, policies=[policy], total_s=0.6), chat_body())
    assert caught.value.deadline == "total"
    assert 0.59 <= time.monotonic() - began_s <= 0.6 + PROMISED_DEADLINE_S


# --- policies ----------------------------------------------------------------------------------------------------


def three(log: list[str], act: Callable[[Call], Awaitable[None] | None] | None = None) -> list[Policy]:
    """Out of order on purpose; the one in the middle acts."""
    return [
        Recorder("pay", Phase.PAY, log),
        Recorder("watch", Phase.WATCH, log),
        Recorder("screen", Phase.SCREEN, log, act),
    ]


IN_AND_OUT = ["+watch", "+screen", "+pay", "-pay", "-screen", "-watch"]


@pytest.mark.parametrize(
    ("script", "succeeds"),
    [
        (Script(), True),
        (Script(status=400), False),
        (Script(status=500), False),
        (Script(hang_before_headers=True), False),
        (Script(cut_after_bytes=3), False),
    ],
    ids=["served", "400", "500", "timeout", "truncated"],
)
async def test_policies_finish_once_in_reverse_however_the_call_ends(
    transport: Transport, fake: FakeProvider, pair: dict[str, Upstream], script: Script, succeeds: bool
) -> None:
    fake.script("*", script)
    log: list[str] = []
    pipeline = pipeline_of(transport, pair, TARGETS, policies=three(log))
    try:
        await carried_out(pipeline, chat_body(stream=True))
        assert succeeds
    except SwitchgearError:
        assert not succeeds
    assert log == IN_AND_OUT


async def test_policies_finish_once_when_a_stream_fails(
    transport: Transport, fake: FakeProvider, pair: dict[str, Upstream]
) -> None:
    fake.script("*", Script(stream_error="died"))
    log: list[str] = []
    await carried_out(pipeline_of(transport, pair, TARGETS, policies=three(log)), chat_body(stream=True))
    assert log == IN_AND_OUT


Reached = Callable[[FakeProvider], Awaitable[Any]]


@pytest.mark.parametrize(
    ("script", "reached"),
    [
        (Script(hang_before_headers=True), lambda fake: fake.until(Accepted)),
        (Script(delay_before_first_byte_s=5), lambda fake: fake.until(HeadersSent)),
        (Script(chunks=["x "], repeat_chunks=10_000, delay_between_chunks_s=0.01),
         lambda fake: asyncio.wait_for(asyncio.sleep(0.1), 5)),
    ],
    ids=["before the head", "before the body", "in the body"],
)  # fmt: skip
async def test_policies_finish_once_when_the_client_leaves(
    transport: Transport, fake: FakeProvider, pair: dict[str, Upstream], script: Script, reached: Reached
) -> None:
    fake.script("*", script)
    log: list[str] = []
    pair = {name: Upstream(upstream.provider, PATIENT, Slots(1, 1, 1)) for name, upstream in pair.items()}
    pipeline = pipeline_of(transport, pair, TARGETS, policies=three(log))
    task = asyncio.ensure_future(carried_out(pipeline, chat_body(stream=True)))
    await reached(fake)
    left_s = time.monotonic()
    assert await ended(task) is None
    assert log == IN_AND_OUT
    assert (await fake.until(SocketClosed)).t - left_s <= PROMISED_CLOSE_S
    assert [request.model for request in fake.requests()] == ["first"]  # leaving is no reason to try elsewhere
    assert pair["one"].slots.taken == 0
    await until(lambda: not leaks(transport))
    assert pool_of(transport, fake.url).open_count == 0


async def test_policies_finish_once_when_the_client_leaves_in_a_policy(
    transport: Transport, fake: FakeProvider, pair: dict[str, Upstream]
) -> None:
    log: list[str] = []
    pipeline = pipeline_of(transport, pair, TARGETS, policies=three(log, lambda call: asyncio.sleep(30)))
    task = asyncio.ensure_future(carried_out(pipeline, chat_body()))
    await until(lambda: "+screen" in log)
    assert await ended(task) is None
    assert log == ["+watch", "+screen", "-screen", "-watch"]
    assert fake.requests() == []


async def test_a_refusal_stops_what_comes_after_it(
    transport: Transport, fake: FakeProvider, pair: dict[str, Upstream]
) -> None:
    def refuse(call: Call) -> None:
        raise PermissionDenied("Not you.")

    log: list[str] = []
    with pytest.raises(PermissionDenied, match="Not you"):
        await carried_out(pipeline_of(transport, pair, TARGETS, policies=three(log, refuse)), chat_body())
    assert log == ["+watch", "+screen", "-screen", "-watch"]
    assert fake.requests() == []


@pytest.mark.parametrize("broken", [ValueError, KeyError, OSError, TimeoutError, RecursionError, AssertionError])
@pytest.mark.parametrize("waits", [False, True])
async def test_a_policy_that_breaks_refuses(
    transport: Transport,
    fake: FakeProvider,
    pair: dict[str, Upstream],
    broken: type[Exception],
    waits: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def breaks(call: Call) -> None:
        raise broken("canary")

    async def breaks_later(call: Call) -> None:
        await asyncio.sleep(0)
        raise broken("canary")

    log: list[str] = []
    policies = three(log, breaks_later if waits else breaks)
    with pytest.raises(SwitchgearError) as caught:
        await carried_out(pipeline_of(transport, pair, TARGETS, policies=policies), chat_body())
    assert type(caught.value) is SwitchgearError
    assert caught.value.status == 500
    assert caught.value.message == "The policy 'screen' failed; the request was not sent."
    assert log == ["+watch", "+screen", "-screen", "-watch"]
    assert fake.requests() == []
    assert "policy screen failed for the call req_test" in caplog.text


async def test_a_policy_that_breaks_at_the_end_does_not_keep_the_others_from_theirs(
    transport: Transport, pair: dict[str, Upstream], caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Recorder):
        def after(self, call: Call) -> None:
            raise ValueError("broken")

    log: list[str] = []
    policies = [Recorder("watch", Phase.WATCH, log), Broken("broken", Phase.PAY, log), Recorder("q", Phase.QUEUE, log)]
    assert await carried_out(pipeline_of(transport, pair, TARGETS, policies=policies), chat_body())
    assert log == ["+watch", "+broken", "+q", "-q", "-watch"]
    assert "policy broken failed after the call req_test" in caplog.text


async def test_policies_that_need_only_the_headers_run_before_the_body_is_read(
    transport: Transport, pair: dict[str, Upstream]
) -> None:
    log: list[str] = []
    policies = [Recorder(phase.name, phase, log) for phase in reversed(Phase)]
    pipeline, call = pipeline_of(transport, pair, TARGETS, policies=policies), new_call()
    await pipeline.admit(call)
    assert log == ["+WATCH", "+ADMIT"]
    with pytest.raises(InvalidRequest):
        await pipeline.run(call, FORMAT, b"not json")
    pipeline.finish(call)
    assert log == ["+WATCH", "+ADMIT", "-ADMIT", "-WATCH"]


async def test_policies_run_once_however_many_targets_are_tried(
    transport: Transport, fake: FakeProvider, pair: dict[str, Upstream]
) -> None:
    fake.script("first", Script(status=500))
    log: list[str] = []
    await carried_out(pipeline_of(transport, pair, TARGETS, policies=three(log)), chat_body())
    assert log == IN_AND_OUT


async def test_a_policy_sees_the_request_and_what_came_of_it(
    transport: Transport, fake: FakeProvider, pair: dict[str, Upstream]
) -> None:
    seen: list[Any] = []

    class Watcher(Recorder):
        def after(self, call: Call) -> None:
            assert call.chat is not None
            assert call.target is not None
            seen.append((call.chat.model, str(call.target), call.model_label, call.attempts, call.usage is not None))

    policies = [Watcher("watch", Phase.WATCH, [])]
    await carried_out(pipeline_of(transport, pair, TARGETS, policies=policies), chat_body(stream=True))
    assert seen == [("m", "one/first", "m", 1, True)]


# --- many at once ------------------------------------------------------------------------------------------------


async def test_calls_that_end_in_every_way_leave_nothing(
    transport: Transport, fake: FakeProvider, proxy: FaultProxy
) -> None:
    scripts = [
        Script(),
        Script(status=503),
        Script(cut_after_bytes=200, cut="reset"),
        Script(stream_error="died"),
        Script(hang_before_headers=True),
        Script(chunks=["x "], repeat_chunks=2000, delay_between_chunks_s=0.01),
    ]
    for number, script in enumerate(scripts):
        fake.script(f"model-{number}", script)
    hasty = TimeoutSettings(connect_s=5, first_byte_s=0.3, between_chunks_s=5, total_s=0.6)
    slots = Slots(10, 100, 30)
    upstreams = {"up": upstream_of("openai_compatible", proxy.url, "up", timeouts=hasty, slots=slots)}
    pipeline = Pipeline(
        policies=[],
        router=Router({}, upstreams, "up", {}),
        upstreams=upstreams,
        transport=transport,
        strategy=fallback.order,
        total_s=20,
        known_models=tuple,
    )
    ends: list[object] = []

    async def one(number: int) -> None:
        task = asyncio.ensure_future(carried_out(pipeline, chat_body(f"model-{number % 6}", stream=number % 2 == 0)))
        if number % 7 == 0:
            await asyncio.sleep(0.05)
            ends.append(await ended(task))
            return
        try:
            ends.append(await task)
        except SwitchgearError as error:
            ends.append(error)

    await asyncio.gather(*itertools.starmap(one, ((number,) for number in range(60))))
    assert len(ends) == 60
    assert not [end for end in ends if isinstance(end, BaseException) and not isinstance(end, SwitchgearError)]
    assert slots.taken == 0
    await until(lambda: not transport._busy)
    assert pool_of(transport, proxy.url).open_count == len(pool_of(transport, proxy.url).idle)


async def test_a_whole_answer_is_json_of_the_clients_format(
    transport: Transport, fake: FakeProvider, pair: dict[str, Upstream]
) -> None:
    answer = await carried_out(pipeline_of(transport, pair, TARGETS), chat_body())
    assert isinstance(answer, bytes)
    assert json.loads(answer)["choices"][0]["message"]["content"] == "You said: hello"


async def test_a_transport_that_is_closed_refuses_calls(
    transport: Transport, fake: FakeProvider, pair: dict[str, Upstream]
) -> None:
    await transport.close()
    with pytest.raises(UpstreamUnavailable, match="shutting down"):
        await carried_out(pipeline_of(transport, pair, TARGETS), chat_body())
