"""A row of data is enough to call a vendor."""

import msgspec
import pytest

import switchgear
from switchgear.core.errors import ConfigError, UpstreamInvalid, UpstreamRejected
from switchgear.core.settings import ProviderSettings, Secret
from switchgear.core.types import Chat, Endpoint, Message, ModelInfo, Prompt, Target, Text
from switchgear.formats import openai_chat
from switchgear.formats.openai_stream import StreamReader
from switchgear.providers.compat import KINDS, CompatProvider, Row, read_models

CLIENT_BODY = b'{"model": "fast",  "messages": [{"role": "user", "content": "hi"}], "unknown": {"b": 1, "a": 2}}'


def provider(name: str = "openai", **settings: object) -> CompatProvider:
    return CompatProvider(name, ProviderSettings(**settings))  # type: ignore[arg-type]  # what each test says


def asked(endpoint: Endpoint) -> dict[str, str]:
    lines = endpoint.head.decode("latin-1").split("\r\n")[1:-1]
    return dict(line.split(": ", 1) for line in lines)


def test_a_request_goes_to_the_vendor_with_its_key() -> None:
    request = provider(api_key=Secret("sk-o")).encode(openai_chat.read_request(CLIENT_BODY), Target("openai", "gpt-4o"))
    assert request.endpoint.method == "POST"
    assert request.endpoint.origin.authority == "api.openai.com"
    assert request.endpoint.path == "/v1/chat/completions"
    assert asked(request.endpoint) == {
        "host": "api.openai.com",
        "accept-encoding": "identity",
        "content-type": "application/json",
        "user-agent": f"switchgear/{switchgear.__version__}",
        "authorization": "Bearer sk-o",
    }
    assert request.body == CLIENT_BODY.replace(b'"fast"', b'"gpt-4o"'), "every other byte as it came"


def test_the_address_may_be_anybodys() -> None:
    for base_url in ("http://h:1/x/v1", "http://h:1/x/v1/"):
        chat = provider("up", kind="openai_compatible", base_url=base_url)
        request = chat.encode(openai_chat.read_request(CLIENT_BODY), Target("up", "m"))
        assert (request.endpoint.origin.authority, request.endpoint.path) == ("h:1", "/x/v1/chat/completions")
        assert "authorization" not in asked(request.endpoint)
        models = chat.list_models()
        assert models is not None
        assert (models.endpoint.method, models.endpoint.path, models.body) == ("GET", "/x/v1/models", b"")


def test_headers_of_ones_own_win_whatever_their_case() -> None:
    own = {"Authorization": Secret("Custom x"), "X-Team": Secret("red"), "User-Agent": Secret("me")}
    endpoint = (
        provider(api_key=Secret("sk-o"), headers=own)
        .encode(openai_chat.read_request(CLIENT_BODY), Target("openai", "m"))
        .endpoint
    )
    headers = asked(endpoint)
    assert headers["authorization"] == "Custom x"
    assert headers["x-team"] == "red"
    assert headers["user-agent"] == "me"


def test_a_translated_chat_is_written_out() -> None:
    chat = Chat("fast", prompt=Prompt(messages=[Message("user", [Text("hi")])]))
    body = msgspec.json.decode(provider().encode(chat, Target("openai", "gpt-4o")).body)
    assert body == {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}


def test_cohere_is_not_asked_for_stream_options() -> None:
    body = CLIENT_BODY.replace(b'"unknown"', b'"stream": true, "unknown"')
    sent = {
        name: msgspec.json.decode(provider(name).encode(openai_chat.read_request(body), Target(name, "m")).body)
        for name in ("openai", "cohere")
    }
    assert sent["openai"]["stream_options"] == {"include_usage": True}
    assert "stream_options" not in sent["cohere"]
    assert sent["cohere"]["unknown"] == {"b": 1, "a": 2}


def test_the_model_list_of_anthropic_wants_its_own_headers() -> None:
    request = provider("anthropic", api_key=Secret("sk-a")).list_models()
    assert request is not None
    assert request.endpoint.path == "/v1/models?limit=1000"
    headers = asked(request.endpoint)
    assert headers["x-api-key"] == "sk-a"
    assert headers["anthropic-version"] == "2023-06-01"
    assert "authorization" not in headers


@pytest.mark.parametrize("name", ["cohere", "perplexity"])
def test_a_vendor_without_a_list_is_not_asked(name: str) -> None:
    assert provider(name).list_models() is None


