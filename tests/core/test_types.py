"""The canonical vocabulary: requests, replies, where they go."""

import pytest
from msgspec import Raw

from switchgear.core.types import (
    Chat,
    Choice,
    Endpoint,
    HttpOrigin,
    HttpRequest,
    Image,
    Message,
    ModelInfo,
    Origin,
    Prompt,
    Reply,
    Target,
    Text,
    Usage,
    to_json,
)

HELLO = Prompt(messages=[Message("user", [Text("Hello")])])


def test_the_prompt_is_read_once_and_only_when_wanted() -> None:
    reads = []

    def read(origin: Origin) -> Prompt:
        reads.append(origin)
        return HELLO

    origin = Origin("openai_chat", b"{}")
    chat = Chat("m", origin=origin, read_prompt=read)
    assert reads == []
    assert chat.prompt is HELLO
    assert chat.prompt is HELLO
    assert reads == [origin]


def test_what_reading_raises_is_raised_again_next_time() -> None:
    def read(origin: Origin) -> Prompt:
        raise ValueError("no prompt")

    chat = Chat("m", origin=Origin("openai_chat", b"{}"), read_prompt=read)
    for _ in range(2):
        with pytest.raises(ValueError, match="no prompt"):
            _ = chat.prompt


def test_a_changed_request_forgets_the_clients_bytes() -> None:
    chat = Chat("m", origin=Origin("openai_chat", b"{}"), read_prompt=lambda origin: Prompt(messages=[]))
    chat.change(HELLO)
    assert chat.origin is None
    assert chat.prompt is HELLO


def test_the_fields_of_a_body_keep_their_bytes_and_their_order() -> None:
    fields = Origin("openai_chat", b'{ "b" : 1.50, "a":{"c" : []} }').fields
    assert {name: bytes(value) for name, value in fields.items()} == {"b": b"1.50", "a": b'{"c" : []}'}
    assert list(fields) == ["b", "a"]


def test_text_is_what_the_text_parts_say() -> None:
    message = Message("user", [Text("a"), Image(url="x"), Text("b")])
    assert message.text == "ab"
    assert Reply(id="", model="", created_s=0, choices=[Choice(0, message)]).text == "ab"
    assert Reply(id="", model="", created_s=0, choices=[]).text == ""


def test_defaults_are_not_shared() -> None:
    first, second = Prompt(messages=[]), Prompt(messages=[])
    first.extra["x"] = Raw(b"1")
    first.stop.append("END")
    assert (second.extra, second.stop) == ({}, [])


def test_total_tokens_are_input_and_output() -> None:
    assert Usage(3, 4, cached_input_tokens=2, reasoning_tokens=1).total_tokens == 7


def test_a_target_reads_as_provider_and_model() -> None:
    assert str(Target("ollama", "hf.co/x:latest")) == "ollama/hf.co/x:latest"


def test_a_model_shows_only_what_is_known() -> None:
    assert to_json(ModelInfo(id="m")) == b'{"id":"m"}'


def test_json_is_compact_and_in_order() -> None:
    assert to_json({"b": [1, None], "a": Raw(b'{ "x":1.50 }')}) == b'{"b":[1,null],"a":{ "x":1.50 }}'


# --- where it goes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "authority"),
    [
        (HttpOrigin("http", "example.org", 80), "example.org"),
        (HttpOrigin("https", "example.org", 443), "example.org"),
        (HttpOrigin("http", "example.org", 443), "example.org:443"),
        (HttpOrigin("https", "example.org", 8443), "example.org:8443"),
        (HttpOrigin("http", "::1", 8080), "[::1]:8080"),
        (HttpOrigin("https", "::1", 443), "[::1]"),
    ],
)
def test_the_host_header_leaves_out_a_schemes_own_port(origin: HttpOrigin, authority: str) -> None:
    assert origin.authority == authority


def test_an_endpoint_is_laid_out_once() -> None:
    endpoint = Endpoint.to("POST", "https://example.org:8443/v1/chat?a=b", {"Authorization": "Bearer x"})
    assert endpoint.origin == HttpOrigin("https", "example.org", 8443)
    assert endpoint.path == "/v1/chat?a=b"
    assert endpoint.head == (
        b"POST /v1/chat?a=b HTTP/1.1\r\n"
        b"host: example.org:8443\r\naccept-encoding: identity\r\nauthorization: Bearer x\r\n"
    )
    assert HttpRequest(endpoint).body == b""


def test_an_address_without_a_path_has_one() -> None:
    assert Endpoint.to("GET", "http://example.org", {}).path == "/"


def test_a_header_of_the_operators_own_replaces_ours() -> None:
    head = Endpoint.to("GET", "http://a/", {"Host": "b", "Accept-Encoding": "gzip"}).head
    assert head == b"GET / HTTP/1.1\r\nhost: b\r\naccept-encoding: gzip\r\n"


@pytest.mark.parametrize(
    "url", ["", "example.org", "ftp://example.org", "file:///etc/passwd", "http://", "https:///v1"]
)
def test_only_http_addresses_are_endpoints(url: str) -> None:
    with pytest.raises(ValueError, match="is not an http"):
        Endpoint.to("GET", url, {})


@pytest.mark.parametrize("header", [{"x": "a\r\nb: c"}, {"x\n": "a"}, {"x": "a\x00"}, {"x": "\x7f"}])
def test_no_header_can_hold_another(header: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="control character"):
        Endpoint.to("GET", "http://example.org/", header)


def test_a_header_that_latin_1_cannot_say_is_refused() -> None:
    with pytest.raises(ValueError, match="latin-1"):
        Endpoint.to("GET", "http://example.org/", {"x": "€"})
