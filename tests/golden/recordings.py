"""Streams as providers send them, by name; the bytes in ``openai_chat/*.sse`` are never rewritten by a test."""

import json
import re
from collections.abc import Iterator

from tests.golden import GOLDEN

OPENAI = {path.stem: path.read_bytes() for path in sorted((GOLDEN / "openai_chat").glob("*.sse"))}
FAILING = {name: stream for name, stream in OPENAI.items() if name.startswith(("error_", "bad_", "html", "truncated"))}
COMPLETE = {name: stream for name, stream in OPENAI.items() if name not in FAILING}

DONE = "[DONE]"
_BLANK_LINE = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")


def frame_ends(stream: bytes) -> list[int]:
    """Where frames end, 0 first: the places between frames."""
    return [0, *(match.end() for match in _BLANK_LINE.finditer(stream))]


def payloads(stream: bytes) -> Iterator[str]:
    """The data of each whole event, read the slow way, by the letter of the HTML standard."""
    text = stream.removeprefix(b"\xef\xbb\xbf").decode().replace("\r\n", "\n").replace("\r", "\n")
    data: list[str] = []
    for line in text.split("\n")[:-1]:
        if not line:
            if data:
                yield "\n".join(data)
            data = []
        name, _, value = line.partition(":")
        if name == "data":
            data.append(value.removeprefix(" "))


def may_complete(stream: bytes) -> bool:
    """Whether this much of an OpenAI stream may count as complete: it said so, or every choice did, in whole frames."""
    try:
        text = stream.removeprefix(b"\xef\xbb\xbf").decode()
    except UnicodeDecodeError:
        return False
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if text.rpartition("\n\n")[2].strip():
        return False
    begun, finished = set(), set()
    for payload in payloads(stream):
        if payload == DONE:
            return True
        try:
            chunk = json.loads(payload)
        except ValueError:
            return False
        if "error" in chunk:
            return False
        for choice in chunk.get("choices", []):
            begun.add(choice["index"])
            if choice["finish_reason"]:
                finished.add(choice["index"])
    return bool(begun) and begun == finished
