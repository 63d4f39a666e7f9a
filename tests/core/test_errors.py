"""The tree of errors is the tree that is drawn, and each says what HTTP needs."""

import inspect
import re
from itertools import pairwise

import pytest

from switchgear.core import errors
from switchgear.core.errors import (
    CallerError,
    ConfigError,
    InvalidRequest,
    MethodNotAllowed,
    ModelNotFound,
    Overloaded,
    QueueTimeout,
    RateLimited,
    SwitchgearError,
    Unauthenticated,
    Unavailable,
    UpstreamError,
    UpstreamInvalid,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamTruncated,
    UpstreamUnavailable,
)

CLASSES = {
    name: kind for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, SwitchgearError)
}
DRAWN = [
    (len(match[1]), match[2], int(match[3]) if match[3] else None)
    for match in re.finditer(r"(?m)^([ │├└─]*)([A-Z]\w+)(?: +(\d{3})\b)?", str(errors.__doc__))
    if match[2] in CLASSES
]


def test_every_error_is_drawn() -> None:
    assert sorted(name for _, name, _ in DRAWN) == sorted(CLASSES)


def test_the_drawing_shows_who_comes_from_whom() -> None:
    above: list[tuple[int, str]] = []
    for indent, name, _ in DRAWN:
        while above and above[-1][0] >= indent:
            above.pop()
        parent = CLASSES[above[-1][1]] if above else Exception
        assert CLASSES[name].__bases__ == (parent,)
        above.append((indent, name))


def test_the_drawing_shows_each_status() -> None:
    assert all(CLASSES[name].status == status for _, name, status in DRAWN if status is not None)


def test_every_docstring_that_names_a_status_is_right() -> None:
    for kind in CLASSES.values():
        said = re.match(r"(\d{3}):", kind.__doc__ or "")
        assert said is None or int(said[1]) == kind.status


def test_only_what_another_target_may_answer_is_retryable() -> None:
    assert not any(kind.retryable for kind in CLASSES.values() if issubclass(kind, CallerError))
    assert all(kind.retryable for kind in CLASSES.values() if issubclass(kind, UpstreamError))
    assert (Overloaded.retryable, QueueTimeout.retryable, Unavailable.retryable) == (True, True, False)


def test_an_error_keeps_what_it_was_given() -> None:
    error = InvalidRequest("bad", param="n", code="invalid_value")
    assert (error.message, str(error), error.param, error.code) == ("bad", "bad", "n", "invalid_value")
    assert (error.provider, error.headers()) == (None, [])
    assert InvalidRequest.code is None


@pytest.mark.parametrize(
    ("error", "headers"),
    [
        (Unauthenticated("no"), [(b"www-authenticate", b"Bearer")]),
        (MethodNotAllowed("GET", ["POST", "PUT"]), [(b"allow", b"POST, PUT")]),
        (Overloaded("full"), [(b"retry-after", b"1")]),
        (Unavailable("going"), [(b"retry-after", b"1")]),
        (UpstreamRejected(429, "no", retry_after="7"), [(b"retry-after", b"7")]),
        (UpstreamRejected(429, "no"), []),
        (UpstreamInvalid("no"), []),
    ],
)
def test_headers_say_what_to_do(error: SwitchgearError, headers: list[tuple[bytes, bytes]]) -> None:
    assert error.headers() == headers


@pytest.mark.parametrize(
    ("wait_s", "said"), [(0, b"1"), (0.2, b"1"), (1, b"1"), (1.001, b"2"), (59.5, b"60"), (60, b"60")]
)
def test_retry_after_is_whole_seconds_never_too_few(wait_s: float, said: bytes) -> None:
    error = RateLimited("wait", retry_after_s=wait_s, limit_headers=[(b"x-ratelimit-limit-requests", b"5")])
    assert error.headers() == [(b"retry-after", said), (b"x-ratelimit-limit-requests", b"5")]


def test_a_missing_model_comes_with_near_names() -> None:
    error = ModelNotFound("gpt4", ["gpt-4", "gpt-4o"])
    assert error.near == ("gpt-4", "gpt-4o")
    assert "Did you mean 'gpt-4' or 'gpt-4o'?" in error.message
    assert "Did you mean" not in ModelNotFound("gpt4").message
    assert (error.status, error.param, error.code) == (404, "model", "model_not_found")


def test_a_long_model_name_is_not_echoed_in_full() -> None:
    assert len(ModelNotFound("x" * 100_000).message) < 300


def test_method_not_allowed_says_what_is() -> None:
    assert MethodNotAllowed("GET", ["POST"]).message == "GET is not allowed here; use POST."


@pytest.mark.parametrize(
    ("status", "kept", "code", "kind", "moves_on"),
    [
        (400, 400, "upstream_error", "invalid_request_error", False),
        (401, 401, "invalid_api_key", "authentication_error", True),
        (403, 403, "upstream_error", "permission_error", True),
        (404, 404, "not_found", "not_found_error", True),
        (413, 413, "upstream_error", None, False),
        (422, 422, "upstream_error", None, False),
        (429, 429, "rate_limit_exceeded", "rate_limit_error", True),
        (500, 500, "upstream_error", None, True),
        (529, 529, "upstream_error", None, True),
        (200, 502, "upstream_error", None, True),
        (600, 502, "upstream_error", None, True),
    ],
)
def test_a_rejection_keeps_the_providers_status(
    status: int, kept: int, code: str, kind: str | None, moves_on: bool
) -> None:
    error = UpstreamRejected(status, "no")
    assert (error.status, error.code, error.upstream_type, error.moves_on) == (kept, code, kind, moves_on)
    assert error.kind == f"http_{status}"


def test_the_providers_own_words_win() -> None:
    error = UpstreamRejected(429, "no", upstream_code="c", upstream_type="t", param="p")
    assert (error.code, error.upstream_type, error.param) == ("c", "t", "p")


def test_a_retry_after_that_is_not_latin_does_no_harm() -> None:
    assert UpstreamRejected(429, "no", retry_after="5€").headers() == [(b"retry-after", b"5")]


@pytest.mark.parametrize("deadline", ["connect", "first_byte", "between_chunks", "total"])
def test_a_timeout_names_its_deadline_and_its_setting(deadline: str) -> None:
    error = UpstreamTimeout(deadline, 2.5)
    assert f"within 2.5 s (timeouts.{deadline}_s)" in error.message
    assert (error.deadline, error.kind, error.status) == (deadline, f"timeout_{deadline}", 504)


def test_kinds_for_metrics_differ() -> None:
    kinds = [UpstreamUnavailable.kind, UpstreamInvalid.kind, UpstreamTruncated.kind, UpstreamTimeout.kind]
    assert all(one != other for one, other in pairwise(sorted(kinds)))


def test_every_problem_of_the_settings_is_kept() -> None:
    error = ConfigError(["one", "two"])
    assert error.problems == ("one", "two")
    assert str(error) == "one\ntwo"
