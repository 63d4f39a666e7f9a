"""How many calls a provider may have at once, and the line of those who wait."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchgear.core.errors import Overloaded, QueueTimeout
from switchgear.engine.slots import Slots


async def turns(count: int = 3) -> None:
    """Let everything that is ready run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_no_limit_is_no_limit() -> None:
    slots = Slots(0, 0, 0)
    for _ in range(1000):
        await slots.take()
    assert slots.taken == 1000
    slots.give_back()
    assert slots.taken == 999


async def test_who_waits_is_served_in_order() -> None:
    slots, served = Slots(2, 10, 5), list[int]()

    async def call(number: int) -> None:
        await slots.take()
        served.append(number)

    calls = [asyncio.create_task(call(number)) for number in range(5)]
    await turns()
    assert served == [0, 1]
    for count in (3, 4, 5):
        slots.give_back()
        await turns()
        assert served == list(range(count))
    assert slots.taken == 2
    await asyncio.gather(*calls)
    slots.give_back()
    slots.give_back()
    assert slots.taken == 0


async def test_a_newcomer_does_not_overtake_who_was_just_called() -> None:
    slots = Slots(1, 10, 5)
    await slots.take()
    waiting = asyncio.create_task(slots.take())
    await turns()
    slots.give_back()
    newcomer = asyncio.create_task(slots.take())
    await turns()
    assert waiting.done()
    assert not newcomer.done()
    slots.give_back()
    await newcomer
    assert slots.taken == 1


async def test_a_full_line_is_refused_at_once() -> None:
    slots = Slots(1, 2, 5)
    await slots.take()
    waiting = [asyncio.create_task(slots.take()) for _ in range(2)]
    await turns()
    with pytest.raises(Overloaded, match="All 1 slots are busy and 2 calls already wait"):
        await slots.take()
    for _ in waiting:
        slots.give_back()
    await asyncio.gather(*waiting)
    assert slots.taken == 1


async def test_without_a_line_nobody_waits() -> None:
    slots = Slots(1, 0, 5)
    await slots.take()
    with pytest.raises(Overloaded):
        await slots.take()


async def test_who_waits_too_long_leaves_the_line() -> None:
    slots = Slots(1, 1, 0.01)
    await slots.take()
    with pytest.raises(QueueTimeout, match=r"within 0\.01 s"):
        await slots.take()
    with pytest.raises(QueueTimeout):  # the line is empty again
        await slots.take()
    slots.give_back()
    await slots.take()
    assert slots.taken == 1


async def test_a_call_with_less_time_left_waits_no_longer_than_that() -> None:
    slots = Slots(1, 1, 60)
    await slots.take()
    with pytest.raises(QueueTimeout, match=r"within 0\.01 s"):
        await slots.take(0.01)
    assert slots.taken == 1


async def test_who_leaves_the_line_gives_up_no_slot() -> None:
    slots = Slots(1, 5, 5)
    await slots.take()
    first, second = (asyncio.create_task(slots.take()) for _ in range(2))
    await turns()
    first.cancel()
    await turns()
    assert first.cancelled()
    slots.give_back()
    await second
    assert slots.taken == 1


async def test_a_slot_handed_over_in_the_moment_of_leaving_is_handed_on() -> None:
    slots = Slots(1, 5, 5)
    await slots.take()
    first, second = (asyncio.create_task(slots.take()) for _ in range(2))
    await turns()
    slots.give_back()
    first.cancel()
    await turns()
    assert first.cancelled()
    assert second.done()
    assert slots.taken == 1


async def test_leaving_in_the_moment_a_slot_comes_back_is_just_leaving() -> None:
    slots = Slots(1, 5, 5)
    await slots.take()
    waiting = asyncio.create_task(slots.take())
    await turns()
    waiting.cancel()
    slots.give_back()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert slots.taken == 0


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3), st.integers(0, 3), st.lists(st.sampled_from(["take", "give", "leave", "turn"]), max_size=40))
def test_however_they_come_and_go_no_slot_is_lost_or_made(limit: int, queue: int, steps: list[str]) -> None:
    asyncio.run(come_and_go(limit, queue, steps))


async def come_and_go(limit: int, queue: int, steps: list[str]) -> None:
    slots, calls, held = Slots(limit, queue, 60), list[asyncio.Task[None]](), 0
    for step in steps:
        if step == "take":
            calls.append(asyncio.create_task(slots.take()))
        elif step == "leave" and calls:
            calls[len(calls) // 2].cancel()
        elif step == "give" and held:
            held -= 1
            slots.give_back()
        else:
            await turns(1)
        for call in [call for call in calls if call.done()]:
            calls.remove(call)
            if not call.cancelled() and call.exception() is None:
                held += 1
            elif not call.cancelled():
                assert isinstance(call.exception(), Overloaded)
        assert held <= slots.taken <= limit
    await turns()
    for call in calls:
        if call.done() and not call.cancelled() and call.exception() is None:
            held += 1
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert slots.taken == held
    for _ in range(held):
        slots.give_back()
    assert slots.taken == 0
    await slots.take()
