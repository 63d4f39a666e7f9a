"""TGI's own API: what is asked, and what is refused."""

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
from switchgear.formats import tgi
from tests.formats.tgi_chats import CALLS, CLOCK, DIRECTORY, HELLO, PNG, RESULTS, SCHEMA, WEATHER, chat
from tests.golden import check_golden, pretty

TARGET = Target("local", "tgi")


def written(asked: Chat) -> Any:
    return msgspec.json.decode(tgi.write_request(asked, TARGET))


REQUESTS = {
    "text": chat(),
    "stream": chat(stream=True),
    "system_and_developer": chat(
        [Message("system", [Text("Be brief.")]), Message("developer", [Text("Be kind.")]), *HELLO]
    ),
    "images": chat(
        [Message("user", [Text("These? "), Image(data=PNG, media_type="image/jpeg"), Image(url="https://example.org/a.png")])]
    ),
    "tools": chat(tools=[WEATHER, CLOCK], tool_choice=ToolChoice("auto")),
    "tools_required": chat(tools=[WEATHER, CLOCK], tool_choice=ToolChoice("required"), stream=True),
    "tool_function": chat(
        [Message("system", [Text("Be brief.")]), *HELLO],
        tools=[WEATHER, CLOCK], tool_choice=ToolChoice("function", "get_weather"), parallel_tool_calls=False,
    ),
    "tool_choice_none": chat(tools=[WEATHER], tool_choice=ToolChoice("none")),
    "tool_results": chat([*CALLS, *RESULTS], tools=[WEATHER, CLOCK]),
    "several_results_in_one_turn": chat(
        [*CALLS, Message("user", [ToolResult("call_2", [Text("noon")]), ToolResult("call_9", []), Text("And now?")])]
    ),
    "refusal": chat([*HELLO, Message("assistant", [Refusal("No.")]), *HELLO]),
    "json_object": chat(response_format=ResponseFormat("json_object")),
    "json_schema": chat(response_format=ResponseFormat("json_schema", "person", SCHEMA, True)),
    "options": chat(
        max_tokens=64, temperature=0.7, top_p=0.9, top_k=40, seed=7, stop=["END", "\n\n"], frequency_penalty=-0.5,
        repetition_penalty=1.1, n=1, logprobs=True, top_logprobs=3,
        extra={"adapter_id": Raw(b'"lora"'), "truncate": Raw(b"512")},
    ),
    "greedy": chat(temperature=0.0, top_p=0.9, top_k=40),
}  # fmt: skip


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_is_written_as_its_golden_file_says(name: str) -> None:
    check_golden(DIRECTORY / f"{name}.request.json", pretty(tgi.write_request(REQUESTS[name], TARGET)))


# --- parameters --------------------------------------------------------------------------------------------------


def parameters(**prompt: Any) -> Any:
    return written(chat(**prompt))["parameters"]


@pytest.mark.parametrize("prompt", [{"temperature": 0.0}, {"top_p": 0.0, "temperature": 0.5, "top_k": 5}])
def test_zero_is_greedy_because_tgi_refuses_it(prompt: dict[str, Any]) -> None:
    sent = parameters(**prompt)
    assert sent["do_sample"] is False
    assert not {"temperature", "top_p", "top_k"} & sent.keys()


def test_a_top_p_of_one_and_a_top_k_of_none_are_left_out_because_tgi_refuses_them() -> None:
    sent = parameters(top_p=1.0, top_k=-1)
    assert sent["do_sample"] is True
    assert not {"top_p", "top_k"} & sent.keys()


def test_only_a_whole_reply_asks_for_the_prompts_tokens_because_tgi_refuses_it_in_streams() -> None:
    assert written(chat())["parameters"]["decoder_input_details"] is True
    assert "decoder_input_details" not in written(chat(stream=True))["parameters"]


