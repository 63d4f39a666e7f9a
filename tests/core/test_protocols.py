"""What plugs in: everything that ships satisfies its protocol, and policies run in one pinned order."""

import inspect
from collections.abc import Mapping
from time import perf_counter

import pytest
from prometheus_client import CollectorRegistry

from switchgear.app import Parts
from switchgear.core.protocols import Call, Decoder, Format, Phase, Policy, Provider, Relay, Strategy, StreamWriter
from switchgear.core.settings import KeySettings, ProviderSettings, Secret, ServerSettings, Settings
from switchgear.core.types import Chat, Message, Prompt, Text
from switchgear.formats import ollama_reply, openai_stream, tgi_reply
from switchgear.policies.allowed_models import AllowedModels
from switchgear.policies.auth import Auth
from switchgear.policies.log import RequestLog
from switchgear.policies.metrics import Metrics
from switchgear.policies.request_limit import RequestLimit
from switchgear.providers.compat import CompatProvider
from switchgear.providers.ollama import OllamaProvider
from switchgear.providers.tgi import TgiProvider
from switchgear.strategies import fallback
from switchgear.surfaces.openai import OpenAIChat
from tests.golden import GOLDEN, check_golden

CHAT = Chat("m", prompt=Prompt(messages=[Message("user", [Text("Hello")])]))
LOCAL = ProviderSettings(base_url="http://127.0.0.1:1/v1", kind="openai_compatible")

# That these assignments type-check is the point; that they run shows that the pieces can be built.
DECODERS: list[Decoder] = [openai_stream.StreamReader(), ollama_reply.StreamReader(), tgi_reply.StreamReader(CHAT)]
RELAYS: list[Relay] = [openai_stream.relay(True)]
WRITERS: list[StreamWriter] = [openai_stream.StreamWriter("m", include_usage=True)]
FORMATS: list[Format] = [OpenAIChat()]
PROVIDERS: list[Provider] = [
    CompatProvider("c", LOCAL),
    OllamaProvider("ollama", ProviderSettings(base_url="http://127.0.0.1:1")),
    TgiProvider("tgi", ProviderSettings(base_url="http://127.0.0.1:1")),
]
POLICIES: list[Policy] = [
    AllowedModels(), Auth([]), RequestLog(lambda line: None), Metrics(CollectorRegistry()), RequestLimit([]),
]  # fmt: skip
STRATEGIES: list[Strategy] = [fallback.order]

WANTED: Mapping[type, list[object]] = {
    Decoder: [*DECODERS], Relay: [*RELAYS], StreamWriter: [*WRITERS], Format: [*FORMATS], Provider: [*PROVIDERS],
    Policy: [*POLICIES],
}  # fmt: skip


@pytest.mark.parametrize("protocol", WANTED, ids=lambda protocol: protocol.__name__)
def test_everything_that_ships_has_all_that_its_protocol_asks_for(protocol: type) -> None:
    names = {*vars(protocol), *protocol.__annotations__}
    for one in WANTED[protocol]:
        for name in names:
            if not name.startswith("_"):
                assert hasattr(one, name), (one, name)


@pytest.mark.parametrize("protocol", WANTED, ids=lambda protocol: protocol.__name__)
def test_parameters_have_the_names_the_protocol_gives_them(protocol: type) -> None:
    for name, method in inspect.getmembers(protocol, inspect.isfunction):
        if not name.startswith("_"):
            wanted = list(inspect.signature(method).parameters)[1:]
            for one in WANTED[protocol]:
                assert list(inspect.signature(getattr(one, name)).parameters) == wanted, (one, name)


def test_phases_run_from_watching_to_queueing() -> None:
    assert [phase.name for phase in sorted(Phase)] == [
        "WATCH", "ADMIT", "SHAPE", "SCREEN", "LIMIT", "PAY", "CACHE", "QUEUE"
    ]  # fmt: skip


def in_order(settings: Settings, *, trusted: bool = False) -> list[str]:
    policies = Parts(settings, trusted=trusted).pipeline.policies
    return [f"{policy.phase.name:<7}{policy.name}" for policy in policies]


def test_the_order_of_policies_is_pinned() -> None:
    key = KeySettings(key=Secret("k"), name="n")
    said = {
        "a gateway": in_order(Settings(keys=(key,), providers={"local": LOCAL})),
        "a gateway that keeps no log": in_order(Settings(server=ServerSettings(log_requests=False))),
        "a library in the caller's own process": in_order(Settings(), trusted=True),
    }
    text = "\n".join(f"{title}:\n" + "".join(f"  {line}\n" for line in lines) for title, lines in said.items())
    check_golden(GOLDEN / "policies" / "order.txt", text)


def test_a_call_begins_with_nothing_decided() -> None:
    before = perf_counter()
    call = Call("id", "openai", "POST", "/v1/chat/completions", {b"host": b"x"})
    assert before <= call.received_at <= perf_counter()
    assert (call.id, call.surface, call.method, call.path) == ("id", "openai", "POST", "/v1/chat/completions")
    for name in Call.__slots__:
        assert hasattr(call, name), name
    assert (call.key, call.chat, call.target, call.usage, call.error) == (None, None, None, None, None)
    assert (call.status, call.attempts, call.ended_at, call.first_byte_at, call.policies_begun) == (0, 0, 0, 0, 0)


def test_calls_share_nothing() -> None:
    one, other = (Call("id", "s", "GET", "/", {}) for _ in range(2))
    one.reply_headers.append((b"a", b"b"))
    one.failures.append(ValueError())  # type: ignore[arg-type]  # any value shows whether the list is shared
    assert (other.reply_headers, other.failures) == ([], [])
