"""A real model with no key, no account and no service: llama.cpp as a child of ``switchgear serve``."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam

from switchgear.local.llama import BUNDLED_NAME, available, unavailable_because
from tests.e2e.gateway import GatewayProcess, process_is_gone
from tests.e2e.talk import chat, request_bytes, wire

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Say hello."}]


@pytest.fixture(scope="module")
def local() -> Iterator[GatewayProcess]:
    assert available() is not None, unavailable_because()
    config = {"providers": {"local": {"kind": "llamacpp"}}, "default_provider": "local"}
    with GatewayProcess(config, ready_within_s=60) as gateway:
        yield gateway


@pytest.fixture
def client(local: GatewayProcess) -> Iterator[OpenAI]:
    with OpenAI(api_key="none needed", base_url=f"{local.url}/v1", max_retries=0, timeout=60) as client:
        yield client


def test_it_answers_whole(client: OpenAI) -> None:
    reply = client.chat.completions.create(model=BUNDLED_NAME, messages=HELLO, max_tokens=8, temperature=0)
    assert reply.choices[0].message.content
    assert reply.usage is not None
    assert 0 < reply.usage.completion_tokens <= 8


def test_a_stream_says_the_same(client: OpenAI) -> None:
    whole = client.chat.completions.create(model=BUNDLED_NAME, messages=HELLO, max_tokens=8, temperature=0)
    stream = client.chat.completions.create(
        model=BUNDLED_NAME, messages=HELLO, max_tokens=8, temperature=0, stream=True
    )
    pieces = [chunk.choices[0].delta.content or "" for chunk in stream]
    assert len([piece for piece in pieces if piece]) > 1
    assert "".join(pieces) == whole.choices[0].message.content


def test_its_model_is_discovered(client: OpenAI) -> None:
    assert f"local/{BUNDLED_NAME}" in [model.id for model in client.models.list()]


def test_its_refusal_is_a_typed_error(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model=BUNDLED_NAME, messages=HELLO, extra_body={"n": 1000})


def test_a_client_that_leaves_stops_the_model(local: GatewayProcess) -> None:
    """Both of its slots are taken by essays that nobody waits for; a third chat is answered at once all the same."""
    for _ in range(2):
        with wire(local) as leaver:
            essay = {"model": BUNDLED_NAME, "stream": True, "max_tokens": 4000, "ignore_eos": True}
            leaver.send(request_bytes(essay))
            leaver.read_until(b"data: ")
    asked_at = time.monotonic()
    assert chat(local, BUNDLED_NAME, max_tokens=2).status == 200
    assert time.monotonic() - asked_at < 10


def test_the_model_goes_with_the_gateway() -> None:
    with GatewayProcess({"providers": {"local": {"kind": "llamacpp"}}}, ready_within_s=60) as gateway:
        (child,) = [pid for pid in _descendants(gateway.pid) if b"switchgear.local.llama" in _command(pid)]
        gateway.kill()
        deadline = time.monotonic() + 10
        while not process_is_gone(child) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert process_is_gone(child)


def _descendants(parent: int) -> list[int]:
    found = []
    for task in os.listdir(f"/proc/{parent}/task"):
        for child in Path(f"/proc/{parent}/task/{task}/children").read_text().split():
            found += [int(child), *_descendants(int(child))]
    return found


def _command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()
