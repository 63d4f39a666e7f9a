"""The turns of an OpenAI conversation, both ways: text, pictures, sound, files, tool calls and their results."""

from typing import Any, Literal

from msgspec import Struct

from switchgear.core.errors import InvalidRequest
from switchgear.core.types import (
    Audio,
    Document,
    Image,
    Message,
    Part,
    Refusal,
    Role,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)

# --- the wire's own shapes ---------------------------------------------------------------------------------------


class _Url(Struct, omit_defaults=True):
    url: str
    detail: str | None = None


class _Sound(Struct):
    data: str
    format: str


class _File(Struct, omit_defaults=True):
    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None


class _Piece(Struct, omit_defaults=True):
    """A content part; which of its fields counts depends on ``type``."""

    type: Literal["text", "image_url", "input_audio", "file", "refusal"]
    text: str | None = None
    image_url: _Url | None = None
    input_audio: _Sound | None = None
    file: _File | None = None
    refusal: str | None = None


class WireFunction(Struct, omit_defaults=True):
    """The function of a call: its name, and its arguments as text."""

    name: str
    arguments: str = ""


class WireCall(Struct):
    """A tool call, in a request as in a reply."""

    id: str
    function: WireFunction
    type: Literal["function"] = "function"


class WireTurn(Struct, omit_defaults=True):
    """One of the ``messages``."""

    role: Role
    content: str | list[_Piece] | None = None
    name: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[WireCall] | None = None
    tool_call_id: str | None = None


# --- wire to canonical -------------------------------------------------------------------------------------------


def read_turn(turn: WireTurn, number: int) -> Message:
    """The turn ``messages[number]``. Raises InvalidRequest, with the offending field in ``param``."""
    at = f"messages[{number}]"
    if turn.role == "tool":
        if turn.tool_call_id is None:
            raise InvalidRequest(
                "A tool message needs 'tool_call_id'.", param=f"{at}.tool_call_id", code="missing_field"
            )
        parts = [p for p in _read_content(turn.content, at) if isinstance(p, Text | Image)]
        return Message("tool", [ToolResult(turn.tool_call_id, list(parts))], turn.name)
    parts_: list[Part] = []
    if turn.reasoning_content:
        parts_.append(Thinking(turn.reasoning_content))
    parts_ += _read_content(turn.content, at)
    if turn.refusal:
        parts_.append(Refusal(turn.refusal))
    parts_ += [ToolCall(call.id, call.function.name, call.function.arguments) for call in turn.tool_calls or ()]
    return Message(turn.role, parts_, turn.name)


def _read_content(content: str | list[_Piece] | None, at: str) -> list[Part]:
    if content is None:
        return []
    if isinstance(content, str):
        return [Text(content)]
    return [_read_piece(piece, f"{at}.content[{number}]") for number, piece in enumerate(content)]


def _read_piece(piece: _Piece, at: str) -> Part:
    match piece:
        case _Piece(type="text", text=str(text)):
            return Text(text)
        case _Piece(type="refusal", refusal=str(text)):
            return Refusal(text)
        case _Piece(type="image_url", image_url=_Url(url=url, detail=detail)):
            media_type, data = _split_data_url(url)
            return Image(None if data else url, data, media_type, detail)
        case _Piece(type="input_audio", input_audio=_Sound(data=data, format=sound_format)):
            return Audio(data, sound_format)
        case _Piece(type="file", file=_File() as file):
            media_type, data = _split_data_url(file.file_data or "")
            return Document(data or file.file_data, None, file.file_id, media_type, file.filename)
        case _:
            raise InvalidRequest(f"Part of type {piece.type!r} lacks {piece.type!r}.", param=at, code="missing_field")


def _split_data_url(url: str) -> tuple[str | None, str | None]:
    """Media type and base64 data of a ``data:`` URL (RFC 2397); two None for any other."""
    head, comma, data = url.partition(",")
    if not comma or not head.startswith("data:") or not head.endswith(";base64"):
        return None, None
    return head[5:-7].partition(";")[0] or "application/octet-stream", data


# --- canonical to wire -------------------------------------------------------------------------------------------


def write_turns(message: Message) -> list[WireTurn]:
    """A message as turns: the results of tools in it come first, each a turn of its own."""
    name = message.name if message.role == "tool" else None
    results = [part for part in message.parts if isinstance(part, ToolResult)]
    turns = [WireTurn("tool", _write_content(list(r.parts)), name, tool_call_id=r.call_id) for r in results]
    if message.role == "tool" or (results and len(results) == len(message.parts)):
        return turns
    calls = [WireCall(p.id, WireFunction(p.name, p.arguments)) for p in message.parts if isinstance(p, ToolCall)]
    refusal = "".join(p.text for p in message.parts if isinstance(p, Refusal))
    thinking = "".join(p.text for p in message.parts if isinstance(p, Thinking))
    return [
        *turns,
        WireTurn(
            message.role,
            _write_content(message.parts),
            name=message.name,
            refusal=refusal or None,
            reasoning_content=thinking or None,
            tool_calls=calls or None,
        ),
    ]


def _write_content(parts: list[Any]) -> str | list[_Piece] | None:
    said = [part for part in parts if isinstance(part, Text | Image | Audio | Document)]
    texts = [part.text for part in said if isinstance(part, Text)]
    if len(texts) == len(said):
        return "".join(texts) if said else None
    return [_write_piece(part) for part in said]


def _write_piece(part: Text | Image | Audio | Document) -> _Piece:
    match part:
        case Text(text=text):
            return _Piece("text", text=text)
        case Image(url=url, data=data, media_type=media_type, detail=detail):
            return _Piece("image_url", image_url=_Url(url or f"data:{media_type or ''};base64,{data}", detail))
        case Audio(data=data, format=sound_format):
            return _Piece("input_audio", input_audio=_Sound(data, sound_format))
        case Document():
            data = f"data:{part.media_type};base64,{part.data}" if part.media_type else part.data
            return _Piece("file", file=_File(data, part.file_id, part.filename))
