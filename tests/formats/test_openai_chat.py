"""OpenAI chat completions: bytes that pass, and requests both ways."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from switchgear.core.errors import InvalidRequest
from switchgear.core.types import Chat, Origin, Prompt, ResponseFormat, Target, Tool, ToolChoice
from switchgear.formats import openai_chat
from tests.formats.drawn_messages import NAMES, TEXTS, messages
from tests.formats.json_bodies import VALUES, Body, bodies, fields

TARGET = Target("openai", 'gpt-"4o"')
TARGET_MODEL = r'"gpt-\"4o\""'
HELLO = {"role": "user", "content": "Hello"}


def body(**more: Any) -> bytes:
    return json.dumps({"model": "fast", "messages": [HELLO], **more}).encode()


# --- requests that pass through ----------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(bodies(model='"fast"', messages="[ ]"))
def test_a_request_goes_up_with_only_its_model_changed(said: Body) -> None:
    kept = Body(said.head, tuple(f for f in said.fields if f.name not in ("stream", "stream_options")), said.tail)
    chat = openai_chat.read_request(bytes(kept))
    assert (chat.model, chat.stream, chat.include_usage) == ("fast", False, False)
    assert openai_chat.write_request(chat, TARGET) == bytes(kept.changed("model", TARGET_MODEL))


@settings(max_examples=40, deadline=None)
@given(bodies(model='"fast"', messages="[]", stream="true", stream_options='{"include_usage":true, "x" : 1.50}'))
def test_a_stream_that_asks_for_usage_goes_up_with_only_its_model_changed(said: Body) -> None:
    chat = openai_chat.read_request(bytes(said))
    assert (chat.stream, chat.include_usage) == (True, True)
    assert openai_chat.write_request(chat, TARGET) == bytes(said.changed("model", TARGET_MODEL))


@settings(max_examples=40, deadline=None)
@given(bodies(model='"fast"', messages="[]", stream="true"))
def test_a_stream_that_does_not_ask_for_usage_is_made_to(said: Body) -> None:
    kept = Body(said.head, tuple(f for f in said.fields if f.name != "stream_options"), said.tail)
    chat = openai_chat.read_request(bytes(kept))
    assert not chat.include_usage
    expected = kept.changed("model", TARGET_MODEL).changed("stream_options", '{"include_usage":true}')
    assert openai_chat.write_request(chat, TARGET) == bytes(expected)


@settings(max_examples=40, deadline=None)
@given(bodies(include_usage="false"), st.sampled_from(["false", "null"]), st.data())
def test_the_other_stream_options_keep_their_bytes(options: Body, unsaid: str, data: st.DataObject) -> None:
    options = options.changed("include_usage", unsaid)
    said = data.draw(
        bodies(model='"fast"', messages="[]", stream="true", stream_options=bytes(options).decode().strip())
    )
    wanted = bytes(options.changed("include_usage", "true")).decode().strip()
    expected = said.changed("model", TARGET_MODEL).changed("stream_options", wanted)
    assert openai_chat.write_request(openai_chat.read_request(bytes(said)), TARGET) == bytes(expected)


@pytest.mark.parametrize(
    ("options", "sent"),
    [("null", '{"include_usage":true}'), ("{}", '{"include_usage":true}'),
     ('{"include_obfuscation":false}', '{"include_obfuscation":false,"include_usage":true}')],
)  # fmt: skip
def test_usage_is_added_to_what_the_stream_options_say(options: str, sent: str) -> None:
    said = f'{{"model":"m","messages":[],"stream":true,"stream_options":{options}}}'.encode()
    assert openai_chat.write_request(openai_chat.read_request(said), Target("p", "m")) == (
        f'{{"model":"m","messages":[],"stream":true,"stream_options":{sent}}}'.encode()
    )


@settings(max_examples=40, deadline=None)
@given(bodies(messages="[]"), fields("model", '"a"'), fields("model", '"b"'), st.data())
def test_a_request_with_two_models_is_refused(said: Body, one: Any, other: Any, data: st.DataObject) -> None:
    kept = [f for f in said.fields if f.name not in ("model", "stream", "stream_options")]
    twice = bytes(Body(said.head, tuple(data.draw(st.permutations([*kept, one, other]))), said.tail))
    with pytest.raises(InvalidRequest) as refused:
        openai_chat.write_request(openai_chat.read_request(twice), TARGET)
    assert refused.value.code == "duplicate_field"


def test_a_model_spelled_with_escapes_is_the_model() -> None:
    chat = openai_chat.read_request(rb'{"mod\u0065l":"f\u0061st","messages":[]}')
    assert chat.model == "fast"
    assert openai_chat.write_request(chat, Target("p", "m")) == rb'{"mod\u0065l":"m","messages":[]}'


@pytest.mark.parametrize(
    ("said", "param", "code", "message"),
    [
        (b"", None, "empty_body", "The request body is empty; send a JSON object."),
        (b"[]", None, "invalid_json", "The request body must be a JSON object."),
        (b"{}", "model", "missing_field", "Field 'model' is missing: name the model to use."),
        (b'{"model":""}', "model", "missing_field", "Field 'model' is missing: name the model to use."),
        (b'{"model":null}', "model", "missing_field", "Field 'model' is missing: name the model to use."),
        (b'{"model":5}', "model", "invalid_type", None),
        (b'{"model":"m"}', "messages", "missing_field", "Field 'messages' is missing: send a list of messages."),
        (b'{"model":"m","messages":"x"}', "messages", "invalid_type", "Field 'messages' must be a list of messages."),
        (b'{"model":"m","messages":null}', "messages", "invalid_type", "Field 'messages' must be a list of messages."),
        (b'{"model":"m","messages":[],"stream":"yes"}', "stream", "invalid_type", None),
        (b'{"model":"m","messages":[],"stream_options":5}', "stream_options", "invalid_type", None),
        (b'{"model":"m","messages":[],"stream_options":{"include_usage":1}}', "stream_options.include_usage",
         "invalid_type", None),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_request_is_said(said: bytes, param: str, code: str, message: str | None) -> None:
    with pytest.raises(InvalidRequest) as refused:
        openai_chat.read_request(said)
    assert (refused.value.param, refused.value.code, refused.value.status) == (param, code, 400)
    assert message in (None, refused.value.message)


@pytest.mark.parametrize("word", ["null", "false"])
def test_what_is_not_a_stream_asks_for_no_usage(word: str) -> None:
    chat = openai_chat.read_request(
        b'{"model":"m","messages":[],"stream":%b,"stream_options":{"include_usage":true}}' % word.encode()
    )
    assert (chat.stream, chat.include_usage) == (False, False)


# --- conversations -----------------------------------------------------------------------------------------------


def prompt_of(**more: Any) -> Prompt:
    return openai_chat.read_request(body(**more)).prompt


def rewritten(prompt: Prompt, *, stream: bool = False) -> bytes:
    return openai_chat.write_request(Chat("fast", stream=stream, prompt=prompt), TARGET)


NUMBERS = st.floats(-2, 2, allow_nan=False)
SCHEMAS = VALUES.map(lambda value: Raw(f'{{"type":"object","default":{value}}}'.encode()))


PROMPTS = st.builds(
    Prompt,
    messages=st.lists(messages(), min_size=1, max_size=4),
    tools=st.lists(
        st.builds(Tool, NAMES, st.none() | TEXTS, st.none() | SCHEMAS, st.none() | st.booleans()), max_size=2
    ),
    tool_choice=st.none()
    | st.sampled_from([ToolChoice("auto"), ToolChoice("none"), ToolChoice("required"), ToolChoice("function", "f")]),
    parallel_tool_calls=st.none() | st.booleans(),
    response_format=st.none()
    | st.sampled_from([ResponseFormat("text"), ResponseFormat("json_object")])
    | st.builds(
        ResponseFormat, st.just("json_schema"), name=NAMES, schema=st.none() | SCHEMAS, strict=st.none() | st.booleans()
    ),
    max_tokens=st.none() | st.integers(1, 10**9),
    temperature=st.none() | NUMBERS,
    top_p=st.none() | NUMBERS,
    top_k=st.none() | st.integers(-1, 100),
    min_p=st.none() | NUMBERS,
    stop=st.lists(TEXTS, max_size=3),
    n=st.none() | st.integers(1, 4),
    seed=st.none() | st.integers(-(2**63), 2**63 - 1),
    presence_penalty=st.none() | NUMBERS,
    frequency_penalty=st.none() | NUMBERS,
    repetition_penalty=st.none() | NUMBERS,
    logprobs=st.none() | st.booleans(),
    top_logprobs=st.none() | st.integers(0, 20),
    logit_bias=st.none() | st.dictionaries(NAMES, NUMBERS, max_size=2),
    reasoning_effort=st.none() | st.sampled_from(["low", "high", "none"]),
    service_tier=st.none() | NAMES,
    user=st.none() | TEXTS,
    metadata=st.none() | st.dictionaries(NAMES, TEXTS, max_size=2),
    extra=st.dictionaries(NAMES.map("x_".__add__), VALUES.map(lambda value: Raw(value.strip().encode())), max_size=2),
)


@settings(max_examples=60, deadline=None)
@given(PROMPTS, st.booleans())
def test_a_written_conversation_reads_back_as_the_same(prompt: Prompt, stream: bool) -> None:
    written = rewritten(prompt, stream=stream)
    chat = openai_chat.read_request(written)
    assert chat.prompt == prompt
    assert (chat.model, chat.stream, chat.include_usage) == (TARGET.model, stream, stream)
    assert rewritten(chat.prompt, stream=stream) == written


@settings(max_examples=30, deadline=None)
@given(PROMPTS)
def test_a_changed_request_is_written_anew_and_only_then(prompt: Prompt) -> None:
    chat = openai_chat.read_request(body(unknown=[1]))
    assert b'"unknown": [1]' in openai_chat.write_request(chat, TARGET)
    chat.change(prompt)
    assert openai_chat.write_request(chat, TARGET) == rewritten(prompt)


def test_a_request_in_another_format_is_written_anew() -> None:
    chat = Chat("fast", origin=Origin("anthropic", b"{}"), read_prompt=lambda origin: Prompt(messages=[]))
    assert json.loads(openai_chat.write_request(chat, TARGET)) == {"model": TARGET.model, "messages": []}


def test_both_names_of_the_token_limit_are_read_and_the_newer_counts() -> None:
    assert prompt_of(max_tokens=5).max_tokens == 5
    assert prompt_of(max_completion_tokens=6).max_tokens == 6
    assert prompt_of(max_tokens=5, max_completion_tokens=6).max_tokens == 6


def test_one_stop_sequence_needs_no_list() -> None:
    assert prompt_of(stop="END").stop == ["END"]
    assert prompt_of(stop=None).stop == []


def test_fields_without_a_canonical_name_are_kept_as_they_came() -> None:
    extra = openai_chat.read_request(
        b'{"model":"m","messages":[{"role":"user"}],"top_a" : 1.50,"user":"u"}'
    ).prompt.extra
    assert {name: bytes(value) for name, value in extra.items()} == {"top_a": b"1.50"}


@pytest.mark.parametrize(
    ("more", "param", "code"),
    [
        ({"messages": []}, "messages", "invalid_value"),
        ({"max_tokens": 0}, "max_tokens", "invalid_value"),
        ({"max_completion_tokens": -1}, "max_completion_tokens", "invalid_value"),
        ({"messages": [{"role": "wizard"}]}, "messages[0].role", "invalid_type"),
        ({"messages": [{"content": "x"}]}, "messages[0]", "invalid_type"),
        ({"messages": [HELLO, {"role": "tool", "content": "x"}]}, "messages[1].tool_call_id", "missing_field"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0]", "missing_field"),
        ({"messages": [{"role": "user", "content": [{"type": "hologram"}]}]},
         "messages[0].content[0].type", "invalid_type"),
        ({"messages": [HELLO, {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url"}]}]},
         "messages[1].content[1]", "missing_field"),
        ({"temperature": "hot"}, "temperature", "invalid_type"),
        ({"tools": [{"type": "function"}]}, "tools[0]", "invalid_type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "missing_field"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_conversation_is_said(more: dict[str, Any], param: str, code: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        prompt_of(**more)
    assert (refused.value.param, refused.value.code) == (param, code)
