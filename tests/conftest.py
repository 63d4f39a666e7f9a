"""What many tests share: a fake provider, a fault proxy in front of it, and a gateway over both."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.gateway import GatewayProcess
from tests.fake import FakeProvider
from tests.fault import FaultProxy

KEY = "sk-client-5f1b0cafe5"
UPSTREAM_KEY = "sk-upstream-77ac0ffee7"
NARROW_KEY = "sk-narrow-0ddba11"
RATE_KEYS = tuple(f"sk-rate-{number}" for number in range(6))
RATE_LIMIT = 10
MAX_BODY_BYTES = 1 << 20
BODY_TIMEOUT_S = 1.0
HASTY = {"connect_s": 0.5, "first_byte_s": 0.6, "between_chunks_s": 0.6, "total_s": 2.0}
ORIGIN = "https://app.example"


@pytest.fixture(scope="session")
def one_fake() -> Iterator[FakeProvider]:
    with FakeProvider() as fake:
        yield fake


@pytest.fixture(scope="session")
def one_proxy(one_fake: FakeProvider) -> Iterator[FaultProxy]:
    with FaultProxy(("127.0.0.1", one_fake.port)) as proxy:
        yield proxy


@pytest.fixture
def fake(one_fake: FakeProvider) -> FakeProvider:
    """A fake provider that is as new; its process is shared."""
    one_fake.clear()
    return one_fake


@pytest.fixture
def proxy(one_proxy: FaultProxy) -> Iterator[FaultProxy]:
    """A fault proxy in front of the fake, without faults; the provider ``proxied`` goes through it."""
    one_proxy.pass_through()
    yield one_proxy
    one_proxy.pass_through()


@pytest.fixture(scope="session")
def closed_port() -> Iterator[int]:
    """A port that refuses, and that nobody else can be given."""
    with socket.socket() as placeholder:
        placeholder.bind(("127.0.0.1", 0))
        yield placeholder.getsockname()[1]


@pytest.fixture(scope="session")
def deaf_port() -> Iterator[int]:
    """A port whose line of waiting connections is full, so that connecting to it takes for ever."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]
        for one in waiting:
            one.close()


@pytest.fixture(scope="session")
def gateway_config(one_fake: FakeProvider, one_proxy: FaultProxy, closed_port: int, deaf_port: int) -> dict[str, Any]:
    """The settings of the shared gateway."""

    def compatible(url: str, **more: Any) -> dict[str, Any]:
        return {"kind": "openai_compatible", "base_url": f"{url}/v1", "api_key": UPSTREAM_KEY, **more}

    here = one_fake.url
    return {
        "server": {
            "max_body_bytes": MAX_BODY_BYTES,
            "body_timeout_s": BODY_TIMEOUT_S,
            "cors_origins": [ORIGIN],
            "drain_timeout_s": 5,
        },
        "providers": {
            "up": compatible(here),
            "ollama": {"base_url": here},
            "tgi": {"base_url": here},
            "proxied": compatible(one_proxy.url, discover=False),
            "hasty": compatible(here, discover=False, timeouts=HASTY),
            "lined": compatible(here, discover=False, max_concurrency=1),
            "crowded": compatible(here, discover=False, max_concurrency=1, queue_size=1, queue_timeout_s=0.4),
            "closed": compatible(f"http://127.0.0.1:{closed_port}", discover=False),
            "deaf": compatible(f"http://127.0.0.1:{deaf_port}", discover=False, timeouts=HASTY),
        },
        "models": {
            "m": {"targets": ["up/fake-model"]},
            "by-ollama": {"targets": ["ollama/fake-model"]},
            "by-tgi": {"targets": ["tgi/fake-model"]},
            "team/deep/model": {"targets": ["up/fake-model"]},
            "rule-*": {"targets": ["up"]},
            "second-best": {"targets": ["closed/first", "up/second"]},
            **{name: {"targets": ["up"]} for name in ("calling", "limited", "broken", "midway", "endless")},
        },
        "keys": [
            {"key": KEY, "name": "full"},
            {"key": NARROW_KEY, "name": "narrow", "models": ["m", "rule-*"]},
            *(
                {"key": key, "name": key.removeprefix("sk-"), "limits": {"requests_per_minute": RATE_LIMIT}}
                for key in RATE_KEYS
            ),
        ],
    }


@pytest.fixture(scope="session")
def one_gateway(gateway_config: dict[str, Any]) -> Iterator[GatewayProcess]:
    with GatewayProcess(gateway_config) as gateway:
        yield gateway


@pytest.fixture
def gateway(one_gateway: GatewayProcess, fake: FakeProvider) -> GatewayProcess:
    """The gateway that all tests share, over a fake provider that is as new."""
    assert not one_gateway.has_ended, one_gateway.stderr.decode()
    return one_gateway
