"""Who may call what, how often, and what a refusal costs."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import KEY, NARROW_KEY, RATE_KEYS, RATE_LIMIT
from tests.e2e.gateway import GatewayProcess
from tests.e2e.talk import CHAT, HELLO, Answer, ask, chat
from tests.fake import FakeProvider, Script

PARALLEL = 50


@pytest.mark.parametrize("headers", [
    {"Authorization": f"Bearer {KEY}"},
    {"authorization": f"bearer {KEY}"},
    {"Authorization": f"Bearer   {KEY} "},
    {"X-Api-Key": KEY},
    {"Authorization": "Basic dXNlcjpwYXNz", "X-Api-Key": KEY},
])  # fmt: skip
def test_a_key_is_taken_from_either_header(gateway: GatewayProcess, headers: dict[str, str]) -> None:
    assert chat(gateway, "m", headers=headers).status == 200


@pytest.mark.parametrize(("headers", "code"), [
    ({}, "missing_api_key"),
    ({"Authorization": "Bearer "}, "missing_api_key"),
    ({"Authorization": f"Basic {KEY}"}, "missing_api_key"),
    ({"Authorization": KEY}, "missing_api_key"),
    ({"Authorization": f"Bearer {KEY}x"}, "invalid_api_key"),
    ({"Authorization": f"Bearer {KEY[:-1]}"}, "invalid_api_key"),
    ({"Authorization": f"Bearer {KEY.upper()}"}, "invalid_api_key"),
    ({"Authorization": "Bearer sk-wrong", "X-Api-Key": KEY}, "invalid_api_key"),
    ({"X-Api-Key": "\xff\xfe"}, "invalid_api_key"),
])  # fmt: skip
def test_no_key_or_a_wrong_one_is_a_401(
    gateway: GatewayProcess, fake: FakeProvider, headers: dict[str, str], code: str
) -> None:
    answer = chat(gateway, "m", headers=headers)
    assert answer.status == 401
    assert answer.error["code"] == code
    assert answer.error["type"] == "authentication_error"
    assert answer.headers["www-authenticate"] == "Bearer"
    assert not fake.requests("fake-model")


def test_a_wrong_key_is_refused_before_the_body_is_read(gateway: GatewayProcess) -> None:
    answer = ask(gateway, "POST", CHAT, b"not json at all", key="sk-nobody")
    assert answer.status == 401


@pytest.mark.parametrize(("model", "status"), [
    ("m", 200), ("rule-one", 200), ("by-tgi", 403), ("up/fake-model", 403), ("up:fake-model", 403), ("rule", 404),
])  # fmt: skip
def test_a_key_may_use_its_models_under_their_own_names_only(
    gateway: GatewayProcess, fake: FakeProvider, model: str, status: int
) -> None:
    answer = chat(gateway, model, key=NARROW_KEY)
    assert answer.status == status
    if status == 403:
        assert answer.error["param"] == "model"
        assert not fake.requests()


def test_of_fifty_requests_at_once_exactly_the_limit_passes(gateway: GatewayProcess, fake: FakeProvider) -> None:
    key = RATE_KEYS[1]
    with ThreadPoolExecutor(PARALLEL) as pool:
        answers = list(pool.map(lambda _: chat(gateway, "m", key=key), range(PARALLEL)))
    assert sorted(answer.status for answer in answers) == [200] * RATE_LIMIT + [429] * (PARALLEL - RATE_LIMIT)
    assert len(fake.requests("fake-model")) == RATE_LIMIT
    remaining = [int(a.headers["x-ratelimit-remaining-requests"]) for a in answers if a.status == 200]
    assert sorted(remaining) == list(range(RATE_LIMIT))


def test_requests_that_are_refused_or_wrong_consume_nothing(gateway: GatewayProcess, fake: FakeProvider) -> None:
    key = RATE_KEYS[2]
    before = chat(gateway, "m", key=key)
    for _ in range(RATE_LIMIT):
        assert ask(gateway, "POST", CHAT, b"{", key=key).status == 400
        assert ask(gateway, "POST", CHAT, {"messages": HELLO}, key=key).status == 400
        assert chat(gateway, "nonesuch", key=key).status == 404
        assert ask(gateway, "GET", CHAT, key=key).status == 405
        assert ask(gateway, "GET", "/v1/models", key=key).status == 200
    after = chat(gateway, "m", key=key)
    assert _remaining(after) == _remaining(before) - 1
    for _ in range(_remaining(after)):
        assert chat(gateway, "m", key=key).status == 200
    assert chat(gateway, "m", key=key).status == 429


def test_one_keys_limit_is_not_anothers(gateway: GatewayProcess) -> None:
    for _ in range(RATE_LIMIT):
        assert chat(gateway, "m", key=RATE_KEYS[3]).status == 200
    assert chat(gateway, "m", key=RATE_KEYS[3]).status == 429
    assert chat(gateway, "m", key=RATE_KEYS[4]).status == 200
    assert "x-ratelimit-limit-requests" not in chat(gateway, "m", key=KEY).headers


def test_retry_after_names_the_second_the_oldest_request_leaves(gateway: GatewayProcess) -> None:
    """The window is a minute: what is said must be right within a second of the first request's birthday."""
    key = RATE_KEYS[5]
    first_at = time.monotonic()
    assert chat(gateway, "m", key=key).status == 200
    time.sleep(1.5)
    for _ in range(RATE_LIMIT - 1):
        chat(gateway, "m", key=key)
    refused = chat(gateway, "m", key=key)
    waited_s = time.monotonic() - first_at
    assert refused.status == 429
    assert 60 - waited_s <= int(refused.headers["retry-after"]) <= 60 - waited_s + 2
    assert refused.error["type"] == "rate_limit_error"


def test_a_stream_is_limited_like_any_request(gateway: GatewayProcess, fake: FakeProvider) -> None:
    fake.script("fake-model", Script(text="hi"))
    answer = chat(gateway, "m", key=RATE_KEYS[4], stream=True)
    assert answer.headers["x-ratelimit-limit-requests"] == str(RATE_LIMIT)
    assert answer.headers["content-type"].startswith("text/event-stream")


def _remaining(answer: Answer) -> int:
    assert answer.status == 200
    return int(answer.headers["x-ratelimit-remaining-requests"])
