"""OpenAI's error object, both ways; what is read may come in any shape a provider or its proxy uses.

Follows https://platform.openai.com/docs/guides/error-codes/api-errors and the ``openai`` package.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from switchgear.core.errors import SwitchgearError, UpstreamRejected
from switchgear.core.types import to_json
from switchgear.formats.body import UNREADABLE


def write_error(error: SwitchgearError) -> bytes:
    """OpenAI's error object; ``provider`` is added where one was involved."""
    body: dict[str, Any] = {
        "message": error.message,
        "type": getattr(error, "upstream_type", None) or error.type,
        "param": error.param,
        "code": error.code,
    }
    if error.provider:
        body["provider"] = error.provider
    return to_json({"error": body})


class _ErrorWords(Struct):
    message: Any = None
    type: Any = None
    code: Any = None
    param: Any = None


def read_error(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamRejected:
    """What an OpenAI-shaped error says; also copes with ``{"error": "text"}``, ``{"message": …}`` and plain text."""
    words = _error_words(body)
    message = words.message if isinstance(words.message, str) else None
    code = words.code if isinstance(words.code, str) else None
    if status == 502 and isinstance(words.code, int) and 400 <= words.code <= 599:
        status = words.code  # an error inside a 200 names its own status
    return UpstreamRejected(
        status,
        (message or _plain(body) or f"The provider answered {status}.")[:2000],
        retry_after=headers.get("retry-after"),
        upstream_code=code,
        upstream_type=words.type if isinstance(words.type, str) else None,
        param=words.param if isinstance(words.param, str) else None,
    )


def _error_words(body: bytes) -> _ErrorWords:
    try:
        said = msgspec.json.decode(body)
    except UNREADABLE:
        return _ErrorWords()
    if isinstance(said, list) and said:
        said = said[0]
    if not isinstance(said, dict):
        return _ErrorWords()
    inner = said.get("error", said)
    if isinstance(inner, str):
        return _ErrorWords(message=inner)
    if not isinstance(inner, dict):
        return _ErrorWords()
    message = inner.get("message") or inner.get("detail")
    return _ErrorWords(message, inner.get("type"), inner.get("code"), inner.get("param"))


def _plain(body: bytes) -> str:
    """The text of an error that is not JSON; an HTML page says nothing a caller could use."""
    text = body[:500].decode("utf-8", "replace").strip()
    return "" if text.startswith(("<", "{", "[")) else text
