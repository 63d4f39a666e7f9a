"""Golden files: what a format writes and reads, kept as text that a reviewer can see change."""

import os
from pathlib import Path
from typing import Any

import msgspec

GOLDEN = Path(__file__).parent


def check_golden(path: Path, text: str) -> None:
    """Assert that the file holds this text; with UPDATE_GOLDEN=1 in the environment, write it there instead."""
    if os.environ.get("UPDATE_GOLDEN") == "1":
        path.write_text(text, encoding="utf-8")
    assert path.exists(), f"{path} does not exist; run with UPDATE_GOLDEN=1 to write it"
    assert text == path.read_text(encoding="utf-8")


def pretty(value: Any) -> str:
    """JSON for people: bytes of JSON, or any value msgspec can encode, indented and with a line feed at its end."""
    encoded = value if isinstance(value, bytes) else msgspec.json.encode(value)
    return msgspec.json.format(encoded, indent=2).decode() + "\n"
