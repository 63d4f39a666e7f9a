"""Calls in the states that policies meet them in."""

from switchgear.core.protocols import Call
from switchgear.core.settings import KeySettings, LimitSettings, Secret
from switchgear.core.types import Chat, Message, Prompt, Target, Text


def a_key(
    name: str = "user1", *, models: tuple[str, ...] = ("*",), requests_per_minute: int | None = None
) -> KeySettings:
    limits = LimitSettings(requests_per_minute=requests_per_minute)
    return KeySettings(key=Secret(f"sk-{name}"), name=name, models=models, limits=limits)


def a_call(model: str = "fast", *, key: KeySettings | None = None, headers: dict[bytes, bytes] | None = None) -> Call:
    """A call as far as routing: it has a chat and perhaps a key, and no target."""
    call = Call("req-1", "openai", "POST", "/v1/chat/completions", headers or {})
    call.chat = Chat(model, prompt=Prompt(messages=[Message("user", [Text("Hello")])]))
    call.model_label = model
    call.key = key
    return call


def an_answered_call(model: str = "fast", provider: str = "local", *, took_s: float = 2.0, status: int = 200) -> Call:
    """A call that has ended."""
    call = a_call(model)
    call.received_at = 100.0
    call.ended_at = 100.0 + took_s
    call.target = Target(provider, f"{model}-upstream")
    call.provider = provider
    call.attempts = 1
    call.status = status
    return call
