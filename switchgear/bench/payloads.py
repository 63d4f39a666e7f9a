"""What is asked of every gateway, and what it must answer: sizes, bodies, and the check of a reply."""

import json

PROMPT_BYTES = 1024
ANSWER_BYTES = 600
CHUNKS = 50
PAUSE_S = 0.02

ANSWER = ("All work and no play. " * 28)[:ANSWER_BYTES]
STREAMED = "".join(f" word{number:02d} of it" for number in range(1, CHUNKS + 1))
DONE = "data: [DONE]"

# The mock reads these marks in the prompt: the one thing no gateway changes on the way.
BURST, PACED, HELD = "[burst]", "[paced]", "[held]"


def body(model: str, stream: str | None = None) -> str:
    """Return a chat request with a 1 KB prompt; `stream` is one of the marks, or None for no stream."""
    mark = f"{stream} " if stream else ""
    prompt = (mark + "Tell me of the sea, its ships and the people who sail them. " * 20)[:PROMPT_BYTES]
    request: dict[str, object] = {
        "model": model,
        "messages": [
            {"role": "system", "content": "You answer in prose."},
            {"role": "user", "content": prompt},
        ],
        "temperature": 0.7,
        "max_tokens": 256,
    }
    if stream:
        request["stream"] = True
    return json.dumps(request, separators=(",", ":"))


def fault_of_answer(text: str) -> str | None:
    """Say what is wrong with a whole reply, or None."""
    try:
        reply = json.loads(text)
        content = reply["choices"][0]["message"]["content"]
        tokens = reply["usage"]["total_tokens"]
    except (ValueError, LookupError, TypeError):
        return f"not a chat completion: {text[:200]!r}"
    if content != ANSWER:
        return f"unexpected content: {content[:80]!r}"
    return None if tokens == 406 else f"unexpected usage: {tokens!r}"


def fault_of_stream(text: str) -> str | None:
    """Say what is wrong with a streamed reply, or None."""
    pieces: list[str] = []
    lines = [line for line in text.splitlines() if line.startswith("data:")]
    if not lines or lines[-1].strip() != DONE:
        return f"does not end with [DONE]: {text[-200:]!r}"
    for line in lines[:-1]:
        try:
            choices = json.loads(line[5:])["choices"]
        except (ValueError, LookupError, TypeError):
            return f"not a chunk: {line[:200]!r}"
        content = choices[0].get("delta", {}).get("content") if choices else None
        if content:
            pieces.append(content)
    if len(pieces) != CHUNKS:
        return f"{len(pieces)} chunks with content, not {CHUNKS}"
    return None if "".join(pieces) == STREAMED else "the streamed text differs"
