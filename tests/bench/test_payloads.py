"""What is asked, and what counts as an answer."""

import json

import pytest

from switchgear.bench import payloads

GOOD = {
    "choices": [{"message": {"content": payloads.ANSWER}}],
    "usage": {"total_tokens": 406},
}


def stream(words: int, *, done: bool = True) -> str:
    opening = {"choices": [{"delta": {"role": "assistant", "content": ""}}]}
    chunks = [{"choices": [{"delta": {"content": f" word{n:02d} of it"}}]} for n in range(1, words + 1)]
    usage = {"choices": [], "usage": {"total_tokens": 406}}
    frames = [f"data: {json.dumps(one)}\n\n" for one in (opening, *chunks, usage)]
    return ": a comment\n\n" + "".join(frames) + ("data: [DONE]\n\n" if done else "")


@pytest.mark.parametrize("mark", [None, payloads.BURST, payloads.PACED, payloads.HELD])
def test_every_prompt_is_one_kilobyte(mark: str | None) -> None:
    request = json.loads(payloads.body("m", mark))
    assert len(request["messages"][1]["content"]) == 1024
    assert request.get("stream", False) is (mark is not None)


def test_the_answer_is_600_bytes() -> None:
    assert len(payloads.ANSWER) == 600


def test_the_right_answer_has_no_fault() -> None:
    assert payloads.fault_of_answer(json.dumps(GOOD)) is None


@pytest.mark.parametrize("text", ["", "null", "{}", '{"error": {"message": "no"}}', json.dumps({"choices": []})])
def test_anything_else_than_a_completion_is_a_fault(text: str) -> None:
    assert "not a chat completion" in str(payloads.fault_of_answer(text))


def test_another_text_or_another_usage_is_a_fault() -> None:
    assert "content" in str(payloads.fault_of_answer(json.dumps(GOOD).replace("work", "wörk")))
    assert "usage" in str(payloads.fault_of_answer(json.dumps(GOOD).replace("406", "407")))


def test_fifty_chunks_and_done_are_a_stream() -> None:
    assert payloads.fault_of_stream(stream(50)) is None


def test_a_chunk_too_few_or_no_end_is_a_fault() -> None:
    assert payloads.fault_of_stream(stream(49)) == "49 chunks with content, not 50"
    assert "[DONE]" in str(payloads.fault_of_stream(stream(50, done=False)))
    assert "[DONE]" in str(payloads.fault_of_stream(""))
