"""What Prometheus scrapes."""

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from switchgear.core.errors import (
    InvalidRequest,
    Overloaded,
    RateLimited,
    SwitchgearError,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamTruncated,
)
from switchgear.core.protocols import Call
from switchgear.core.types import Usage
from switchgear.policies import metrics
from switchgear.policies.metrics import OTHER, Metrics
from tests.policies.calls import a_call, an_answered_call


class Watched:
    """Metrics, and what a scrape would find."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)

    def passed(self, call: Call) -> None:
        self.metrics.before(call)
        self.metrics.after(call)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"switchgear_{name}", labels)

    def series(self, name: str) -> list[str]:
        lines = generate_latest(self.registry).decode().split("\n")
        return [line for line in lines if line.startswith(f"switchgear_{name}{{")]


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_calls_under_way_go_up_and_come_down(watched: Watched) -> None:
    call = an_answered_call()
    watched.metrics.before(call)
    watched.metrics.before(a_call())
    assert watched.value("active_requests") == 2
    watched.metrics.after(call)
    assert watched.value("active_requests") == 1


def test_streams_under_way_go_up_and_come_down(watched: Watched) -> None:
    watched.metrics.stream_began()
    watched.metrics.stream_began()
    watched.metrics.stream_ended()
    assert watched.value("active_streams") == 1


def test_a_call_is_counted_by_surface_model_provider_and_status(watched: Watched) -> None:
    for status in (200, 200, 502):
        watched.passed(an_answered_call(status=status))
    labels = {"surface": "openai", "model": "fast", "provider": "local"}
    assert watched.value("requests_total", **labels, status="200") == 2
    assert watched.value("requests_total", **labels, status="502") == 1


def test_durations_and_tokens_are_counted_per_model_and_provider(watched: Watched) -> None:
    call = an_answered_call(took_s=2.0)
    call.usage = Usage(10, 20)
    watched.passed(call)
    watched.passed(call)
    labels = {"model": "fast", "provider": "local"}
    assert watched.value("request_duration_seconds_count", **labels) == 2
    assert watched.value("request_duration_seconds_sum", **labels) == pytest.approx(4.0)
    assert watched.value("request_duration_seconds_bucket", **labels, le="2.5") == 2
    assert watched.value("request_duration_seconds_bucket", **labels, le="1.0") == 0
    assert watched.value("tokens_total", **labels, type="input") == 20
    assert watched.value("tokens_total", **labels, type="output") == 40


def test_only_streams_have_a_first_token(watched: Watched) -> None:
    call = an_answered_call()
    call.first_byte_at = 100.5
    watched.passed(call)
    assert watched.value("time_to_first_token_seconds_count", model="fast", provider="local") == 0
    call.streamed = True
    watched.passed(call)
    assert watched.value("time_to_first_token_seconds_sum", model="fast", provider="local") == pytest.approx(0.5)
    call.first_byte_at = 0.0
    watched.passed(call)
    assert watched.value("time_to_first_token_seconds_count", model="fast", provider="local") == 1


def test_a_call_that_reached_no_provider_has_no_duration(watched: Watched) -> None:
    call = a_call()
    call.status = 401
    watched.passed(call)
    assert watched.value("requests_total", surface="openai", model="fast", provider="", status="401") == 1
    assert watched.series("request_duration_seconds_count") == []


def test_every_failed_attempt_is_an_upstream_error(watched: Watched) -> None:
    call = an_answered_call()
    for failure in (UpstreamRejected(429, "no"), UpstreamTimeout("connect", 5), Overloaded("full")):
        failure.provider = "first"
        call.failures.append(failure)
    watched.passed(call)
    assert watched.value("upstream_errors_total", provider="first", kind="http_429") == 1
    assert watched.value("upstream_errors_total", provider="first", kind="timeout_connect") == 1
    assert len(watched.series("upstream_errors_total")) == 2


def test_an_error_after_the_first_byte_is_an_upstream_error_counted_once(watched: Watched) -> None:
    call = an_answered_call()
    call.error = UpstreamTruncated("ended")
    call.error.provider = "local"
    watched.passed(call)
    assert watched.value("upstream_errors_total", provider="local", kind="truncated") == 1
    call.failures.append(call.error)
    watched.passed(call)
    assert watched.value("upstream_errors_total", provider="local", kind="truncated") == 2


@pytest.mark.parametrize(
    ("error", "hits"),
    [(RateLimited("wait", retry_after_s=1), 1.0), (InvalidRequest("bad"), None), (Overloaded("x"), None)],
)
def test_only_our_own_limits_are_limit_hits(watched: Watched, error: SwitchgearError, hits: float | None) -> None:
    call = a_call()
    call.error = error
    watched.passed(call)
    assert watched.value("rate_limit_hits_total", limit="requests_per_minute") == hits
    assert watched.series("upstream_errors_total") == []


def test_label_values_are_bounded_and_nothing_goes_uncounted(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "MAX_LABEL_SETS", 3)
    for number in range(10):
        call = an_answered_call(f"model-{number}")
        call.usage = Usage(1, 1)
        watched.passed(call)
    counted = watched.series("requests_total")
    assert len(counted) == 4
    assert watched.value("requests_total", surface="openai", model=OTHER, provider=OTHER, status="200") == 7
    assert watched.value("tokens_total", model=OTHER, provider=OTHER, type="input") == 7
    assert len(watched.series("request_duration_seconds_count")) == 4