def test_replies_and_streams_are_read_as_openai_chat() -> None:
    chat = openai_chat.read_request(CLIENT_BODY)
    message = b'{"role": "assistant", "content": "hi"}'
    whole = b'{"id": "c", "created": 1, "model": "m", "choices": [{"index": 0, "message": %s}]}' % message
    assert provider().read_reply(whole, chat).text == "hi"
    assert isinstance(provider().decoder(chat), StreamReader)
    assert provider().format == openai_chat.FORMAT


def test_an_error_keeps_status_words_and_the_time_to_wait() -> None:
    body = b'{"error": {"message": "slow down", "type": "tokens", "code": "rate_limit_exceeded"}}'
    error = provider().read_error(429, {"retry-after": "7"}, body)
    assert isinstance(error, UpstreamRejected)
    assert (error.status, error.message, error.retry_after) == (429, "slow down", "7")


@pytest.mark.parametrize(
    ("entry", "model"),
    [
        (
            {"id": "a", "created": 5, "owned_by": "vllm", "max_model_len": 4096},
            ModelInfo(id="a", owned_by="vllm", created_s=5, context_window_tokens=4096),
        ),
        ({"id": "a/b", "context_length": 8192}, ModelInfo(id="a/b", owned_by="up", context_window_tokens=8192)),
        ({"id": "a", "context_window": 1}, ModelInfo(id="a", owned_by="up", context_window_tokens=1)),
        (
            {"id": "a", "max_model_len": 0, "max_input_tokens": 3},
            ModelInfo(id="a", owned_by="up", context_window_tokens=3),
        ),
        ({"id": "a", "created_at": "2025-02-19T00:00:00Z"}, ModelInfo(id="a", owned_by="up", created_s=1739923200)),
        ({"id": "a", "created_at": "soon", "context_length": "much"}, ModelInfo(id="a", owned_by="up")),
        ({"id": "models/a", "owned_by": None}, ModelInfo(id="a", owned_by="up")),
    ],
)  # fmt: skip
def test_model_lists_of_many_servers(entry: dict[str, object], model: ModelInfo) -> None:
    for body in ({"object": "list", "data": [entry]}, [entry]):
        assert read_models(msgspec.json.encode(body), owner="up", id_prefix="models/") == [model]


def test_a_gemini_model_is_listed_under_the_name_it_answers_to() -> None:
    listed = provider("gemini").read_models(b'{"data": [{"id": "models/gemini-2.5-flash"}]}')
    assert [model.id for model in listed] == ["gemini-2.5-flash"]
    listed = provider("openai").read_models(b'{"data": [{"id": "models/x"}]}')
    assert [model.id for model in listed] == ["models/x"]


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"data": 1}', b"[1]", b"{}", b'{"data": [{}]}', b"\xff"])
def test_what_is_no_model_list_is_refused(body: bytes) -> None:
    with pytest.raises(UpstreamInvalid):
        provider().read_models(body)


@pytest.mark.parametrize(
    ("name", "settings", "problem"),
    [
        ("nope", {}, "providers.nope.kind: there is no OpenAI-compatible kind 'nope'"),
        ("up", {"kind": "openai_compatible"}, "providers.up.base_url: missing; nothing says where this provider is"),
        ("llamacpp", {}, "providers.llamacpp.base_url: missing; nothing says where this provider is"),
    ],
)
def test_what_cannot_be_built_says_why(name: str, settings: dict[str, object], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        provider(name, **settings)
    assert caught.value.problems == (problem,)


@pytest.mark.parametrize(
    "settings",
    [
        {"base_url": "ftp://sk-canary@h"},
        {"base_url": "sk-canary"},
        {"headers": {"x": Secret("sk-canary\r\nhost: evil")}},
        {"headers": {"x": Secret("sk-canary ☃")}},
        {"api_key": Secret("sk-canary\n")},
    ],
)
def test_what_http_cannot_carry_is_refused_without_being_shown(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as caught:
        provider("openai", **settings)
    assert "canary" not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(("name", "row"), KINDS.items(), ids=list(KINDS))
def test_every_row_is_whole(name: str, row: Row) -> None:
    assert row.docs.startswith("https://")
    assert bool(row.key_variables) or not row.needs_key
    assert all(prefix.endswith("*") and len(prefix) > 2 for prefix in row.prefixes)
    assert not row.base_url.endswith("/")
    is_local = row.base_url.startswith("http://127.0.0.1:")
    assert is_local or row.base_url.startswith("https://") or not row.base_url
    assert row.needs_key == row.base_url.startswith("https://"), "a vendor on the Internet wants a key"
    CompatProvider(name, ProviderSettings(base_url=row.base_url or "http://127.0.0.1:1/v1", api_key=Secret("sk-x")))
