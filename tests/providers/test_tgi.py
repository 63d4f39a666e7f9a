"""TGI as a provider: where it is, its chat template, and a conversation with a fake of it."""

import http.client
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from switchgear.core.errors import ConfigError
from switchgear.core.fold import fold
from switchgear.core.protocols import Decoder, Provider
from switchgear.core.settings import ProviderSettings, Secret
from switchgear.core.types import Chat, HttpRequest, Message, Prompt, Target, Text, Tool, ToolCall
from switchgear.providers.tgi import TgiProvider
from tests.fake import FakeProvider, Script

TARGET = Target("local", "tgi")
SETTINGS = ProviderSettings(base_url="http://127.0.0.1:8080/", api_key=Secret("k-1"))
HELLO = [Message("user", [Text("hello there")])]


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeProvider]:
    with FakeProvider() as fake:
        yield fake


@pytest.fixture
def provider(fake: FakeProvider) -> TgiProvider:
    fake.clear()
    return TgiProvider("local", ProviderSettings(base_url=f"http://127.0.0.1:{fake.port}"))


def send(request: HttpRequest) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of one request, its headers as they were laid out."""
    endpoint = request.endpoint
    connection = http.client.HTTPConnection(endpoint.origin.host, endpoint.origin.port, timeout=5)
    lines = endpoint.head.decode("latin-1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:] if line)
    connection.request(endpoint.method, endpoint.path, request.body, headers)
    response = connection.getresponse()
    answer = (response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    connection.close()
    return answer


def chat(*, stream: bool = False, tools: tuple[Tool, ...] = (), **prompt: Any) -> Chat:
    return Chat("any", stream=stream, prompt=Prompt(messages=HELLO, tools=list(tools), **prompt))


def test_it_is_a_provider_and_its_reader_a_decoder() -> None:
    provider: Provider = TgiProvider("local", SETTINGS)
    decoder: Decoder = provider.decoder(chat())
    assert provider.format == "tgi"
    assert decoder.feed(b"") is not None


def test_a_whole_reply_and_a_stream_have_paths_of_their_own() -> None:
    provider = TgiProvider("local", SETTINGS)
    paths = [provider.encode(chat(stream=stream), TARGET).endpoint.path for stream in (False, True)]
    assert paths == ["/generate", "/generate_stream"]
    assert provider.list_models().endpoint.path == "/info"
    assert b"authorization: Bearer k-1\r\n" in provider.list_models().endpoint.head


def test_the_chat_template_is_the_operators_choice() -> None:
    settings = ProviderSettings(base_url="http://127.0.0.1:8080", options={"chat_template": "mistral"})
    for chosen, inputs in ((settings, "[INST] hello there[/INST]"), (SETTINGS, "<|im_start|>user\nhello there")):
        body = TgiProvider("local", chosen).encode(chat(), TARGET).body
        assert msgspec.json.decode(body)["inputs"].startswith(inputs)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (ProviderSettings(), "providers.local.base_url: missing"),
        (ProviderSettings(base_url="ftp://x"), "providers.local: 'ftp://x/info' is not"),
        (ProviderSettings(base_url="http://x", options={"chat_template": "alpaca"}), "'alpaca' is not one of chatml"),
        (ProviderSettings(base_url="http://x", options={"chat_template": ["chatml"]}), "is not one of chatml"),
        (ProviderSettings(base_url="http://x", options={"template": "chatml"}), "options.template: no such option"),
    ],
)
def test_settings_that_cannot_be_used_are_named(settings: ProviderSettings, problem: str) -> None:
    with pytest.raises(ConfigError) as raised:
        TgiProvider("local", settings)
    assert problem in str(raised.value)


def test_a_streamed_and_a_whole_conversation_say_the_same(fake: FakeProvider, provider: TgiProvider) -> None:
    fake.script("*", Script(text="Hello yourself END"))
    asked, streaming = chat(stop=["END"]), chat(stop=["END"], stream=True)
    status, _, whole = send(provider.encode(asked, TARGET))
    _, _, streamed = send(provider.encode(streaming, TARGET))
    decoder = provider.decoder(streaming)
    reply = fold([*decoder.feed(streamed), *decoder.close()])
    assert status == 200
    assert reply.text == provider.read_reply(whole, asked).text == "Hello yourself END"
    assert reply.usage == provider.read_reply(whole, asked).usage is not None


def test_text_that_calls_a_tool_comes_back_as_a_call(fake: FakeProvider, provider: TgiProvider) -> None:
    text = '{"tool_calls": [{"name": "clock", "arguments": {"zone": "CET"}}]}'
    fake.script("*", Script(text=text))
    asked = chat(stream=True, tools=(Tool("clock"),))
    _, _, body = send(provider.encode(asked, TARGET))
    decoder = provider.decoder(asked)
    choice = fold([*decoder.feed(body), *decoder.close()]).choices[0]
    (call,) = choice.message.parts
    assert isinstance(call, ToolCall)
    assert (call.name, call.arguments, choice.finish_reason) == ("clock", '{"zone": "CET"}', "tool_calls")


def test_an_error_is_read_with_its_status(fake: FakeProvider, provider: TgiProvider) -> None:
    fake.script("*", Script(status=429, error="Model is overloaded", headers={"retry-after": "3"}))
    status, headers, body = send(provider.encode(chat(), TARGET))
    error = provider.read_error(status, headers, body)
    assert (error.status, error.message, error.code) == (429, "Model is overloaded", "overloaded")


def test_the_wires_own_rules_accept_what_is_sent(provider: TgiProvider) -> None:
    hard: dict[str, Any] = {"temperature": 0.0, "top_p": 1.0, "top_k": 0, "max_tokens": 5, "frequency_penalty": 0.0}
    status, _, _ = send(provider.encode(chat(**hard), TARGET))
    assert status == 200


def test_its_one_model_is_listed(provider: TgiProvider) -> None:
    _, _, body = send(provider.list_models())
    (model,) = provider.read_models(body)
    assert (model.id, model.context_window_tokens) == ("fake-model", 4096)
