"""A JSON object as the bytes it came in: read once, changed in place."""

import json

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import Raw, Struct

from switchgear.core.errors import InvalidRequest
from switchgear.formats.body import (
    MAX_DEPTH,
    UNREADABLE,
    append_field,
    is_too_deep,
    own_copy,
    read_object,
    replace_fields,
    untranslatable,
)
from tests.formats.json_bodies import VALUES, Body, Field, bodies, fields


class Head(Struct):
    model: str | None = None
    rest: Raw = Raw(b"null")


DECODER = msgspec.json.Decoder(Head)


# --- reading -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        (b"", "empty_body", "empty"),
        (b"not json", "invalid_json", "not valid JSON"),
        (b'{"model":', "invalid_json", "not valid JSON"),
        (b'{"model":"m"} x', "invalid_json", "not valid JSON"),
        (b'{"model":"m",}', "invalid_json", "not valid JSON"),
        (b"[]", "invalid_json", "must be a JSON object"),
        (b'"model"', "invalid_json", "must be a JSON object"),
        (b"null", "invalid_json", "must be a JSON object"),
        (b'{"rest":"\xff"}', "invalid_json", "not UTF-8 (byte 9)"),
        (b'{"model":"\\ud800"}', "invalid_json", "not valid JSON"),
        (b'\xef\xbb\xbf{"model":"m"}', "invalid_json", "not valid JSON"),
        (b'{"model":7}', "invalid_type", "expected `str`, got `int`"),
        (b'{"rest":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}", "json_too_deep", "deeper than 128"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused_with_the_reason(body: bytes, code: str, says: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_object(body, DECODER)
    assert refused.value.status == 400
    assert refused.value.code == code
    assert says in refused.value.message


def test_the_field_at_fault_is_in_param() -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_object(b'{"model":{}}', DECODER)
    assert refused.value.param == "model"


def test_a_body_cut_short_is_not_json_however_many_brackets_it_has() -> None:
    body = b'{"rest":[' + b'{"role":"user"},' * 500
    with pytest.raises(InvalidRequest) as refused:
        read_object(body, DECODER)
    assert refused.value.code == "invalid_json"


@pytest.mark.parametrize("body", [b"[" * 1_000_000, b'{"a":' * 200_000, b'{"rest":' + b"[" * 500, b"[[" * 100 + b"}"])
def test_brackets_without_end_are_refused_without_a_crash(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        read_object(body, DECODER)


@settings(max_examples=40, deadline=None)
@given(bodies(model='"m"'))
def test_any_object_is_read(body: Body) -> None:
    assert read_object(bytes(body), DECODER).model == "m"


# --- depth -------------------------------------------------------------------------------------------------------


def depth_of(body: str) -> int:
    """The slow way: a character at a time."""
    depth = deepest = 0
    in_string = escaped = False
    for char in body:
        if in_string:
            in_string = escaped or char != '"'
            escaped = not escaped and char == "\\"
        elif char == '"':
            in_string = True
        elif char in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif char in "]}":
            depth -= 1
    return deepest


@st.composite
def deep_values(draw: st.DrawFn) -> str:
    """Values near the limit, with siblings, and brackets, quotes and backslashes inside strings."""
    said = draw(VALUES)
    string = st.sampled_from(['"[[["', '"}}\\"]"', '"\\\\"', '"a\\\\\\"{"', "7"])
    for kind in draw(st.lists(st.sampled_from("[{"), min_size=MAX_DEPTH - 6, max_size=MAX_DEPTH + 3)):
        sibling = draw(string)
        said = f"[{sibling},{said},[]]" if kind == "[" else f'{{"k":{said},"l":{{}},"s":{sibling}}}'
    return said


@settings(max_examples=30, deadline=None)
@given(deep_values())
def test_depth_is_what_counting_brackets_one_by_one_gives(body: str) -> None:
    json.loads(body)
    assert is_too_deep(body.encode()) == (depth_of(body) > MAX_DEPTH)


@pytest.mark.parametrize("pair", ["[]", "{}", "[{}]", "{[]}", "{[[]]}"])
@pytest.mark.parametrize("depth", [MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1, MAX_DEPTH + 2, 2 * MAX_DEPTH])
def test_the_kind_of_bracket_makes_no_difference(pair: str, depth: int) -> None:
    opening = pair[: len(pair) // 2]
    kinds = [opening[level % len(opening)] for level in range(depth)]
    body = "".join('{"k":' if kind == "{" else "[" for kind in kinds[:-1])
    body += {"[": "[]", "{": "{}"}[kinds[-1]] + "".join("}" if kind == "{" else "]" for kind in reversed(kinds[:-1]))
    json.loads(body)
    assert is_too_deep(body.encode()) == (depth > MAX_DEPTH)


def test_brackets_in_strings_do_not_count() -> None:
    assert not is_too_deep(b'{"a":"' + b"[" * 10_000 + b'\\"{{' + b'","b":[]}')


# --- changing ----------------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(bodies(model='"m"'), VALUES)
def test_a_replaced_field_is_all_that_changes(body: Body, value: str) -> None:
    assert replace_fields(bytes(body), {"model": value.encode()}) == bytes(body.changed("model", value))


@settings(max_examples=50, deadline=None)
@given(bodies())
def test_fields_are_replaced_or_added_and_the_rest_keeps_its_bytes(body: Body) -> None:
    changed = replace_fields(bytes(body), {"model": b'"n"', "stream_options": b'{"a":1}'})
    assert changed == bytes(body.changed("model", '"n"').changed("stream_options", '{"a":1}'))


@settings(max_examples=40, deadline=None)
@given(bodies(), fields("model"), fields("model"), st.data())
def test_a_changed_field_that_stands_twice_is_refused(
    body: Body, one: Field, other: Field, data: st.DataObject
) -> None:
    said = data.draw(st.permutations([field for field in body.fields if field.name != "model"] + [one, other]))
    with pytest.raises(InvalidRequest) as refused:
        replace_fields(bytes(Body(body.head, tuple(said), body.tail)), {"model": b'"n"'})
    assert refused.value.code == "duplicate_field"


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 40), st.integers(0, 6), st.sampled_from(["x", "xxxx", "mod\\u0065l"]))
@example(7, 2, "x")
def test_a_field_that_stands_twice_is_seen_even_where_the_lengths_are_made_to_fit(
    spaces: int, digits: int, nested: str
) -> None:
    first = "1" * (digits + 1)
    body = f'{{"\\u0061":{first},"b":22,"\\u0061":{{"z":0,{" " * spaces}"b":3}},"model":"m","{nested}":1}}'
    with pytest.raises(InvalidRequest):
        replace_fields(body.encode(), {"model": b'"n"'})


def test_no_lengths_of_a_repeated_field_lead_the_walk_astray() -> None:
    for spaces in range(60):
        body = b'{"\\u006dodel":"m","a":1,"b":22,"a":{"z":0,' + b" " * spaces + b'"b":3}}'
        with pytest.raises(InvalidRequest):
            replace_fields(body, {"model": b'"n"'})


@pytest.mark.parametrize(
    ("body", "changed"),
    [
        (b'{"model":"m"}', b'{"model":"n"}'),
        (b'{ "model" :\n "m" }', b'{ "model" :\n "n" }'),
        (b'{"mod\\u0065l":"m"}', b'{"mod\\u0065l":"n"}'),
        (b'{"a":{"model":"deep"},"model":"m"}', b'{"a":{"model":"deep"},"model":"n"}'),
        (b'{"a":{"model":"deep"}}', b'{"a":{"model":"deep"},"model":"n"}'),
        (b'{"a":"model","model":"model"}', b'{"a":"model","model":"n"}'),
        (b'{"a":"\\"model\\":","model":"m"}', b'{"a":"\\"model\\":","model":"n"}'),
        (b'{"a":"x\\"model"}', b'{"a":"x\\"model","model":"n"}'),
        (b'{"a":["model"]}', b'{"a":["model"],"model":"n"}'),
        (b"{}", b'{"model":"n"}'),
        (b"{\n}\n", b'{"model":"n"\n}\n'),
        (b'{\n  "a": 1.50\n}\n', b'{\n  "a": 1.50,"model":"n"\n}\n'),
    ],
)
def test_a_change_finds_its_place(body: bytes, changed: bytes) -> None:
    assert replace_fields(body, {"model": b'"n"'}) == changed


@settings(max_examples=40, deadline=None)
@given(bodies(), VALUES)
def test_an_appended_field_comes_last_and_moves_nothing(body: Body, value: str) -> None:
    kept = Body(body.head, tuple(field for field in body.fields if field.name != "x_gateway"), body.tail)
    assert append_field(bytes(kept), "x_gateway", value.encode()) == bytes(kept.changed("x_gateway", value))


@pytest.mark.parametrize("body", [b"", b"[]", b"text", b'{"a":1} trailing', b"\xff"])
def test_nothing_is_appended_to_what_is_no_object(body: bytes) -> None:
    assert append_field(body, "x", b"1") == body


def test_what_is_written_is_json_again() -> None:
    changed = replace_fields(b'{"a":{"model":1}}', {"model": b'"n"', "b": b"[1]"})
    assert json.loads(changed) == {"a": {"model": 1}, "model": "n", "b": [1]}


@pytest.mark.parametrize("said", [b"", b"{", b'{"a":"\xff"}', b"[" * 99_999])
def test_what_cannot_be_read_is_told_from_mistakes_of_ours(said: bytes) -> None:
    with pytest.raises(UNREADABLE):
        msgspec.json.decode(said)


def test_a_refused_field_is_named_with_the_reason() -> None:
    refused = untranslatable("n", "Ollama gives one answer at a time")
    assert (refused.status, refused.param, refused.code) == (400, "n", "unsupported_value")
    assert refused.message == "'n' cannot be translated: Ollama gives one answer at a time."


def test_a_copy_says_the_same_and_null_is_nothing() -> None:
    value = msgspec.json.decode(b'{"a": [1.50] }', type=dict[str, Raw])["a"]
    copy = own_copy(value)
    assert copy is not None
    assert copy is not value
    assert bytes(copy) == bytes(value) == b"[1.50]"
    assert own_copy(Raw(b"null")) is None
