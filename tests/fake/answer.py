"""What the fake provider decides to send for one request: a head, a framing and pieces of body. Pure."""

import http
from collections.abc import Iterator

import msgspec

from tests.fake.pieces import Piece, one_long_line, pieces_of
from tests.fake.script import Framing, Script
from tests.fake.spec import spec_of
from tests.fake.wires.protocol import Ask, Frame, Refusal, Request, Spec, Wire

FLOOD_HEADER_BYTES = 1000
REASONS = {status.value: status.phrase for status in http.HTTPStatus}


class Answer(msgspec.Struct, kw_only=True):
    """Everything to be sent, and what a provider would bill for it when all of it was generated."""

    status: int
    head: bytes
    framing: Framing
    pieces: Iterator[Piece]
    input_tokens: int = 0
    output_tokens: int = 0
    piece_tokens: int = 0  # the sum over the pieces; differs from output_tokens where a script sets the usage
    refused: bool = False


def answer_to(request: Request, wire: Wire, ask: Ask, script: Script, *, keep_alive: bool) -> Answer:
    """Validate first, so that a gateway's malformed request is never hidden behind a scripted refusal."""
    refusal = wire.validate(request)
    if refusal is not None:
        return _refused(request, refusal, Script(), keep_alive=keep_alive)
    if script.redirect_to is not None:
        headers = {"location": script.redirect_to} | script.headers
        moved = Script(headers=headers)
        return _refused(request, Refusal(script.status or 307, b"", "text/plain"), moved, keep_alive=keep_alive)
    if script.status is not None and script.status >= 400:
        body = script.raw_body
        if body is None:
            message = script.error or REASONS.get(script.status, "Scripted")
            body = wire.error(script.status, message, script.error_code)
        refusal = Refusal(script.status, body, wire.reply_type)
        return _refused(request, refusal, script, keep_alive=keep_alive)
    return _spoken(spec_of(request, ask, script), wire, keep_alive=keep_alive)


def refusal_answer(status: int, body: bytes) -> Answer:
    """A refusal of something that is not even a request of any wire."""
    head = _head(status, [("content-type", "application/json"), ("content-length", str(len(body)))], Script())
    return Answer(status=status, head=head, framing="content-length", pieces=iter([Piece(body)]), refused=True)


def informational_head(status: int) -> bytes:
    """A reply before the reply."""
    link = "" if status == 100 else "link: </style.css>; rel=preload\r\n"
    return f"HTTP/1.1 {status} {REASONS[status]}\r\n{link}\r\n".encode()


def _refused(request: Request, refusal: Refusal, script: Script, *, keep_alive: bool) -> Answer:
    frames = [Frame(refusal.body)]
    framing = script.framing or "content-length"
    headers = _headers(request, refusal.content_type, framing, script, keep_alive=keep_alive)
    headers += _length(framing, frames, script)
    return Answer(
        status=refusal.status,
        head=_head(refusal.status, headers, script),
        framing=framing,
        pieces=pieces_of(frames, script),
        refused=True,
    )


def _spoken(spec: Spec, wire: Wire, *, keep_alive: bool) -> Answer:
    script, streamed = spec.script, spec.ask.stream
    frames = _frames(spec, wire)
    # Under a raw head the body goes out bare, unless the script says how it is framed.
    framing: Framing = script.framing or ("chunked" if streamed and script.raw_head is None else "content-length")
    if framing == "content-length":
        frames = list(frames)
    status = script.status or 200
    content_type = wire.stream_type if streamed else wire.reply_type
    headers = _headers(spec.request, content_type, framing, script, keep_alive=keep_alive)
    if isinstance(frames, list):
        headers += _length(framing, frames, script)
    return Answer(
        status=status,
        head=script.raw_head if script.raw_head is not None else _head(status, headers, script),
        framing=framing,
        pieces=pieces_of(frames, script),
        input_tokens=spec.usage.input_tokens,
        output_tokens=spec.usage.output_tokens,
        piece_tokens=spec.generated_tokens,
    )


def _frames(spec: Spec, wire: Wire) -> Iterator[Frame] | list[Frame]:
    script = spec.script
    if script.raw_frames is not None:
        # Nobody can say which raw frame holds which token: all of them are due with the first.
        first, *others = script.raw_frames or [b""]
        return [Frame(first, spec.generated_tokens), *map(Frame, others)]
    if script.raw_body is not None:
        return [Frame(script.raw_body, spec.generated_tokens)]
    if script.never_ending_line_bytes:
        return one_long_line(script.never_ending_line_bytes)
    if spec.ask.stream:
        return wire.stream(spec)
    # A reply that is not streamed has been generated in full before its first byte is sent.
    return [Frame(wire.reply(spec), spec.generated_tokens)]


def _length(framing: Framing, frames: list[Frame], script: Script) -> list[tuple[str, str]]:
    if framing != "content-length":
        return []
    whole = msgspec.structs.replace(script, cut_after_bytes=None)
    return [("content-length", str(sum(len(piece.data) for piece in pieces_of(frames, whole))))]


def _headers(
    request: Request, content_type: str, framing: Framing, script: Script, *, keep_alive: bool
) -> list[tuple[str, str]]:
    headers = [("content-type", content_type), ("x-request-id", f"req_fake_{request.number}")]
    if framing == "chunked":
        headers.append(("transfer-encoding", "chunked"))
    if script.gzip:
        headers.append(("content-encoding", "gzip"))
    if not keep_alive or framing == "close":
        headers.append(("connection", "close"))
    own = {name.lower() for name in script.headers}
    return [*((name, value) for name, value in headers if name not in own), *script.headers.items()]


def _head(status: int, headers: list[tuple[str, str]], script: Script) -> bytes:
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Scripted')}"]
    lines += [f"{name}: {value}" for name, value in headers]
    for number in range(-(-script.header_flood_bytes // FLOOD_HEADER_BYTES)):
        name = f"x-flood-{number:06}: "
        lines.append(name + "a" * (FLOOD_HEADER_BYTES - len(name) - 2))
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
