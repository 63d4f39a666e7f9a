"""The documentation's one-file provider, behind the real gateway, asked by the official SDK."""

from collections.abc import Iterator
from shutil import copy

import openai
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam

from tests.e2e.gateway import GatewayProcess
from tests.e2e.parrot import KEY, Parrot, parrot
from tests.e2e.talk import chat, payloads
from tests.fake.process import REPOSITORY

EXAMPLES = REPOSITORY / "docs" / "examples"
GREETING: list[ChatCompletionMessageParam] = [{"role": "user", "content": "who's a pretty boy"}]


@pytest.fixture(scope="module")
def bird() -> Iterator[Parrot]:
    with parrot() as server:
        yield server


@pytest.fixture(scope="module")
def cage(bird: Parrot, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway whose configuration names the file, copied to a folder of the user's own."""
    path = copy(EXAMPLES / "my_provider.py", tmp_path_factory.mktemp("own") / "parrot.py")
    mine = {"kind": "custom", "path": str(path), "base_url": bird.url}
    config = {
        "providers": {"mine": mine | {"api_key": KEY}, "wrong": mine | {"api_key": "sk-wrong"}},
        "models": {"polly": {"targets": ["mine/grey-1"]}},
    }
    with GatewayProcess(config) as gateway:
        yield gateway


@pytest.fixture
def client(cage: GatewayProcess) -> Iterator[OpenAI]:
    with OpenAI(api_key="unused", base_url=f"{cage.url}/v1", max_retries=0, timeout=10) as client:
        yield client


def test_it_answers_whole(client: OpenAI, bird: Parrot) -> None:
    reply = client.chat.completions.create(model="polly", messages=GREETING)
    assert reply.choices[0].message.content == "who's a pretty boy "
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (4, 4)
    assert bird.heard[-1] == {
        "model": "grey-1", "turns": [{"who": "user", "says": "who's a pretty boy"}], "stream": False
    }  # fmt: skip


def test_it_streams(client: OpenAI) -> None:
    options = {"include_usage": True}
    stream = client.chat.completions.create(  # type: ignore[call-overload]  # a plain dict is fine at run time
        model="polly", messages=GREETING, stream=True, stream_options=options
    )
    chunks = list(stream)
    words = [choice.delta.content for chunk in chunks for choice in chunk.choices if choice.delta.content]
    assert words == ["who's ", "a ", "pretty ", "boy "]
    assert chunks[-1].usage.completion_tokens == 4


def test_its_broken_stream_is_never_a_success(client: OpenAI, cage: GatewayProcess) -> None:
    hush: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hush now"}]
    with pytest.raises(openai.APIError, match="in the middle of its answer"):
        list(client.chat.completions.create(model="polly", messages=hush, stream=True))
    assert "[DONE]" not in payloads(chat(cage, "polly", messages=hush, stream=True).body)
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model="polly", messages=hush)


def test_its_errors_keep_their_status_and_name_it(client: OpenAI) -> None:
    with pytest.raises(openai.AuthenticationError, match="wrong: not my human"):
        client.chat.completions.create(model="wrong/grey-1", messages=GREETING)


def test_its_model_is_on_the_list(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["polly"]


def test_a_file_that_does_not_load_is_said_before_anything_is_served(tmp_path: object) -> None:
    config = {"providers": {"mine": {"kind": "custom", "path": "./nowhere.py"}}}
    with pytest.raises(AssertionError, match=r"providers\.mine\.path"):
        GatewayProcess(config).start()
