"""Ollama's native chat: what is asked, and what is refused."""

from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from switchgear.core.errors import InvalidRequest
from switchgear.core.types import (
    Audio,
    Chat,
    Document,
    Image,
    Message,
    Origin,
    Prompt,
    Refusal,
    ResponseFormat,
    Target,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from switchgear.formats import ollama
from tests.golden import GOLDEN, check_golden, pretty

DIRECTORY = GOLDEN / "ollama"
TARGET = Target("local", "llama3.2")
HELLO = [Message("user", [Text("Hello")])]
PNG = "iVBORw0KGgo="
SCHEMA = Raw(b'{"type":"object","properties":{"age":{"type":"integer"}},"required":["age"]}')
WEATHER = Tool(
    "get_weather", "The weather in a city", Raw(b'{"type":"object","properties":{"city":{"type":"string"}}}')
)
CLOCK = Tool("get_time")
CALLS = [
    Message("user", [Text("Paris and Rome?")]),
    Message(
        "assistant",
        [ToolCall("call_1", "get_weather", '{"city": "Paris", "at": 1.50}'), ToolCall("call_2", "get_time", "")],
    ),
]


@dataclass
class Case:
    messages: list[Message] = field(default_factory=lambda: HELLO)
    stream: bool = False
    prompt: dict[str, Any] = field(default_factory=dict)

    def chat(self) -> Chat:
        return Chat("any", stream=self.stream, prompt=Prompt(messages=self.messages, **self.prompt))


REQUESTS = {
    "text": Case(),
    "stream": Case(stream=True),
    "system_and_developer": Case(
        [Message("system", [Text("Be brief.")]), Message("developer", [Text("Be kind.")]), *HELLO]
    ),
    "images": Case([Message("user", [Text("What is "), Image(data=PNG, media_type="image/png"), Text("this?")])]),
    "tools": Case(prompt={"tools": [WEATHER, CLOCK], "tool_choice": ToolChoice("auto"), "parallel_tool_calls": True}),
    "tool_choice_none": Case(prompt={"tools": [WEATHER], "tool_choice": ToolChoice("none")}),
    "tool_results": Case(
        [
            *CALLS,
            Message("tool", [ToolResult("call_1", [Text("22 °C"), Image(data=PNG)])]),
            Message("tool", [ToolResult("call_2", [Text("noon")])]),
        ]
    ),
    "tool_error": Case([*CALLS, Message("tool", [ToolResult("call_1", [Text("no such city")], is_error=True)])]),
    "several_results_in_one_turn": Case(
        [*CALLS, Message("user", [ToolResult("call_2", [Text("noon")]), ToolResult("call_9", []), Text("And now?")])]
    ),
    "thinking": Case(
        [*HELLO, Message("assistant", [Thinking("Hm.", "sig"), Text("Hi")]), *HELLO],
        prompt={"reasoning_effort": "high"},
    ),
    "refusal": Case([*HELLO, Message("assistant", [Refusal("No.")]), *HELLO]),
    "json_object": Case(prompt={"response_format": ResponseFormat("json_object")}),
    "json_schema": Case(prompt={"response_format": ResponseFormat("json_schema", "person", SCHEMA, True)}),
    "options": Case(
        prompt={
            "max_tokens": 64, "temperature": 0.0, "top_p": 1.0, "top_k": 40, "min_p": 0.05, "seed": 7,
            "stop": ["END", "\n\n"], "presence_penalty": 0.5, "frequency_penalty": -0.5, "repetition_penalty": 1.1,
            "n": 1, "logprobs": True, "top_logprobs": 3,
        }
    ),
    "extra": Case(
        prompt={
            "temperature": 0.5, "reasoning_effort": "low", "response_format": ResponseFormat("json_object"),
            "extra": {
                "keep_alive": Raw(b'"10m"'), "options": Raw(b'{"num_ctx":8192,"temperature":0.9}'),
                "think": Raw(b"true"), "format": SCHEMA, "shift": Raw(b"false"), "truncate": Raw(b"true"),
            },
        }
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_is_written_as_its_golden_file_says(name: str) -> None:
    body = ollama.write_request(REQUESTS[name].chat(), TARGET)
    check_golden(DIRECTORY / f"{name}.request.json", pretty(body))


DROPPED: dict[str, dict[str, Any]] = {
    "user": {"user": "u"},
    "metadata": {"metadata": {"a": "b"}},
    "service_tier": {"service_tier": "flex"},
    "store": {"extra": {"store": Raw(b"true")}},
    "safety_identifier": {"extra": {"safety_identifier": Raw(b'"s"')}},
    "prompt_cache_key": {"extra": {"prompt_cache_key": Raw(b'"k"')}},
    "prompt_cache_retention": {"extra": {"prompt_cache_retention": Raw(b'"24h"')}},
    "messages[].name": {"messages": [Message("user", [Text("Hello")], "ann")]},
    "image.detail": {"messages": [Message("user", [Image(data=PNG, detail="low")])]},
    "thinking.signature": {"messages": [Message("assistant", [Thinking("Hm.", "sig")])]},
    "parallel_tool_calls": {"tools": [CLOCK], "parallel_tool_calls": True},
    "tools[].strict": {"tools": [Tool("get_time", strict=True)]},
    "response_format.name": {"response_format": ResponseFormat("json_schema", "person", SCHEMA)},
    "response_format.strict": {"response_format": ResponseFormat("json_schema", None, SCHEMA, True)},
}
KEPT: dict[str, dict[str, Any]] = {
    "image.detail": {"messages": [Message("user", [Image(data=PNG)])]},
    "thinking.signature": {"messages": [Message("assistant", [Thinking("Hm.")])]},
    "parallel_tool_calls": {"tools": [CLOCK]},
    "tools[].strict": {"tools": [CLOCK]},
    "response_format.name": {"response_format": ResponseFormat("json_schema", None, SCHEMA)},
    "response_format.strict": {"response_format": ResponseFormat("json_schema", None, SCHEMA)},
}


def written(**prompt: Any) -> Any:
    return msgspec.json.decode(
        ollama.write_request(Chat("any", prompt=Prompt(**{"messages": HELLO, **prompt})), TARGET)
    )


def test_what_is_dropped_is_listed_with_its_reason() -> None:
    assert DROPPED.keys() == ollama.DROPPED.keys()


@pytest.mark.parametrize("name", DROPPED)
def test_what_is_dropped_changes_nothing(name: str) -> None:
    assert written(**DROPPED[name]) == written(**KEPT.get(name, {}))


REFUSED: dict[str, dict[str, Any]] = {
    "n": {"n": 2},
    "logit_bias": {"logit_bias": {"50256": -100}},
    "parallel_tool_calls": {"tools": [CLOCK], "parallel_tool_calls": False},
    "tool_choice": {"tools": [CLOCK], "tool_choice": ToolChoice("required")},
    "tool_choice ": {"tools": [CLOCK], "tool_choice": ToolChoice("function", "get_time")},
    "reasoning_effort": {"reasoning_effort": "extreme"},
    "prediction": {"extra": {"prediction": Raw(b'{"type":"content"}')}},
    "options": {"extra": {"options": Raw(b"[1]")}},
    "messages[0].content": {"messages": [Message("user", [Audio("UklG", "wav")])]},
    "messages[0].content ": {"messages": [Message("user", [Document(data="JVBE")])]},
    "messages[1].content": {"messages": [*HELLO, Message("user", [Image(url="https://example.org/cat.png")])]},
    "messages[0].tool_calls[1].function.arguments": {
        "messages": [Message("assistant", [ToolCall("a", "f", "{}"), ToolCall("b", "f", '{"city": "Par')])]
    },
    "messages[0].tool_calls[0].function.arguments": {"messages": [Message("assistant", [ToolCall("a", "f", "[1]")])]},
}


@pytest.mark.parametrize("param", REFUSED)
def test_what_cannot_be_said_is_refused_by_name(param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        written(**REFUSED[param])
    assert refused.value.param == param.strip()


def test_a_field_that_is_null_was_not_said() -> None:
    assert written(extra={"prediction": Raw(b"null"), "options": Raw(b"null")}) == written()


def test_arguments_nested_without_end_are_refused() -> None:
    deep = '{"a":' * 5000 + "1" + "}" * 5000
    with pytest.raises(InvalidRequest):
        written(messages=[Message("assistant", [ToolCall("a", "f", deep)])])


@pytest.mark.parametrize(
    ("effort", "think"),
    [("none", False), ("minimal", "low"), ("low", "low"), ("medium", "medium"), ("high", "high"), ("xhigh", "max")],
)
def test_effort_becomes_think_as_in_ollamas_own_openai_front(effort: str, think: object) -> None:
    assert written(reasoning_effort=effort)["think"] == think


def test_a_request_in_ollamas_own_words_passes_with_only_the_model_replaced() -> None:
    body = b'{ "model": "mine",  "messages": [], "unknown": 1.50 }'
    origin = Origin(ollama.FORMAT, body)
    sent = ollama.write_request(Chat("mine", origin=origin), TARGET)
    assert sent == b'{ "model": "llama3.2",  "messages": [], "unknown": 1.50 }'
