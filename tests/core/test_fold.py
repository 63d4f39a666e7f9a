"""Events to a whole reply and back."""

import json
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from switchgear.core.fold import Fold, fold, unfold
from switchgear.core.types import (
    Choice,
    Event,
    Finished,
    LogprobsDelta,
    Message,
    Refusal,
    RefusalDelta,
    Reply,
    Started,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
    UsageReport,
)

TEXTS = st.text(max_size=6)
SAID = st.text(min_size=1, max_size=6)


def values(value: Any) -> Any:
    return json.loads(msgspec.json.encode(value))


REPLIES = st.builds(
    Reply,
    id=TEXTS,
    model=TEXTS,
    created_s=st.integers(0, 2**40),
    choices=st.lists(
        st.builds(
            Choice,
            st.integers(0, 5),
            st.tuples(
                st.lists(st.builds(Thinking, SAID, st.none() | SAID), max_size=1),
                st.lists(st.builds(Text, SAID), max_size=1),
                st.lists(st.builds(Refusal, SAID), max_size=1),
                st.lists(st.builds(ToolCall, TEXTS, TEXTS, TEXTS), max_size=3),
            ).map(lambda parts: Message("assistant", [*parts[0], *parts[1], *parts[2], *parts[3]])),
            st.none() | st.sampled_from(["stop", "length", "error"]),
            st.none() | st.just(Raw(b'{"content":[1]}')),
        ),
        max_size=4,
        unique_by=lambda choice: choice.index,
    ).map(lambda choices: sorted(choices, key=lambda choice: choice.index)),
    usage=st.none() | st.builds(Usage, st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)),
)


@settings(max_examples=100, deadline=None)
@given(REPLIES)
def test_a_reply_unfolded_and_folded_is_the_same(reply: Reply) -> None:
    assert fold(unfold(reply)) == reply


@settings(max_examples=100, deadline=None)
@given(REPLIES, st.data())
def test_how_the_pieces_are_cut_and_interleaved_makes_no_difference(reply: Reply, data: st.DataObject) -> None:
    start, *rest = [piece for event in unfold(reply) for piece in pieces_of(event, data)]
    by_line: dict[object, list[Event]] = {}
    for event in rest:
        by_line.setdefault((event.index, type(event), getattr(event, "call", 0)), []).append(event)
    shuffled = [start]
    while by_line:
        line = data.draw(st.sampled_from(sorted(by_line, key=str)))
        shuffled.append(by_line[line].pop(0))
        if not by_line[line]:
            del by_line[line]
    assert fold(shuffled) == reply


def pieces_of(event: Event, data: st.DataObject) -> list[Event]:
    """The same said in two."""
    match event:
        case TextDelta() | RefusalDelta():
            at = data.draw(st.integers(0, len(event.text)))
            return [type(event)(index=event.index, text=part) for part in (event.text[:at], event.text[at:])]
        case ThinkingDelta(text=text, signature=signature):
            return [ThinkingDelta(index=event.index, text=text), ThinkingDelta(index=event.index, signature=signature)]
        case ToolCallDelta(arguments=arguments):
            at = data.draw(st.integers(0, len(arguments)))
            first = msgspec.structs.replace(event, arguments=arguments[:at])
            return [first, ToolCallDelta(index=event.index, call=event.call, arguments=arguments[at:])]
        case _:
            return [event]


def test_nothing_folds_to_an_empty_reply() -> None:
    assert fold([]) == Reply(id="", model="", created_s=0, choices=[])


def test_choices_and_calls_come_in_the_order_of_their_numbers() -> None:
    reply = fold(
        [
            TextDelta(index=1, text="b"),
            ToolCallDelta(call=1, id="two", name="g", arguments="2"),
            ToolCallDelta(call=0, id="one", name="f", arguments="1"),
            TextDelta(text="a"),
        ]
    )
    assert [choice.index for choice in reply.choices] == [0, 1]
    assert reply.choices[0].message.parts == [Text("a"), ToolCall("one", "f", "1"), ToolCall("two", "g", "2")]
    assert reply.text == "a"


def test_a_later_id_or_name_does_not_replace_the_first() -> None:
    events = [ToolCallDelta(call=0, id="a", name="f"), ToolCallDelta(call=0, id="b", name="g", arguments="{}")]
    assert fold(events).choices[0].message.parts == [ToolCall("a", "f", "{}")]


def test_an_id_may_come_late() -> None:
    events = [ToolCallDelta(call=0, arguments="{"), ToolCallDelta(call=0, id="a", name="f", arguments="}")]
    assert fold(events).choices[0].message.parts == [ToolCall("a", "f", "{}")]


def test_the_last_usage_counts() -> None:
    assert fold([UsageReport(usage=Usage(1, 1)), UsageReport(usage=Usage(1, 9))]).usage == Usage(1, 9)


def test_a_signature_without_thinking_is_kept() -> None:
    assert fold([ThinkingDelta(signature="s")]).choices[0].message.parts == [Thinking("", "s")]


def test_a_choice_that_only_finished_is_a_choice() -> None:
    assert fold([Finished(index=2, reason="content_filter")]).choices == [
        Choice(2, Message("assistant", []), "content_filter")
    ]


def test_a_choice_that_says_nothing_is_a_choice() -> None:
    reply = Reply(id="x", model="m", created_s=0, choices=[Choice(0, Message("assistant", []))])
    assert fold(unfold(reply)) == reply


def test_log_probabilities_are_joined_end_to_end() -> None:
    pieces = [b'{"content":[{"a":1.50}],"refusal":null}', b'{"content":null,"refusal":[2]}', b'{"content":[3]}']
    reply = fold(LogprobsDelta(logprobs=Raw(piece)) for piece in pieces)
    joined = reply.choices[0].logprobs
    assert joined is not None
    assert bytes(joined) == b'{"content":[{"a":1.50},3],"refusal":[2]}'


def test_log_probabilities_said_once_keep_their_bytes() -> None:
    logprobs = Raw(b'{ "content": [1.50] }')
    assert fold([LogprobsDelta(logprobs=logprobs)]).choices[0].logprobs == logprobs


def test_a_reply_can_be_had_while_it_grows() -> None:
    folding = Fold()
    folding.add(Started(id="x", model="m", created_s=1))
    folding.add(TextDelta(text="a"))
    assert folding.reply().text == "a"
    folding.add(TextDelta(text="b"))
    folding.add(UsageReport(usage=Usage(1, 2)))
    assert (folding.reply().text, folding.usage) == ("ab", Usage(1, 2))
    assert values(folding.reply())["id"] == "x"
