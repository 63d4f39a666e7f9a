"""A test to copy: it needs no server, no network and no gateway. Run it with ``pytest`` beside my_provider.py."""

import json
from collections.abc import Iterable
from pathlib import Path
from runpy import run_path

import pytest

from switchgear.core.errors import SwitchgearError, UpstreamInvalid, UpstreamTruncated
from switchgear.core.fold import fold
from switchgear.core.settings import ProviderSettings, Secret
from switchgear.core.types import Chat, Event, Message, Prompt, Reply, Target, Text

RECORDED = b'{"say": "Sn\xc3\xb6\xe2\x98\x83, "}\n{"say": "hello"}\r\n{"end": "stop", "heard": 3, "said": 2}\n'
CHAT = Chat("polly", stream=True, prompt=Prompt(messages=[Message("user", [Text("hi")])]))

# As the gateway loads it: from its file. In a package of your own an import does as well.
make = run_path(str(Path(__file__).with_name("my_provider.py")))["provider"]
parrot = make("mine", ProviderSettings(base_url="http://127.0.0.1:9000", api_key=Secret("feather")))


def decoded(pieces: Iterable[bytes]) -> Reply:
    decoder, events = parrot.decoder(CHAT), list[Event]()
    for piece in pieces:
        events += decoder.feed(piece)
    return fold([*events, *decoder.close()])


def test_the_request_says_it_in_the_vendors_words() -> None:
    request = parrot.encode(CHAT, Target("mine", "grey-1"))
    assert request.endpoint.path == "/talk"
    assert b"authorization: Bearer feather\r\n" in request.endpoint.head
    assert json.loads(request.body) == {"model": "grey-1", "turns": [{"who": "user", "says": "hi"}], "stream": True}


def test_a_stream_reads_the_same_wherever_it_is_cut() -> None:
    whole = parrot.read_reply(RECORDED, CHAT)
    assert (whole.text, whole.choices[0].finish_reason) == ("Snö☃, hello", "stop")
    assert (whole.usage.input_tokens, whole.usage.output_tokens) == (3, 2)
    for cut in range(len(RECORDED) + 1):
        assert decoded([RECORDED[:cut], RECORDED[cut:]]) == whole


def test_a_stream_that_stops_early_is_never_a_reply() -> None:
    for end in range(len(RECORDED)):
        with pytest.raises(UpstreamTruncated):
            decoded([RECORDED[:end]])


def test_nonsense_and_errors_are_errors() -> None:
    with pytest.raises(UpstreamInvalid):
        decoded([b"<html>\n"])
    with pytest.raises(SwitchgearError, match="out of seeds"):
        decoded([b'{"say": "hel"}\n{"wrong": "out of seeds"}\n'])
    assert parrot.read_error(503, {}, b"asleep").status == 503