def test_alternatives_are_asked_for_only_with_log_probabilities() -> None:
    assert parameters(logprobs=True, top_logprobs=3)["top_n_tokens"] == 3
    assert "top_n_tokens" not in parameters(logprobs=True)
    assert "top_n_tokens" not in parameters(top_logprobs=3)


DROPPED: dict[str, dict[str, Any]] = {
    "user": {"user": "u"},
    "metadata": {"metadata": {"a": "b"}},
    "service_tier": {"service_tier": "flex"},
    "store": {"extra": {"store": Raw(b"true")}},
    "safety_identifier": {"extra": {"safety_identifier": Raw(b'"s"')}},
    "prompt_cache_key": {"extra": {"prompt_cache_key": Raw(b'"k"')}},
    "prompt_cache_retention": {"extra": {"prompt_cache_retention": Raw(b'"24h"')}},
    "model": {},
    "messages[].name": {"messages": [Message("user", [Text("Hello")], "ann")]},
    "image.detail": {"messages": [Message("user", [Image(data=PNG, detail="low")])]},
    "thinking": {"messages": [Message("assistant", [Thinking("Hm.", "sig"), Text("Hi")])]},
    "parallel_tool_calls": {"tools": [CLOCK], "parallel_tool_calls": True},
    "tools[].strict": {"tools": [Tool("get_time", strict=True)]},
    "response_format.name": {"response_format": ResponseFormat("json_schema", "person", SCHEMA)},
    "response_format.strict": {"response_format": ResponseFormat("json_schema", None, SCHEMA, True)},
    "presence_penalty": {"presence_penalty": 0.0},
    "min_p": {"min_p": 0.0},
    "reasoning_effort": {"reasoning_effort": "none"},
}
KEPT: dict[str, dict[str, Any]] = {
    "image.detail": {"messages": [Message("user", [Image(data=PNG)])]},
    "thinking": {"messages": [Message("assistant", [Text("Hi")])]},
    "parallel_tool_calls": {"tools": [CLOCK]},
    "tools[].strict": {"tools": [CLOCK]},
    "response_format.name": {"response_format": ResponseFormat("json_schema", None, SCHEMA)},
    "response_format.strict": {"response_format": ResponseFormat("json_schema", None, SCHEMA)},
}


def test_what_is_dropped_is_listed_with_its_reason() -> None:
    assert DROPPED.keys() == tgi.DROPPED.keys()


@pytest.mark.parametrize("name", DROPPED)
def test_what_is_dropped_changes_nothing(name: str) -> None:
    assert written(chat(**DROPPED[name])) == written(chat(**KEPT.get(name, {})))


REFUSED: dict[str, dict[str, Any]] = {
    "n": {"n": 2},
    "logit_bias": {"logit_bias": {"50256": -100}},
    "presence_penalty": {"presence_penalty": 0.5},
    "min_p": {"min_p": 0.1},
    "reasoning_effort": {"reasoning_effort": "high"},
    "seed": {"seed": -1},
    "prediction": {"extra": {"prediction": Raw(b'{"type":"content"}')}},
    "response_format": {"tools": [CLOCK], "response_format": ResponseFormat("json_object")},
    "response_format.json_schema.schema": {
        "response_format": ResponseFormat("json_schema", "a", Raw(b'{"type":"array"}'))
    },
    "tool_choice": {"tools": [CLOCK], "tool_choice": ToolChoice("function", "other")},
    "tool_choice ": {"tool_choice": ToolChoice("required")},
    "messages[0].content": {"messages": [Message("user", [Audio("UklG", "wav")])]},
    "messages[1].content": {"messages": [*HELLO, Message("user", [Document(data="JVBE")])]},
    "messages[0].tool_calls[0].function.arguments": {"messages": [Message("assistant", [ToolCall("a", "f", '{"a')])]},
}


@pytest.mark.parametrize("param", REFUSED)
def test_what_cannot_be_said_is_refused_by_name(param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        written(chat(**REFUSED[param]))
    assert refused.value.param == param.strip()
