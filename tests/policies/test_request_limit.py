"""Requests per minute of a key: no minute ever admits more, and a refused request consumes nothing."""

from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from switchgear.core.errors import RateLimited
from switchgear.policies.request_limit import WINDOW_S, RequestLimit, Window
from tests.policies.calls import a_call, a_key

STEPS = st.lists(st.one_of(st.just(0.0), st.floats(0, 3), st.floats(0, 90), st.just(60.0), st.just(1.0)), max_size=60)


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 5), STEPS, st.floats(0, 1))
@example(1, [0.0, 60.0, 0.0, 1.0], 0.0)
@example(2, [0.0, 59.999, 0.0, 1.0, 0.0], 0.5)
def test_no_sixty_seconds_admit_more_than_the_limit(limit: int, steps: list[float], start_s: float) -> None:
    window, now_s, admitted = Window(limit), start_s, list[float]()
    for step_s in steps:
        now_s += step_s
        if window.take(now_s):
            admitted.append(now_s)
    for first, beyond in zip(admitted, admitted[limit:], strict=False):
        assert beyond - first > WINDOW_S


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 5), STEPS)
def test_a_request_is_refused_only_while_the_minute_is_full(limit: int, steps: list[float]) -> None:
    window, now_s, admitted = Window(limit), 0.0, list[float]()
    for step_s in steps:
        now_s += step_s
        recent = sum(when > now_s - WINDOW_S - 1 for when in admitted)
        taken = window.take(now_s)
        assert taken or recent >= limit
        assert window.remaining >= 0
        if taken:
            admitted.append(now_s)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 4), STEPS)
def test_a_refused_request_may_come_back_when_it_was_told(limit: int, steps: list[float]) -> None:
    window, now_s = Window(limit), 0.0
    for step_s in steps:
        now_s += step_s
        if not window.take(now_s):
            wait_s = window.frees_in_s(now_s)
            assert 0 < wait_s <= WINDOW_S + 1
            assert not window.take(now_s + wait_s - 0.01)
            now_s += wait_s
            assert window.take(now_s)


def test_a_window_holds_at_most_a_minute_of_seconds() -> None:
    window = Window(10**9)
    for tenth in range(3000):
        assert window.take(tenth / 10)
    assert len(window._seconds) <= WINDOW_S + 1
    assert window.limit - window.remaining <= (WINDOW_S + 1) * 10


def test_an_empty_window_frees_nothing() -> None:
    assert Window(1).frees_in_s(5.0) == 0.0


def test_each_key_has_its_own_limit() -> None:
    clock = Clock()
    ann, ben, cat = a_key("ann", requests_per_minute=1), a_key("ben", requests_per_minute=2), a_key("cat")
    policy = RequestLimit([ann, ben, cat], clock)
    admitted: Counter[str] = Counter()
    for key in (ann, ben, cat) * 4:
        try:
            policy.before(a_call(key=key))
            admitted[key.name] += 1
        except RateLimited:
            pass
    assert admitted == {"ann": 1, "ben": 2, "cat": 4}


def test_a_caller_without_a_key_has_no_limit() -> None:
    policy = RequestLimit([a_key("ann", requests_per_minute=1)], Clock())
    for _ in range(5):
        call = a_call()
        policy.before(call)
        assert call.reply_headers == []


def test_a_reply_says_how_much_is_left() -> None:
    clock, key = Clock(), a_key("ann", requests_per_minute=3)
    policy, call = RequestLimit([key], clock), a_call(key=key)
    policy.before(call)
    assert call.reply_headers == [
        (b"x-ratelimit-limit-requests", b"3"),
        (b"x-ratelimit-remaining-requests", b"2"),
        (b"x-ratelimit-reset-requests", b"61s"),
    ]
    policy.after(call)
    clock.now_s += 30.5
    later = a_call(key=key)
    policy.before(later)
    assert later.reply_headers[1:] == [
        (b"x-ratelimit-remaining-requests", b"1"),
        (b"x-ratelimit-reset-requests", b"31s"),
    ]


def test_a_refusal_says_when_to_come_back_and_consumes_nothing() -> None:
    clock, key = Clock(), a_key("ann", requests_per_minute=1)
    policy = RequestLimit([key], clock)
    policy.before(a_call(key=key))
    clock.now_s += 10.4
    for _ in range(3):
        call = a_call(key=key)
        with pytest.raises(RateLimited) as refused:
            policy.before(call)
        assert call.reply_headers == []
    assert refused.value.status == 429
    assert "'ann' has used its 1 requests per minute" in refused.value.message
    assert "sk-ann" not in refused.value.message
    assert dict(refused.value.headers()) == {
        b"retry-after": b"51",
        b"x-ratelimit-limit-requests": b"1",
        b"x-ratelimit-remaining-requests": b"0",
        b"x-ratelimit-reset-requests": b"51s",
    }
    clock.now_s += 51
    policy.before(a_call(key=key))


def test_a_limit_of_none_admits_none() -> None:
    key = a_key("ann", requests_per_minute=0)
    with pytest.raises(RateLimited) as refused:
        RequestLimit([key], Clock()).before(a_call(key=key))
    assert dict(refused.value.headers())[b"retry-after"] == b"1"


def test_the_clock_is_monotonic_unless_another_is_given() -> None:
    key = a_key("ann", requests_per_minute=1)
    policy = RequestLimit([key])
    policy.before(a_call(key=key))
    with pytest.raises(RateLimited):
        policy.before(a_call(key=key))
