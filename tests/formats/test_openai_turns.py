"""The turns of an OpenAI conversation: what is written reads back, and what is missing is named."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings

from switchgear.core.errors import InvalidRequest
from switchgear.core.types import Image, Message, Text, ToolResult
from switchgear.formats.openai_turns import WireTurn, read_turn, write_turns
from tests.formats.drawn_messages import messages


def written(message: Message) -> Any:
    return json.loads(msgspec.json.encode(write_turns(message)))


def read(turn: dict[str, Any], number: int = 0) -> Message:
    return read_turn(msgspec.convert(turn, WireTurn), number)


@settings(max_examples=60, deadline=None)
@given(messages())
def test_a_written_turn_reads_back_as_the_same(message: Message) -> None:
    assert [read(turn) for turn in written(message)] == [message]


def test_results_in_a_turn_of_the_user_become_tool_turns_before_it() -> None:
    said = Message("user", [ToolResult("a", [Text("1")]), ToolResult("b", [Text("2")]), Text("And now?")])
    assert written(said) == [
        {"role": "tool", "content": "1", "tool_call_id": "a"},
        {"role": "tool", "content": "2", "tool_call_id": "b"},
        {"role": "user", "content": "And now?"},
    ]
    only = Message("user", [ToolResult("a", [Text("1")])])
    assert [turn["role"] for turn in written(only)] == ["tool"]


def test_a_picture_of_unknown_type_is_still_a_data_url() -> None:
    (turn,) = written(Message("user", [Image(data="AA==")]))
    assert turn["content"][0]["image_url"]["url"] == "data:;base64,AA=="
    assert read(turn).parts == [Image(data="AA==", media_type="application/octet-stream")]


@pytest.mark.parametrize(
    ("turn", "param"),
    [
        ({"role": "tool", "content": "x"}, "messages[3].tool_call_id"),
        ({"role": "user", "content": [{"type": "text"}]}, "messages[3].content[0]"),
        ({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url"}]}, "messages[3].content[1]"),
        ({"role": "user", "content": [{"type": "input_audio"}]}, "messages[3].content[0]"),
        ({"role": "user", "content": [{"type": "file"}]}, "messages[3].content[0]"),
    ],
)
def test_what_a_turn_lacks_is_named(turn: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(turn, 3)
    assert (refused.value.param, refused.value.code) == (param, "missing_field")
