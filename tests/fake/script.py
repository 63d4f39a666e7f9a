"""What a fake provider is told to do with one request: one frozen value, JSON on the control port."""

from typing import Literal

import msgspec

Framing = Literal["chunked", "content-length", "close"]
CutWay = Literal["close", "reset", "hang"]


class ToolCall(msgspec.Struct, frozen=True):
    """A call the fake model makes; ``arguments`` is JSON text, whole or (to misbehave) broken."""

    id: str
    name: str
    arguments: str = "{}"


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider counts. ``input_tokens`` includes cached ones, ``output_tokens`` includes reasoning."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0


class Script(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One answer and the way it goes wrong. All defaults together are a healthy answer, "You said: ...".

    Words are tokens: a chunk bills as many output tokens as it has words (at least one). With ``usage`` the
    whole answer bills what that says, and a part of it pro rata.
    """

    # What is said.
    text: str | None = None
    chunks: list[str] | None = None  # the same, cut as the test likes; wins over text
    repeat_chunks: int | None = None  # go round the chunks until this many were sent
    thinking: str | None = None
    thinking_field: str = "reasoning_content"  # OpenAI has no standard one; "reasoning" is the other fashion
    tool_calls: list[ToolCall] = []
    finish_reason: str | None = None  # in the wire's own word; else what the answer implies
    usage: Usage | None = None
    logprobs: bool = False  # send them though nobody asked
    obey_limit: bool = True  # stop at the request's max_tokens with finish_reason "length"
    omit_usage: bool = False
    omit_done: bool = False  # leave the stream's last frame out
    stream_error: str | None = None  # the wire's in-band error event instead of a finish

    # Refusals and heads.
    status: int | None = None
    error: str | None = None  # the message; a status of 400 or more needs none
    error_code: str | None = None  # such as context_length_exceeded
    headers: dict[str, str] = {}
    redirect_to: str | None = None
    informational_first: int | None = None  # 100 or 103, sent before the real head
    header_flood_bytes: int = 0
    gzip: bool = False  # whether or not it was asked for

    # Bytes instead of the wire's own.
    raw_head: bytes | None = None  # status line and headers, with the empty line; the body then goes out bare
    raw_body: bytes | None = None
    raw_frames: list[bytes] | None = None
    never_ending_line_bytes: int = 0  # a body of this many bytes with no newline in it
    framing: Framing | None = None  # else content-length for a reply, chunked for a stream
    split: int | list[int] | None = None  # body bytes per write, each its own HTTP chunk where chunked
    split_pause_s: float = 0.0005

    # Time.
    delay_before_headers_s: float = 0.0
    delay_before_first_byte_s: float = 0.0
    delay_between_chunks_s: float = 0.0
    hang_before_headers: bool = False

    # Ends.
    cut_after_bytes: int | None = None  # of body, HTTP framing not counted
    cut: CutWay = "close"
    close_after_reply: bool = False  # FIN right after a reply that promised keep-alive
    close_on_reuse: bool = False  # answer, then hang up when the next request arrives on this connection
