"""What Prometheus sees after traffic that is known: the official parser reads it."""

from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.gateway import GatewayProcess
from tests.e2e.talk import ask, chat, request_bytes, wire
from tests.fake import FakeProvider, Script, Usage

KEY, LIMITED_KEY = "sk-metrics", "sk-metrics-limited"
Labels = frozenset[tuple[str, str]]


@pytest.fixture
def measured(gateway_config: dict[str, Any], fake: FakeProvider) -> Iterator[GatewayProcess]:
    """A gateway that has counted nothing yet."""
    limited = {"key": LIMITED_KEY, "name": "limited", "limits": {"requests_per_minute": 1}}
    with GatewayProcess(gateway_config | {"keys": [{"key": KEY, "name": "k"}, limited]}) as gateway:
        yield gateway


def samples(gateway: GatewayProcess) -> dict[tuple[str, Labels], float]:
    text = ask(gateway, "GET", "/metrics").body.decode()
    families = text_string_to_metric_families(text)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def of(found: dict[tuple[str, Labels], float], name: str, **labels: str) -> float:
    return found.get((name, frozenset(labels.items())), 0.0)


def test_known_traffic_is_counted_under_its_labels(measured: GatewayProcess, fake: FakeProvider) -> None:
    usage = Usage(input_tokens=7, output_tokens=3)
    fake.script("fake-model", Script(text="a b c", usage=usage))
    fake.script("teapot", Script(status=418, error="no coffee"))
    fake.script("broken", Script(chunks=["a ", "b "], cut_after_bytes=400))
    for _ in range(3):
        assert chat(measured, "m", key=KEY).status == 200
    for _ in range(2):
        assert chat(measured, "by-ollama", key=KEY, stream=True).status == 200
    for name in ("one", "two"):
        assert chat(measured, f"rule-{name}", key=KEY).status == 200
    assert chat(measured, "second-best", key=KEY).status == 200
    assert chat(measured, "up/teapot", key=KEY).status == 418
    assert chat(measured, "up/broken", key=KEY, stream=True).status == 200
    assert chat(measured, "nonesuch-1", key=KEY).status == 404
    assert chat(measured, "nonesuch-2", key=KEY).status == 404
    assert chat(measured, "m").status == 401
    assert [chat(measured, "m", key=LIMITED_KEY).status for _ in range(3)] == [200, 429, 429]
    found = samples(measured)

    def requests(model: str, provider: str, status: int) -> float:
        labels = {"surface": "openai", "model": model, "provider": provider, "status": str(status)}
        return of(found, "switchgear_requests_total", **labels)

    assert requests("m", "up", 200) == 4
    assert requests("by-ollama", "ollama", 200) == 2
    assert requests("rule-*", "up", 200) == 2
    assert requests("second-best", "up", 200) == 1
    assert requests("up/*", "up", 418) == 1
    assert requests("", "", 404) == 2
    assert requests("", "", 401) == 1
    assert requests("m", "", 429) == 2
    assert of(found, "switchgear_tokens_total", model="m", provider="up", type="input") == 28
    assert of(found, "switchgear_tokens_total", model="m", provider="up", type="output") == 12
    assert of(found, "switchgear_request_duration_seconds_count", model="m", provider="up") == 4
    assert of(found, "switchgear_time_to_first_token_seconds_count", model="by-ollama", provider="ollama") == 2
    assert of(found, "switchgear_time_to_first_token_seconds_count", model="m", provider="up") == 0
    assert of(found, "switchgear_upstream_errors_total", provider="up", kind="http_418") == 1
    assert of(found, "switchgear_upstream_errors_total", provider="up", kind="truncated") == 1
    assert of(found, "switchgear_upstream_errors_total", provider="closed", kind="unavailable") == 1
    assert of(found, "switchgear_rate_limit_hits_total", limit="requests_per_minute") == 2
    assert of(found, "switchgear_active_requests") == of(found, "switchgear_active_streams") == 0


def test_what_is_under_way_is_a_gauge(measured: GatewayProcess, fake: FakeProvider) -> None:
    fake.script("endless", Script(chunks=["tick "], repeat_chunks=10_000, delay_between_chunks_s=0.02))
    with wire(measured) as client:
        client.send(request_bytes({"model": "up/endless", "stream": True}, key=KEY, more="X-Request-ID: gauge\r\n"))
        client.read_until(b"tick")
        found = samples(measured)
        assert of(found, "switchgear_active_streams") == 1
        assert of(found, "switchgear_active_requests") == 1
    assert measured.record_of("gauge")["status"] == 499
    found = samples(measured)
    assert of(found, "switchgear_active_streams") == of(found, "switchgear_active_requests") == 0
    labels = {"surface": "openai", "model": "up/*", "provider": "up", "status": "499"}
    assert of(found, "switchgear_requests_total", **labels) == 1


def test_a_client_cannot_make_labels(measured: GatewayProcess) -> None:
    for number in range(50):
        chat(measured, f"up/made-up-{number}", key=KEY)
        chat(measured, f"made-up-{number}", key=KEY)
        ask(measured, "GET", f"/made-up-{number}", key=KEY)
    assert b"made-up" not in ask(measured, "GET", "/metrics").body


def test_the_format_is_prometheus_own(gateway: GatewayProcess) -> None:
    answer = ask(gateway, "GET", "/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert b"# HELP switchgear_requests_total" in answer.body
