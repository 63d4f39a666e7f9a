"""Events to a whole reply and back: a non-streamed reply is the folded stream, so there is one pipeline."""

from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Raw

from switchgear.core.types import (
    Choice,
    Event,
    Finished,
    FinishReason,
    LogprobsDelta,
    Message,
    Part,
    Refusal,
    RefusalDelta,
    Reply,
    Started,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
    UsageReport,
)


class _Building:
    """One choice while its pieces arrive."""

    def __init__(self) -> None:
        self.thinking: list[str] = []
        self.signature: str | None = None
        self.text: list[str] = []
        self.refusal: list[str] = []
        self.calls: dict[int, tuple[str, str, list[str]]] = {}
        self.finish_reason: FinishReason | None = None
        self.logprobs: list[Raw] = []

    def add(self, event: Event) -> None:
        match event:
            case TextDelta(text=text):
                self.text.append(text)
            case ToolCallDelta(call=call, id=call_id, name=name, arguments=arguments):
                old_id, old_name, pieces = self.calls.setdefault(call, ("", "", []))
                pieces.append(arguments)
                self.calls[call] = (old_id or call_id or "", old_name or name or "", pieces)
            case ThinkingDelta(text=text, signature=signature):
                self.thinking.append(text)
                self.signature = signature or self.signature
            case RefusalDelta(text=text):
                self.refusal.append(text)
            case Finished(reason=reason):
                self.finish_reason = reason
            case LogprobsDelta(logprobs=logprobs):
                self.logprobs.append(logprobs)
            case _:
                pass

    def choice(self, index: int) -> Choice:
        parts: list[Part] = []
        if self.thinking or self.signature:
            parts.append(Thinking("".join(self.thinking), self.signature))
        if text := "".join(self.text):
            parts.append(Text(text))
        if refusal := "".join(self.refusal):
            parts.append(Refusal(refusal))
        parts += [ToolCall(i, name, "".join(pieces)) for _, (i, name, pieces) in sorted(self.calls.items())]
        return Choice(index, Message("assistant", parts), self.finish_reason, _join_logprobs(self.logprobs))


def _join_logprobs(pieces: list[Raw]) -> Raw | None:
    """OpenAI's ``logprobs`` objects as one: their lists, ``content`` and ``refusal``, end to end."""
    if len(pieces) < 2:
        return pieces[0] if pieces else None
    joined: dict[str, list[Raw] | None] = {}
    for piece in pieces:
        for name, entries in msgspec.json.decode(piece, type=dict[str, list[Raw] | None]).items():
            joined[name] = joined.get(name) if entries is None else [*(joined.get(name) or []), *entries]
    return Raw(msgspec.json.encode(joined))


class Fold:
    """Gathers events into a Reply; feed it all of them, in order."""

    def __init__(self) -> None:
        self._started = Started(id="", model="", created_s=0)
        self._choices: dict[int, _Building] = {}
        self.usage: Usage | None = None

    def add(self, event: Event) -> None:
        """Take the next event."""
        if isinstance(event, Started):
            self._started = event
        elif isinstance(event, UsageReport):
            self.usage = event.usage
        else:
            self._choices.setdefault(event.index, _Building()).add(event)

    def reply(self) -> Reply:
        """The reply so far, choices in the order of their index."""
        start = self._started
        choices = [building.choice(index) for index, building in sorted(self._choices.items())]
        return Reply(id=start.id, model=start.model, created_s=start.created_s, choices=choices, usage=self.usage)


def fold(events: Iterable[Event]) -> Reply:
    """The reply that these events, all of them, amount to."""
    folding = Fold()
    for event in events:
        folding.add(event)
    return folding.reply()


def unfold(reply: Reply) -> Iterator[Event]:
    """The shortest stream that folds to this reply."""
    yield Started(id=reply.id, model=reply.model, created_s=reply.created_s)
    for choice in reply.choices:
        yield from _unfold_choice(choice)
    if reply.usage is not None:
        yield UsageReport(usage=reply.usage)


def _unfold_choice(choice: Choice) -> Iterator[Event]:
    index, calls = choice.index, 0
    if not choice.message.parts and choice.logprobs is None and choice.finish_reason is None:
        yield TextDelta(index=index)  # a choice that says nothing is a choice all the same
    for part in choice.message.parts:
        match part:
            case Text(text=text):
                yield TextDelta(index=index, text=text)
            case Thinking(text=text, signature=signature):
                yield ThinkingDelta(index=index, text=text, signature=signature)
            case Refusal(text=text):
                yield RefusalDelta(index=index, text=text)
            case ToolCall(id=call_id, name=name, arguments=arguments):
                yield ToolCallDelta(index=index, call=calls, id=call_id, name=name, arguments=arguments)
                calls += 1
            case _:
                pass
    if choice.logprobs is not None:
        yield LogprobsDelta(index=index, logprobs=choice.logprobs)
    if choice.finish_reason is not None:
        yield Finished(index=index, reason=choice.finish_reason)
