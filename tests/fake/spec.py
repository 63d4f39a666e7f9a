"""From a script and a request to the answer: everything the script left open is filled in here."""

import re
import time

from tests.fake.script import Script, ToolCall, Usage
from tests.fake.wires.ollama import call_tokens
from tests.fake.wires.protocol import Ask, Request, Spec, tokens_of

WORD = re.compile(r"\S+\s*|^\s+")


def spec_of(request: Request, ask: Ask, script: Script) -> Spec:
    """Decide what is said, how it ends and what it costs; the same numbers streamed or not."""
    thinking, chunks, calls = (
        WORD.findall(script.thinking or ""),
        _chunks(ask, script),
        list(script.tool_calls),
    )
    tokens = full_tokens = _output_tokens(thinking, chunks, calls)
    if ask.limit_tokens is not None and script.obey_limit and full_tokens > ask.limit_tokens:
        thinking, chunks, calls = _up_to(ask.limit_tokens, thinking, chunks, calls)
        tokens = _output_tokens(thinking, chunks, calls)
    implied = "length" if tokens < full_tokens else "tool_calls" if calls else "stop"
    counted = Usage(
        input_tokens=ask.input_tokens,
        output_tokens=tokens * ask.choices,
        reasoning_tokens=sum(map(tokens_of, thinking)) * ask.choices,
    )
    return Spec(
        request=request,
        ask=ask,
        script=script,
        model=ask.model or request.models[0],
        chunks=chunks,
        thinking_chunks=thinking,
        tool_calls=calls,
        finish_reason=script.finish_reason or implied,
        usage=script.usage or counted,
        generated_tokens=tokens * ask.choices,
        created_s=int(time.time()),
    )


def _chunks(ask: Ask, script: Script) -> list[str]:
    if not ask.generates:
        return []
    if script.chunks is not None:
        chunks = script.chunks
    elif script.text is not None:
        chunks = WORD.findall(script.text)
    elif script.tool_calls:
        chunks = []
    else:
        chunks = WORD.findall(f"You said: {ask.last_user_text}")
    if script.repeat_chunks is None or not chunks:
        return chunks
    rounds = -(-script.repeat_chunks // len(chunks))
    return (chunks * rounds)[: script.repeat_chunks]


def _output_tokens(thinking: list[str], chunks: list[str], calls: list[ToolCall]) -> int:
    return sum(map(tokens_of, thinking)) + sum(map(tokens_of, chunks)) + sum(map(call_tokens, calls))


def _up_to(
    limit: int, thinking: list[str], chunks: list[str], calls: list[ToolCall]
) -> tuple[list[str], list[str], list[ToolCall]]:
    """As much as fits, in the order in which it is generated; nothing is cut in half."""
    left = limit

    def fits(cost: int) -> bool:
        nonlocal left
        left = left - cost if cost <= left else -1
        return left >= 0

    return (
        [chunk for chunk in thinking if fits(tokens_of(chunk))],
        [chunk for chunk in chunks if fits(tokens_of(chunk))],
        [call for call in calls if fits(call_tokens(call))],
    )
