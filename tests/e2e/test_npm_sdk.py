"""The official OpenAI SDK for JavaScript, unchanged, on Node: without Node these tests fail, for it is promised."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import KEY
from tests.e2e.gateway import GatewayProcess
from tests.fake import FakeProvider, Script, SocketClosed, ToolCall, Usage

FOLDER = Path(__file__).parent / "js"
INSTALL_WITHIN_S = 100
ARGUMENTS = ['{"city": "Oslo"}', '{"city": "São Paulo"}']


@pytest.fixture(scope="session")
def driver() -> Path:
    """The script, with what it needs in node_modules; installed when the lock file has changed since."""
    lock, installed = FOLDER / "package-lock.json", FOLDER / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(
            command, check=False, cwd=FOLDER, capture_output=True, text=True, timeout=INSTALL_WITHIN_S
        )
        assert done.returncode == 0, done.stderr
        installed.touch()
    return FOLDER / "drive.mjs"


@pytest.fixture(params=["m", "by-ollama", "by-tgi"])
def seen(request: pytest.FixtureRequest, gateway: GatewayProcess, fake: FakeProvider, driver: Path) -> dict[str, Any]:
    """What the SDK made of every call, over a provider of each wire format."""
    calls = [ToolCall(f"call_{n}", name, ARGUMENTS[n]) for n, name in enumerate(("get_weather", "get_time"))]
    fake.script("fake-model", Script(text="one two three", usage=Usage(input_tokens=5, output_tokens=3)))
    fake.script("calling", Script(tool_calls=calls))
    fake.script("limited", Script(status=429, error="slow down", headers={"Retry-After": "7"}))
    fake.script("broken", Script(chunks=["a ", "b ", "c "], cut_after_bytes=700, cut="reset"))
    fake.script("midway", Script(chunks=["a "], stream_error="the reactor is cold"))
    fake.script("endless", Script(chunks=["tick "], repeat_chunks=10_000, delay_between_chunks_s=0.01))
    command = ["node", str(driver), f"{gateway.url}/v1", KEY, request.param]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    fake.wait_for(SocketClosed)  # of the stream it left
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_sdk_gets_replies_streams_calls_models_and_typed_errors(seen: dict[str, Any]) -> None:
    assert seen["whole"] == {"text": "one two three", "finish_reason": "stop", "tokens": 3}
    assert seen["stream"] == {"text": "one two three", "usages": 0}
    assert seen["usage"] == {"choices": 0, "tokens": 3}
    named = [["get_weather", ARGUMENTS[0]], ["get_time", ARGUMENTS[1]]]
    assert seen["calls"] == {"finish_reason": "tool_calls", "calls": named}
    assert seen["models"] == {"listed": True, "one": "team/deep/model"}
    assert seen["leaving"] == {"aborted": True}
    errors = seen["errors"]
    classes = {name: (error["error"], error.get("status")) for name, error in errors.items()}
    assert classes == {
        "bad_request": ("BadRequestError", 400),
        "no_key": ("AuthenticationError", 401),
        "not_found": ("NotFoundError", 404),
        "rate_limited": ("RateLimitError", 429),
        "unavailable": ("InternalServerError", 502),
        "broken": ("APIError", None),
        "refused_midway": ("APIError", None),
    }
    assert errors["bad_request"]["param"] == "messages"
    assert errors["no_key"]["code"] == "invalid_api_key"
    assert "'by-ollama'" in errors["not_found"]["message"]
    assert errors["rate_limited"]["retry_after"] == "7"
    assert "the reactor is cold" in errors["refused_midway"]["message"]


def test_the_lock_file_pins_by_content_and_names_no_registry() -> None:
    text = (FOLDER / "package-lock.json").read_text()
    assert "http://" not in text
    assert "https://" not in text
    packages = json.loads(text)["packages"]
    assert all("integrity" in package for name, package in packages.items() if name)
    pinned = json.loads((FOLDER / "package.json").read_text())["dependencies"]
    assert all(version[0].isdigit() for version in pinned.values())
