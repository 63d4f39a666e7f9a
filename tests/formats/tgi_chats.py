"""Conversations to ask a TGI server, and the tools in them."""

from typing import Any

from msgspec import Raw

from switchgear.core.types import Chat, Message, Prompt, Text, Thinking, Tool, ToolCall, ToolResult
from tests.golden import GOLDEN

DIRECTORY = GOLDEN / "tgi"
HELLO = [Message("user", [Text("Hello")])]
PNG = "iVBORw0KGgo="
SCHEMA = Raw(b'{"type":"object","properties":{"age":{"type":"integer"}},"required":["age"]}')
NESTED = Raw(
    b'{"type":"object","properties":{"city":{"$ref":"#/$defs/city"}},"$defs":{"city":{"type":"string","enum":["Rome"]}}}'
)
WEATHER = Tool("get_weather", "The weather in a city", NESTED)
CLOCK = Tool("get_time")
CALLS = [
    Message("user", [Text("Paris and Rome?")]),
    Message(
        "assistant",
        [Thinking("Hm."), ToolCall("call_1", "get_weather", '{"city": "Rome"}'), ToolCall("call_2", "get_time", "")],
    ),
]
RESULTS = [
    Message("tool", [ToolResult("call_1", [Text("22 °C")])]),
    Message("tool", [ToolResult("call_2", [Text("no clock")], is_error=True)]),
]


def chat(messages: list[Message] | None = None, *, stream: bool = False, **prompt: Any) -> Chat:
    return Chat("any", stream=stream, prompt=Prompt(messages=HELLO if messages is None else messages, **prompt))
