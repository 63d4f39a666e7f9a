"""A JSON object as the bytes it came in: which fields it has, and how to change one of them in place.

A gateway mostly passes bodies on. So a body is split into its top-level fields once, each a view of the original
bytes, and a change is a splice: whatever the gateway does not know keeps its bytes, its order and its white space.
"""

import re
from typing import TypeVar

import msgspec
from msgspec import Raw

from switchgear.core.errors import InvalidRequest
from switchgear.core.types import ToolCall

MAX_DEPTH = 128

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding bytes that are no JSON, or not the JSON that was expected, may raise."""

T = TypeVar("T")

_FIELDS = msgspec.json.Decoder(dict[str, Raw])
_KEY = re.compile(rb'\s*[{,]\s*"((?:[^"\\]|\\.)*)"\s*:\s*', re.DOTALL)
_END = re.compile(rb"\s*\}\s*\Z")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_SQUARE = bytes.maketrans(b"{}", b"[]")


def read_object(body: bytes, decoder: "msgspec.json.Decoder[T]") -> T:
    """What ``decoder`` makes of a JSON object, the client's request.

    Raises InvalidRequest where it is empty, not JSON, not an object, not UTF-8, nested deeper than MAX_DEPTH, or where
    a field is not what the decoder expects; that field is then in ``param``.
    """
    if not body:
        raise InvalidRequest("The request body is empty; send a JSON object.", code="empty_body")
    if is_too_deep(body):
        raise InvalidRequest(f"The request body is nested deeper than {MAX_DEPTH} levels.", code="json_too_deep")
    try:
        if not body.isascii():
            body.decode()  # JSON text is UTF-8 (RFC 8259, 8.1); the decoder does not look inside what it skips
        return decoder.decode(body)
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"The request body is not UTF-8 (byte {error.start}).", code="invalid_json") from None
    except msgspec.ValidationError as error:
        raise invalid_field(error) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidRequest(f"The request body is not valid JSON: {error}.", code="invalid_json") from None


def invalid_field(error: msgspec.ValidationError) -> InvalidRequest:
    """A decoder's complaint, ``Expected `str`, got `int` - at `$.model```, as a message and a ``param``."""
    what, _, where = str(error).partition(" - at `$")
    what = what.replace(" | null`", "`")
    param = where.rstrip("`").removeprefix(".").replace("[...]", "[]")
    if not param:
        return InvalidRequest("The request body must be a JSON object.", code="invalid_json")
    return InvalidRequest(f"Field '{param}': {what[:1].lower()}{what[1:]}.", param=param, code="invalid_type")


def untranslatable(param: str, why: str) -> InvalidRequest:
    """The refusal of a field that the provider cannot be asked; ``why`` names the provider first."""
    return InvalidRequest(f"{param!r} cannot be translated: {why}.", param=param, code="unsupported_value")


def is_too_deep(body: bytes) -> bool:
    """Whether valid JSON nests deeper than MAX_DEPTH; brackets inside strings do not count."""
    if body.count(b"{") + body.count(b"[") <= MAX_DEPTH:
        return False
    # Strings are every second part between unescaped quotes. Then the innermost pairs are peeled off, a level a turn.
    outside = body.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2]
    brackets = b"".join(outside).translate(_SQUARE, _NOT_BRACKETS)
    for _ in range(MAX_DEPTH):
        peeled = brackets.replace(b"[]", b"")
        if len(peeled) == len(brackets):  # nothing is left, or it is not JSON and the decoder will say so
            return peeled.count(b"[") > MAX_DEPTH
        brackets = peeled
    return bool(brackets)


def replace_fields(body: bytes, changes: dict[str, bytes]) -> bytes:
    """``body`` with the values of some top-level fields replaced, or added at the end, and every other byte as it was.

    Raises InvalidRequest where a field stands twice: which of the two counts differs between parsers, so such a body
    could mean one thing to us and another to the provider.
    """
    fields, missing = _FIELDS.decode(body), dict(changes)
    pieces, copied_to, position = [], 0, 0
    for name, value in fields.items():
        key = _KEY.match(body, position)
        if key is None or (key[1] != name.encode() and msgspec.json.decode(b'"%b"' % key[1]) != name):
            raise _duplicate()
        start, old = key.end(), memoryview(value)
        if not body.startswith(old, start):  # the first of two; without this the walk could be led astray
            raise _duplicate()
        position = start + len(old)
        if name in missing:
            pieces += [body[copied_to:start], missing.pop(name)]
            copied_to = position
    if fields and _END.match(body, position) is None:
        raise _duplicate()
    pieces.append(body[copied_to:])
    changed = b"".join(pieces)
    for name, added in missing.items():
        changed = append_field(changed, name, added)
    return changed


def append_field(body: bytes, name: str, value: bytes) -> bytes:
    """A JSON object with one more field at its end; anything else comes back as it is."""
    end = body.rfind(b"}")
    if end < 0 or (end + 1 < len(body) and body[end + 1 :].strip()):
        return body
    head = body[:end].rstrip()
    return b'%b%b"%b":%b%b' % (head, b"" if head.endswith(b"{") else b",", name.encode(), value, body[len(head) :])


def own_copy(value: Raw) -> Raw | None:
    """A copy of a value that does not keep the whole body alive; None for JSON's null."""
    return None if bytes(value) == b"null" else value.copy()


def _duplicate() -> InvalidRequest:
    return InvalidRequest("A field stands twice in the request body.", code="duplicate_field")


def read_arguments(call: ToolCall, param: str) -> Raw:
    """A tool call's arguments as the object they must be, in the caller's own bytes: numbers keep their digits.

    Raises InvalidRequest, with ``param``, where they are not a JSON object.
    """
    text = call.arguments.strip() or "{}"
    try:
        if isinstance(msgspec.json.decode(text), dict):
            return Raw(text.encode())
    except UNREADABLE:
        pass
    raise InvalidRequest(
        "The arguments of a tool call must be a JSON object.",
        param=param,
        code="invalid_value",
    )
