"""What Prometheus scrapes. Names, labels and meanings are in docs/metrics.md, which a test compares with this file."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from switchgear.core.errors import RateLimited, UpstreamError
from switchgear.core.protocols import Call, Phase

MAX_LABEL_SETS = 2000
OTHER = "other"

_DURATION_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
    """Counts calls. Label values are bounded: models as configured, providers as configured, statuses, fixed words."""

    name = "metrics"
    phase = Phase.WATCH

    def __init__(self, registry: CollectorRegistry) -> None:
        by_call = ("surface", "model", "provider", "status")
        self._requests = Counter("switchgear_requests", "Calls ended.", by_call, registry=registry)
        self._duration = Histogram(
            "switchgear_request_duration_seconds", "Time from a call's headers to its last byte.",
            ("model", "provider"), buckets=_DURATION_BUCKETS_S, registry=registry,
        )  # fmt: skip
        self._first_token = Histogram(
            "switchgear_time_to_first_token_seconds", "Time from a streamed call's headers to its first byte.",
            ("model", "provider"), buckets=_DURATION_BUCKETS_S, registry=registry,
        )  # fmt: skip
        self._tokens = Counter(
            "switchgear_tokens", "Tokens as providers reported them.", ("model", "provider", "type"), registry=registry
        )
        self._active_streams = Gauge(
            "switchgear_active_streams", "Streams under way.", registry=registry, multiprocess_mode="livesum"
        )
        self._active = Gauge(
            "switchgear_active_requests", "Calls under way.", registry=registry, multiprocess_mode="livesum"
        )
        self._upstream_errors = Counter(
            "switchgear_upstream_errors", "Failed attempts at providers.", ("provider", "kind"), registry=registry
        )
        self._limit_hits = Counter(
            "switchgear_rate_limit_hits", "Calls refused by a limit of the gateway.", ("limit",), registry=registry
        )
        self._by_labels: dict[tuple[str, str, str, int], Counter] = {}
        self._by_target: dict[tuple[str, str], _TargetSeries] = {}

    def before(self, call: Call) -> None:
        """A call begins."""
        self._active.inc()

    def stream_began(self) -> None:
        """A stream's first byte is out."""
        self._active_streams.inc()

    def stream_ended(self) -> None:
        """That stream is over."""
        self._active_streams.dec()

    def after(self, call: Call) -> None:
        """A call has ended."""
        self._active.dec()
        # A stream that failed after its 200 went out counts as what it came to, not as what it began as.
        status = call.error.status if call.error is not None else call.status
        labels = (call.surface, call.model_label, call.provider, status)
        counter = self._by_labels.get(labels)
        if counter is None:
            counter = self._new_counter(labels)
        counter.inc()
        if call.target is not None:
            self._target_series(call).observe(call)
        for failure in call.failures:
            if isinstance(failure, UpstreamError):
                self._upstream_errors.labels(failure.provider or "", failure.kind).inc()
        if isinstance(call.error, RateLimited):
            self._limit_hits.labels("requests_per_minute").inc()
        elif isinstance(call.error, UpstreamError) and call.error not in call.failures:
            self._upstream_errors.labels(call.error.provider or "", call.error.kind).inc()

    def _new_counter(self, labels: tuple[str, str, str, int]) -> Counter:
        surface, model, provider, status = labels
        if len(self._by_labels) >= MAX_LABEL_SETS:
            model, provider = OTHER, OTHER
            return self._requests.labels(surface, model, provider, str(status))
        counter = self._by_labels[labels] = self._requests.labels(surface, model, provider, str(status))
        return counter

    def _target_series(self, call: Call) -> "_TargetSeries":
        labels = (call.model_label, call.provider)
        series = self._by_target.get(labels)
        if series is None:
            if len(self._by_target) >= MAX_LABEL_SETS:
                labels = (OTHER, OTHER)
            series = self._by_target[labels] = _TargetSeries(
                self._duration.labels(*labels),
                self._first_token.labels(*labels),
                self._tokens.labels(*labels, "input"),
                self._tokens.labels(*labels, "output"),
            )
        return series


class _TargetSeries:
    """The series of one model at one provider, looked up once: a look-up by labels costs more than an increment."""

    __slots__ = ("_duration", "_first_token", "_input", "_output")

    def __init__(self, duration: Histogram, first_token: Histogram, input_: Counter, output: Counter) -> None:
        self._duration = duration
        self._first_token = first_token
        self._input = input_
        self._output = output

    def observe(self, call: Call) -> None:
        self._duration.observe(call.ended_at - call.received_at)
        if call.streamed and call.first_byte_at:
            self._first_token.observe(call.first_byte_at - call.received_at)
        if call.usage is not None:
            self._input.inc(call.usage.input_tokens)
            self._output.inc(call.usage.output_tokens)
