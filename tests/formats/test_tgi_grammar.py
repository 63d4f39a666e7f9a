"""What a reply of TGI is held to: calls and nothing else, JSON and nothing else."""

import re
from typing import Any

import pytest

from switchgear.core.types import Chat, ResponseFormat, Tool, ToolChoice
from switchgear.formats.tgi_grammar import ANY_OBJECT_REGEX, offered_tools, write_grammar
from tests.formats.tgi_chats import CLOCK, WEATHER, chat


def grammar_of(asked: Chat) -> Any:
    return write_grammar(asked.prompt, offered_tools(asked.prompt))


def test_a_required_call_leaves_no_room_for_anything_else() -> None:
    asked = chat(
        tools=[WEATHER, CLOCK], tool_choice=ToolChoice("required"), response_format=ResponseFormat("json_object")
    )
    schema = grammar_of(asked)["value"]
    kinds = schema["properties"]["tool_calls"]["items"]["anyOf"]
    assert [kind["properties"]["name"] for kind in kinds] == [{"const": "get_weather"}, {"const": "get_time"}]
    assert schema["properties"]["tool_calls"]["minItems"] == 1


def test_every_reference_in_a_tools_schema_still_points_at_its_definition() -> None:
    asked = chat(tools=[CLOCK, WEATHER], tool_choice=ToolChoice("required"), parallel_tool_calls=False)
    schema = grammar_of(asked)["value"]
    reference = schema["$defs"]["arguments_1"]["properties"]["city"]["$ref"]
    found: Any = schema
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    assert found == {"type": "string", "enum": ["Rome"]}
    assert schema["properties"]["tool_calls"]["maxItems"] == 1


@pytest.mark.parametrize(
    "text", ["{}", '{"a": 1}', '{"a":{"b":[1,-2.5e3,true]},\n"c":"\\"é\\n"}', '{"a":[{"b":null},[]]}', '{"a": "\\\\"}']
)
def test_json_mode_admits_objects(text: str) -> None:
    assert re.fullmatch(ANY_OBJECT_REGEX, text)


@pytest.mark.parametrize(
    "text", ["[]", "7", '{"a"}', '{"a":1,}', '{"a":01}', '{"a":"\n"}', '{"a": 1}}', "{a:1}", '{"a":"\\"}']
)
def test_json_mode_admits_nothing_else(text: str) -> None:
    assert not re.fullmatch(ANY_OBJECT_REGEX, text)


def test_what_is_free_has_no_grammar() -> None:
    assert grammar_of(chat()) is None
    assert grammar_of(chat(tools=[CLOCK])) is None
    assert grammar_of(chat(response_format=ResponseFormat("text"))) is None


@pytest.mark.parametrize(
    ("choice", "offered"),
    [
        (None, [CLOCK, WEATHER]),
        (ToolChoice("auto"), [CLOCK, WEATHER]),
        (ToolChoice("required"), [CLOCK, WEATHER]),
        (ToolChoice("function", "get_weather"), [WEATHER]),
        (ToolChoice("none"), []),
    ],
)
def test_the_choice_says_which_tools_are_offered(choice: ToolChoice | None, offered: list[Tool]) -> None:
    prompt = chat(tools=[CLOCK, WEATHER], tool_choice=choice).prompt
    assert offered_tools(prompt) == offered
