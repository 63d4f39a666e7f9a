"""A JSON object as the bytes it came in: which fields it has, and how to change one of them in place.

A gateway mostly passes bodies on. So a body is split into its top-level fields once, each a view of the original
bytes, and a change is a splice: whatever the gateway does not know keeps its bytes, its order and its white space.
"""

import re

import msgspec
from msgspec import Raw

from switchgear.core.errors import InvalidRequest

MAX_DEPTH = 128

_FIELDS = msgspec.json.Decoder(dict[str, Raw])
_KEY = re.compile(rb'\s*"((?:[^"\\]|\\.)*)"\s*:\s*', re.DOTALL)
_OPEN = re.compile(rb"\s*\{")
_NEXT = re.compile(rb"\s*,")
_END = re.compile(rb"\s*\}\s*\Z")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def read_fields(body: bytes) -> dict[str, Raw]:
    """The top-level fields of a JSON object, in order, as views of ``body``.

    Raises InvalidRequest where it is empty, not JSON, not an object, not UTF-8, or nested deeper than MAX_DEPTH.
    """
    if not body:
        raise InvalidRequest("The request body is empty; send a JSON object.", code="empty_body")
    if is_too_deep(body):
        raise InvalidRequest(f"The request body is nested deeper than {MAX_DEPTH} levels.", code="json_too_deep")
    try:
        body.decode()  # JSON text is UTF-8 (RFC 8259, 8.1); the decoder does not look inside what it skips
        return _FIELDS.decode(body)
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"The request body is not UTF-8 (byte {error.start}).", code="invalid_json") from None
    except msgspec.ValidationError:
        raise InvalidRequest("The request body must be a JSON object.", code="invalid_json") from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidRequest(f"The request body is not valid JSON: {error}.", code="invalid_json") from None


def is_too_deep(body: bytes) -> bool:
    """Whether valid JSON nests deeper than MAX_DEPTH; brackets inside strings do not count."""
    if body.count(b"{") + body.count(b"[") <= MAX_DEPTH:
        return False
    # Strings are every second part between unescaped quotes. Then the innermost pairs are peeled off, a level a turn.
    outside = body.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2]
    brackets = b"".join(outside).translate(None, _NOT_BRACKETS)
    for _ in range(MAX_DEPTH):
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    return bool(brackets)


def replace_fields(body: bytes, fields: dict[str, Raw], changes: dict[str, bytes]) -> bytes:
    """``body`` with the values of some top-level fields replaced, or added at the end, and every other byte as it was.

    ``fields`` is what ``read_fields`` gave for this body. Raises InvalidRequest where a field stands twice: which of
    the two counts differs between parsers, so such a body could mean one thing to us and another to the provider.
    """
    pieces, copied_to, position = [], 0, _start(body)
    missing = dict(changes)
    for count, (name, value) in enumerate(fields.items()):
        if count:
            position = _expect(_NEXT, body, position)
        key = _KEY.match(body, position)
        if key is None or (key[1] != name.encode() and msgspec.json.decode(b'"%b"' % key[1]) != name):
            raise _duplicate()
        start, position = key.end(), key.end() + len(memoryview(value))
        if name in missing:
            pieces += [body[copied_to:start], missing.pop(name)]
            copied_to = position
    end = _END.match(body, position)
    if end is None:
        raise _duplicate()
    pieces.append(body[copied_to:position])
    for name, added in missing.items():
        pieces.append((b"," if fields else b"") + msgspec.json.encode(name) + b":" + added)
    pieces.append(body[position:])
    return b"".join(pieces)


def append_field(body: bytes, name: str, value: bytes) -> bytes:
    """A non-empty JSON object with one more field at its end; anything else comes back as it is."""
    end = body.rfind(b"}")
    if end < 0 or body[end + 1 :].strip():
        return body
    return b"%b,%b:%b%b" % (body[:end].rstrip(), msgspec.json.encode(name), value, body[end:])


def _start(body: bytes) -> int:
    return _expect(_OPEN, body, 0)


def _expect(pattern: re.Pattern[bytes], body: bytes, position: int) -> int:
    match = pattern.match(body, position)
    if match is None:
        raise _duplicate()
    return match.end()


def _duplicate() -> InvalidRequest:
    return InvalidRequest("A field stands twice in the request body.", code="duplicate_field")
