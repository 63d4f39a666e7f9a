"""What a reply of TGI is held to: the tools that may or must be called, and grammars for calls and for JSON.

* **Where a call is required**, a grammar admits nothing else; where it is the model's choice, the reply is free. TGI
  takes one grammar, so a choice of tools together with a response format is refused, as TGI's own chat does.
* **JSON mode is a grammar**: the schema itself, or, for ``json_object``, a regular expression for an object whose
  values nest two deep (TGI takes no schema without ``properties``).
"""

from typing import Any

import msgspec
from msgspec import Raw

from switchgear.core.errors import InvalidRequest
from switchgear.core.types import Prompt, Tool
from switchgear.formats.body import untranslatable

_NO_PARAMETERS = Raw(b'{"type":"object","properties":{}}')


# --- tools -------------------------------------------------------------------------------------------------------


def offered_tools(prompt: Prompt) -> list[Tool]:
    """The tools the model may call now: none, all, or the one that was named.

    Raises InvalidRequest where that one, or any at all, is not there.
    """
    choice = prompt.tool_choice
    if choice is None or choice.mode in ("auto", "required"):
        if choice is not None and choice.mode == "required" and not prompt.tools:
            raise InvalidRequest("'tool_choice' requires a tool, and none is given.", param="tool_choice")
        return prompt.tools
    if choice.mode == "none":
        return []
    named = [tool for tool in prompt.tools if tool.name == choice.name]
    if not named:
        raise InvalidRequest(f"'tool_choice' names {choice.name!r}, which is not in 'tools'.", param="tool_choice")
    return named


def must_call(prompt: Prompt) -> bool:
    """Whether the reply must be a call."""
    return prompt.tool_choice is not None and prompt.tool_choice.mode in ("required", "function")


def parameters_of(tool: Tool) -> Raw:
    """The schema of a tool's arguments; that of an empty object where it has none."""
    given = tool.parameters
    return _NO_PARAMETERS if given is None or bytes(given) == b"null" else given


# --- grammars ----------------------------------------------------------------------------------------------------

# Strings and numbers as outlines, TGI's grammar engine, writes them; white space is bounded, or a model fills a page.
_SPACE = r"[ \n]?"
_SCALAR = (
    r'("([^"\\\x00-\x1F\x7F-\x9F]|\\["\\bfnrt/])*"|-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?|true|false|null)'
)


def _object_of(value: str) -> str:
    pair = rf'"([^"\\\x00-\x1F\x7F-\x9F]|\\["\\bfnrt/])*"{_SPACE}:{_SPACE}{value}'
    return rf"\{{{_SPACE}({pair}({_SPACE},{_SPACE}{pair})*)?{_SPACE}\}}"


def _array_of(value: str) -> str:
    return rf"\[{_SPACE}({value}({_SPACE},{_SPACE}{value})*)?{_SPACE}\]"


def _nested(depth: int) -> str:
    inner = _nested(depth - 1) if depth else ""
    return f"({_SCALAR}|{_object_of(inner)}|{_array_of(inner)})" if depth else _SCALAR


ANY_OBJECT_REGEX = _object_of(_nested(2))
"""Matches a JSON object whose values nest two deep; what ``json_object`` constrains a reply to."""


def write_grammar(prompt: Prompt, tools: list[Tool]) -> dict[str, Any] | None:
    """The grammar the reply must follow; None where it is free. Raises InvalidRequest where TGI has none for it."""
    wanted = prompt.response_format
    formatted = wanted is not None and wanted.type != "text"
    if tools and must_call(prompt):
        return {"type": "json", "value": _calls_schema(tools, one=prompt.parallel_tool_calls is False)}
    if tools and formatted:
        raise untranslatable("response_format", "TGI takes one grammar: choose between tools and a response format")
    if wanted is None or not formatted:
        return None
    if wanted.type == "json_object" or wanted.schema is None:
        return {"type": "regex", "value": ANY_OBJECT_REGEX}
    schema = msgspec.json.decode(wanted.schema)
    if not isinstance(schema, dict) or "properties" not in schema:
        param = "response_format.json_schema.schema"
        raise InvalidRequest("TGI takes only a schema that has 'properties'.", param=param, code="unsupported_value")
    return {"type": "json", "value": wanted.schema}


def _calls_schema(tools: list[Tool], *, one: bool) -> dict[str, Any]:
    """A schema for calls of these tools. Each tool's own stands under ``$defs``, its references moved along."""
    kinds, definitions = [], {}
    for number, tool in enumerate(tools):
        place = f"arguments_{number}"
        definitions[place] = _moved(msgspec.json.decode(parameters_of(tool)), f"#/$defs/{place}")
        properties = {"name": {"const": tool.name}, "arguments": {"$ref": f"#/$defs/{place}"}}
        kinds.append({"type": "object", "properties": properties, "required": ["name", "arguments"]})
    calls: dict[str, Any] = {"type": "array", "items": {"anyOf": kinds}, "minItems": 1}
    if one:
        calls["maxItems"] = 1
    return {"type": "object", "properties": {"tool_calls": calls}, "required": ["tool_calls"], "$defs": definitions}


def _moved(schema: Any, root: str) -> Any:
    if isinstance(schema, list):
        return [_moved(item, root) for item in schema]
    if not isinstance(schema, dict):
        return schema
    moved = {name: _moved(value, root) for name, value in schema.items()}
    reference = moved.get("$ref")
    if isinstance(reference, str) and reference.startswith("#"):
        moved["$ref"] = root + reference[1:]
    return moved
