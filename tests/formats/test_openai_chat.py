"""OpenAI chat completions: bytes that pass, requests and replies both ways, errors in every shape."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw
from openai.types.chat import ChatCompletion

from switchgear.core.errors import (
    InvalidRequest,
    ModelNotFound,
    RateLimited,
    SwitchgearError,
    UpstreamError,
    UpstreamInvalid,
    UpstreamRejected,
)
from switchgear.core.types import (
    Audio,
    Chat,
    Choice,
    Document,
    Image,
    Message,
    ModelInfo,
    Origin,
    Part,
    Prompt,
    Refusal,
    Reply,
    ResponseFormat,
    Target,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Usage,
)
from switchgear.formats import openai_chat
from tests.formats.json_bodies import VALUES, Body, bodies, fields

TARGET = Target("openai", 'gpt-"4o"')
TARGET_MODEL = r'"gpt-\"4o\""'
HELLO = {"role": "user", "content": "Hello"}


def body(**more: Any) -> bytes:
    return json.dumps({"model": "fast", "messages": [HELLO], **more}).encode()


def values(value: Any) -> Any:
    """As plain values, so that Raw compares by what it says."""
    return json.loads(msgspec.json.encode(value))


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


NAMES = st.text("abcdef_-0123456789", min_size=1, max_size=6)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SAID = TEXTS.filter(bool)
BASE64 = st.sampled_from(["iVBORw0KGgo=", "AA==", "JVBERi0="])
NUMBERS = st.floats(-2, 2, allow_nan=False)
SCHEMAS = VALUES.map(lambda value: Raw(f'{{"type":"object","default":{value}}}'.encode()))
IMAGES = st.one_of(
    st.builds(Image, url=st.just("https://example.org/a,b.png"), detail=st.none() | st.sampled_from(["low", "auto"])),
    st.builds(Image, data=BASE64, media_type=st.just("image/png"), detail=st.none() | st.just("high")),
)
DOCUMENTS = st.one_of(
    st.builds(Document, file_id=NAMES),
    st.builds(Document, data=BASE64, media_type=st.just("application/pdf"), filename=st.just("a.pdf")),
    st.builds(Document, data=BASE64, filename=st.just("a.pdf")),
)
CALLS = st.builds(ToolCall, id=NAMES, name=NAMES, arguments=TEXTS)


@st.composite
def contents(draw: st.DrawFn) -> list[Part]:
    """Parts as the format carries them: one text, or pieces of which not all are text."""
    if draw(st.booleans()):
        return [Text(draw(TEXTS))]
    pieces = draw(st.lists(st.one_of(st.builds(Text, TEXTS), IMAGES, DOCUMENTS), max_size=3))
    sound = Audio(draw(BASE64), draw(st.sampled_from(["wav", "mp3"])))
    return [*pieces, sound, *draw(st.lists(st.builds(Text, TEXTS), max_size=2))]


@st.composite
def messages(draw: st.DrawFn) -> Message:
    """A turn of any role, its parts in the order the format has them."""
    role = draw(st.sampled_from(["system", "developer", "user", "assistant", "tool"]))
    name = draw(st.none() | NAMES)
    if role in ("system", "developer"):
        return Message(role, [Text(draw(TEXTS))], name)  # type: ignore[arg-type]  # hypothesis widens the literals
    if role == "user":
        return Message("user", draw(contents()), name)
    if role == "tool":
        shown = draw(st.one_of(st.just([]), st.builds(lambda t: [Text(t)], TEXTS), st.builds(lambda i: [i], IMAGES)))
        return Message("tool", [ToolResult(draw(NAMES), shown)], name)
    thought = [Thinking(draw(SAID))] if draw(st.booleans()) else []
    text = [Text(draw(TEXTS))] if draw(st.booleans()) else []
    refusal = [Refusal(draw(SAID))] if draw(st.booleans()) else []
    return Message("assistant", [*thought, *text, *refusal, *draw(st.lists(CALLS, max_size=2))], name)


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


def test_results_in_a_turn_of_the_user_become_tool_turns_before_it() -> None:
    said = Message("user", [ToolResult("a", [Text("1")]), ToolResult("b", [Text("2")]), Text("And now?")])
    assert json.loads(rewritten(Prompt(messages=[said])))["messages"] == [
        {"role": "tool", "content": "1", "tool_call_id": "a"},
        {"role": "tool", "content": "2", "tool_call_id": "b"},
        {"role": "user", "content": "And now?"},
    ]
    only = Message("user", [ToolResult("a", [Text("1")])])
    assert [turn["role"] for turn in json.loads(rewritten(Prompt(messages=[only])))["messages"]] == ["tool"]


def test_a_picture_of_unknown_type_is_still_a_data_url() -> None:
    written = json.loads(rewritten(Prompt(messages=[Message("user", [Image(data="AA==")])])))
    assert written["messages"][0]["content"][0]["image_url"]["url"] == "data:;base64,AA=="
    assert prompt_of(messages=written["messages"]).messages[0].parts == [
        Image(data="AA==", media_type="application/octet-stream")
    ]


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


# --- replies -----------------------------------------------------------------------------------------------------

LOGPROBS = st.builds(lambda token: Raw(msgspec.json.encode({"content": [{"token": token}], "refusal": None})), TEXTS)
COUNTS = st.integers(0, 10**6)
REPLIES = st.builds(
    Reply,
    id=TEXTS,
    model=SAID,
    created_s=st.integers(0, 2**40),
    choices=st.lists(
        st.builds(
            Choice,
            st.integers(0, 3),
            st.tuples(
                st.lists(st.builds(Thinking, SAID), max_size=1),
                st.lists(st.builds(Text, SAID), max_size=1),
                st.lists(st.builds(Refusal, SAID), max_size=1),
                st.lists(CALLS, max_size=2),
            ).map(lambda parts: Message("assistant", [*parts[0], *parts[1], *parts[2], *parts[3]])),
            st.none() | st.sampled_from(["stop", "length", "tool_calls", "content_filter"]),
            st.none() | LOGPROBS,
        ),
        max_size=3,
    ),
    usage=st.none() | st.builds(Usage, COUNTS, COUNTS, cached_input_tokens=COUNTS, reasoning_tokens=COUNTS),
)


@settings(max_examples=60, deadline=None)
@given(REPLIES)
def test_a_written_reply_reads_back_as_the_same(reply: Reply) -> None:
    written = openai_chat.write_reply(reply, reply.model)
    assert openai_chat.read_reply(written) == reply
    assert openai_chat.glance_reply(written) == reply.usage


@settings(max_examples=60, deadline=None)
@given(REPLIES)
def test_the_sdk_reads_a_written_reply(reply: Reply) -> None:
    for choice in reply.choices:
        choice.finish_reason = choice.finish_reason or "stop"
        choice.logprobs = None
    completion = ChatCompletion.model_validate_json(openai_chat.write_reply(reply, "asked for"))
    assert completion.model == "asked for"
    assert [choice.message.content or "" for choice in completion.choices] == [c.message.text for c in reply.choices]
    if completion.usage is not None and reply.usage is not None:
        assert completion.usage.total_tokens == reply.usage.total_tokens


def test_a_reply_that_says_nothing_has_empty_content() -> None:
    reply = Reply(id="x", model="m", created_s=0, choices=[Choice(0, Message("assistant", []), "stop")])
    assert json.loads(openai_chat.write_reply(reply, "m"))["choices"][0]["message"]["content"] == ""
    reply.choices[0].message.parts = [ToolCall("a", "f", "{}")]
    assert json.loads(openai_chat.write_reply(reply, "m"))["choices"][0]["message"]["content"] is None


def test_fields_of_a_reply_that_nobody_knows_do_not_matter() -> None:
    reply = openai_chat.read_reply(
        b'{"x":1,"created":1.5,"choices":[{"y":2,"message":{"content":"Hi","annotations":[]}}],"usage":null}'
    )
    assert (reply.text, reply.created_s, reply.usage) == ("Hi", 1, None)


@pytest.mark.parametrize("read", [openai_chat.read_reply, openai_chat.glance_reply])
@pytest.mark.parametrize(
    "said", [b"", b"<html>", b"[]", b"null", b"{}", b'{"choices":5}', b'{"choices":null}', b'{"choices":[', b"[" * 9999]
)
def test_what_is_no_reply_is_invalid(read: Any, said: bytes) -> None:
    with pytest.raises(UpstreamInvalid) as invalid:
        read(said)
    assert invalid.value.status == 502


@pytest.mark.parametrize("read", [openai_chat.read_reply, openai_chat.glance_reply])
@pytest.mark.parametrize("status", [429, 503])
def test_an_error_in_a_reply_of_status_200_is_that_error(read: Any, status: int) -> None:
    with pytest.raises(UpstreamRejected, match="slow down") as rejected:
        read(b'{"error":{"message":"slow down","code":%d}}' % status)
    assert rejected.value.status == status


def test_an_error_beside_no_choices_is_an_error() -> None:
    with pytest.raises(UpstreamRejected, match="no luck"):
        openai_chat.glance_reply(b'{"choices":[],"error":"no luck"}')


@pytest.mark.parametrize("cut", range(0, 180, 9))
def test_a_reply_cut_short_is_never_a_reply(cut: int) -> None:
    reply = Reply(
        id="x",
        model="m",
        created_s=0,
        choices=[Choice(0, Message("assistant", [Text("Grüße")]), "stop")],
        usage=Usage(1, 2),
    )
    whole = openai_chat.write_reply(reply, "m")
    assert cut < len(whole)
    for read in (openai_chat.read_reply, openai_chat.glance_reply):
        with pytest.raises(UpstreamError):
            read(whole[:cut])


def test_the_extension_comes_last() -> None:
    extended = openai_chat.add_extension(b'{"id": "x"}', {"provider": "openai", "cost_usd": None})
    assert extended == b'{"id": "x","x_gateway":{"provider":"openai","cost_usd":null}}'


# --- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (b'{"error":{"message":"no","type":"t","code":"c","param":"p"}}', "no"),
        (b'{"error":"no"}', "no"),
        (b'{"message":"no"}', "no"),
        (b'{"detail":"no"}', "no"),
        (b'[{"error":{"message":"no"}}]', "no"),
        (b"no", "no"),
        (b"", "The provider answered 400."),
        (b"<html>no</html>", "The provider answered 400."),
        (b"{", "The provider answered 400."),
        (b'{"error":5}', "The provider answered 400."),
        (b'{"error":{"message":5}}', "The provider answered 400."),
        (b"[]", "The provider answered 400."),
        (b"\xff", "\ufffd"),
    ],
)
def test_an_error_is_read_in_whatever_shape_it_comes(said: bytes, message: str) -> None:
    error = openai_chat.read_error(400, {}, said)
    assert (error.status, error.message) == (400, message)


def test_an_error_keeps_the_providers_words_and_when_to_come_back() -> None:
    said = b'{"error":{"message":"slow","type":"requests","code":"rate_limit","param":"messages"}}'
    error = openai_chat.read_error(429, {"retry-after": "7"}, said)
    assert (error.status, error.code, error.upstream_type, error.param) == (429, "rate_limit", "requests", "messages")
    assert error.headers() == [(b"retry-after", b"7")]
    assert json.loads(openai_chat.write_error(error)) == {
        "error": {"message": "slow", "type": "requests", "param": "messages", "code": "rate_limit"}
    }


def test_a_long_error_is_cut() -> None:
    assert len(openai_chat.read_error(500, {}, b'{"error":"%b"}' % (b"x" * 10_000)).message) == 2000


@pytest.mark.parametrize(
    ("code", "status"), [(429, 429), (599, 599), (200, 502), (1000, 502), ("429", 502), (True, 502)]
)
def test_an_error_inside_a_reply_names_its_own_status(code: object, status: int) -> None:
    assert openai_chat.read_error(502, {}, json.dumps({"error": {"code": code}}).encode()).status == status


def test_a_status_of_the_providers_own_is_not_overruled() -> None:
    assert openai_chat.read_error(400, {}, b'{"error":{"code":500}}').status == 400


@pytest.mark.parametrize(
    ("error", "written"),
    [
        (InvalidRequest("bad", param="n", code="invalid_value"), ("invalid_request_error", "n", "invalid_value")),
        (ModelNotFound("x"), ("invalid_request_error", "model", "model_not_found")),
        (RateLimited("wait", retry_after_s=1), ("rate_limit_error", None, "rate_limit_exceeded")),
        (UpstreamInvalid("odd"), ("upstream_error", None, "upstream_invalid_response")),
        (SwitchgearError("odd"), ("api_error", None, None)),
    ],
)
def test_an_error_is_written_in_openais_shape(
    error: SwitchgearError, written: tuple[str, str | None, str | None]
) -> None:
    said = json.loads(openai_chat.write_error(error))
    assert said.keys() == {"error"}
    assert (said["error"]["type"], said["error"]["param"], said["error"]["code"]) == written
    assert said["error"]["message"] == error.message
    assert "provider" not in said["error"]
    error.provider = "openai"
    assert json.loads(openai_chat.write_error(error))["error"]["provider"] == "openai"


# --- models ------------------------------------------------------------------------------------------------------


def test_models_are_listed_in_openais_shape() -> None:
    known = ModelInfo(
        id="p/m", owned_by="p", created_s=5, context_window_tokens=8192, capabilities=["completion", "vision"]
    )
    assert json.loads(openai_chat.write_models([ModelInfo(id="fast"), known])) == {
        "object": "list",
        "data": [
            {"id": "fast", "object": "model", "created": 0, "owned_by": ""},
            {
                "id": "p/m", "object": "model", "created": 5, "owned_by": "p", "context_window": 8192,
                "capabilities": ["completion", "vision"],
            },
        ],
    }  # fmt: skip
