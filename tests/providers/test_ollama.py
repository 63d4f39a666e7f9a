"""Ollama as a provider: where it is, what it is sent, and a conversation with a fake of it."""

import http.client
from collections.abc import Iterator

import msgspec
import pytest

from switchgear.core.errors import ConfigError
from switchgear.core.fold import fold
from switchgear.core.protocols import Decoder, Provider
from switchgear.core.settings import ProviderSettings, Secret
from switchgear.core.types import Chat, HttpRequest, Message, Prompt, Target, Text, Tool, ToolCall, ToolResult
from switchgear.providers.ollama import OllamaProvider
from tests.fake import FakeProvider, Script
from tests.fake import ToolCall as FakeCall

TARGET = Target("local", "llama3.2")
HELLO = [Message("user", [Text("hello there")])]


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeProvider]:
    with FakeProvider() as fake:
        yield fake


@pytest.fixture
def provider(fake: FakeProvider) -> OllamaProvider:
    fake.clear()
    return OllamaProvider("local", ProviderSettings(base_url=f"http://127.0.0.1:{fake.port}"))


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


def chat(messages: list[Message] = HELLO, *, stream: bool = False, tools: tuple[Tool, ...] = ()) -> Chat:
    return Chat("any", stream=stream, prompt=Prompt(messages=messages, tools=list(tools)))


def test_it_is_a_provider_and_its_reader_a_decoder() -> None:
    provider: Provider = OllamaProvider("local", ProviderSettings())
    decoder: Decoder = provider.decoder(chat())
    assert provider.format == "ollama"
    assert decoder.feed(b"") is not None


def test_it_is_on_this_machine_unless_told_otherwise() -> None:
    request = OllamaProvider("local", ProviderSettings()).encode(chat(), TARGET)
    assert (request.endpoint.origin.authority, request.endpoint.path) == ("127.0.0.1:11434", "/api/chat")
    assert b"authorization" not in request.endpoint.head
    elsewhere = ProviderSettings(base_url="https://ollama.com/", api_key=Secret("k-1"), headers={"X-Team": Secret("a")})
    endpoint = OllamaProvider("cloud", elsewhere).list_models().endpoint
    assert (endpoint.origin.authority, endpoint.path) == ("ollama.com", "/api/tags")
    assert b"authorization: Bearer k-1\r\n" in endpoint.head
    assert b"x-team: a\r\n" in endpoint.head


def test_its_endpoint_is_laid_out_once() -> None:
    provider = OllamaProvider("local", ProviderSettings())
    assert provider.encode(chat(), TARGET).endpoint is provider.encode(chat(stream=True), TARGET).endpoint


@pytest.mark.parametrize(
    "settings", [ProviderSettings(base_url="ftp://x"), ProviderSettings(headers={"a": Secret("b\r\nc: d")})]
)
def test_an_address_or_header_that_cannot_be_used_is_a_mistake_in_the_settings(settings: ProviderSettings) -> None:
    with pytest.raises(ConfigError, match=r"providers\.local: "):
        OllamaProvider("local", settings)


def test_a_streamed_and_a_whole_conversation_say_the_same(provider: OllamaProvider) -> None:
    status, _, whole = send(provider.encode(chat(), TARGET))
    decoder = provider.decoder(chat())
    _, _, streamed = send(provider.encode(chat(stream=True), TARGET))
    reply = fold([*decoder.feed(streamed), *decoder.close()])
    assert status == 200
    assert reply.text == provider.read_reply(whole, chat()).text == "You said: hello there"
    assert reply.usage == provider.read_reply(whole, chat()).usage is not None


def test_a_call_comes_back_and_its_result_goes_up(fake: FakeProvider, provider: OllamaProvider) -> None:
    fake.script("llama3.2", Script(tool_calls=[FakeCall(id="c1", name="clock", arguments='{"zone": "CET"}')]))
    _, _, body = send(provider.encode(chat(tools=(Tool("clock"),)), TARGET))
    choice = provider.read_reply(body, chat()).choices[0]
    assert choice.message.parts == [ToolCall("c1", "clock", '{"zone":"CET"}')]
    assert choice.finish_reason == "tool_calls"
    again = [*HELLO, choice.message, Message("tool", [ToolResult("c1", [Text("noon")])])]
    status, _, _ = send(provider.encode(chat(again), TARGET))
    assert status == 200


def test_an_error_is_read_with_its_status(fake: FakeProvider, provider: OllamaProvider) -> None:
    fake.script("llama3.2", Script(status=503, error="server busy"))
    status, headers, body = send(provider.encode(chat(), TARGET))
    error = provider.read_error(status, headers, body)
    assert (error.status, error.message) == (503, "server busy")


def test_its_models_are_listed(provider: OllamaProvider) -> None:
    _, _, body = send(provider.list_models())
    models = provider.read_models(body)
    assert models
    assert "tools" in models[0].capabilities


def test_the_body_names_the_targets_model() -> None:
    request = OllamaProvider("local", ProviderSettings()).encode(chat(), TARGET)
    assert msgspec.json.decode(request.body)["model"] == "llama3.2"
