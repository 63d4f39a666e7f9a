"""A fake provider that is a real process: scripted per model, misbehaving to order, keeping a journal."""

from tests.fake.client import FakeProvider
from tests.fake.journal import (
    Accepted,
    AnyEntry,
    ConnectionClosed,
    ConnectionOpened,
    Finished,
    HeadersSent,
    Malformed,
    SocketClosed,
)
from tests.fake.script import Script, ToolCall, Usage

__all__ = [
    "Accepted",
    "AnyEntry",
    "ConnectionClosed",
    "ConnectionOpened",
    "FakeProvider",
    "Finished",
    "HeadersSent",
    "Malformed",
    "Script",
    "SocketClosed",
    "ToolCall",
    "Usage",
]
