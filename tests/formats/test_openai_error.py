"""OpenAI's error object: read in every shape, written in one."""

import json

import pytest

from switchgear.core.errors import InvalidRequest, ModelNotFound, RateLimited, SwitchgearError, UpstreamInvalid
from switchgear.formats import openai_error


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (b'{"error":{"message":"no","type":"t","code":"c","param":"p"}}', "no"),
        (b'{"error":"no"}', "no"),
        (b'{"message":"no"}', "no"),
        (b'{"detail":"no"}', "no"),
        (b'[{"error":{"message":"no"}}]', "no"),
        (b"no", "no"),
        (b"", "The provider answered 400."),
        (b"<html>no</html>", "The provider answered 400."),
        (b"{", "The provider answered 400."),
        (b'{"error":5}', "The provider answered 400."),
        (b'{"error":{"message":5}}', "The provider answered 400."),
        (b"[]", "The provider answered 400."),
        (b"\xff", "\ufffd"),
    ],
)
def test_an_error_is_read_in_whatever_shape_it_comes(said: bytes, message: str) -> None:
    error = openai_error.read_error(400, {}, said)
    assert (error.status, error.message) == (400, message)


def test_an_error_keeps_the_providers_words_and_when_to_come_back() -> None:
    said = b'{"error":{"message":"slow","type":"requests","code":"rate_limit","param":"messages"}}'
    error = openai_error.read_error(429, {"retry-after": "7"}, said)
    assert (error.status, error.code, error.upstream_type, error.param) == (429, "rate_limit", "requests", "messages")
    assert error.headers() == [(b"retry-after", b"7")]
    assert json.loads(openai_error.write_error(error)) == {
        "error": {"message": "slow", "type": "requests", "param": "messages", "code": "rate_limit"}
    }


def test_a_long_error_is_cut() -> None:
    assert len(openai_error.read_error(500, {}, b'{"error":"%b"}' % (b"x" * 10_000)).message) == 2000


@pytest.mark.parametrize(
    ("code", "status"), [(429, 429), (599, 599), (200, 502), (1000, 502), ("429", 502), (True, 502)]
)
def test_an_error_inside_a_reply_names_its_own_status(code: object, status: int) -> None:
    assert openai_error.read_error(502, {}, json.dumps({"error": {"code": code}}).encode()).status == status


def test_a_status_of_the_providers_own_is_not_overruled() -> None:
    assert openai_error.read_error(400, {}, b'{"error":{"code":500}}').status == 400


@pytest.mark.parametrize(
    ("error", "written"),
    [
        (InvalidRequest("bad", param="n", code="invalid_value"), ("invalid_request_error", "n", "invalid_value")),
        (ModelNotFound("x"), ("invalid_request_error", "model", "model_not_found")),
        (RateLimited("wait", retry_after_s=1), ("rate_limit_error", None, "rate_limit_exceeded")),
        (UpstreamInvalid("odd"), ("upstream_error", None, "upstream_invalid_response")),
        (SwitchgearError("odd"), ("api_error", None, None)),
    ],
)
def test_an_error_is_written_in_openais_shape(
    error: SwitchgearError, written: tuple[str, str | None, str | None]
) -> None:
    said = json.loads(openai_error.write_error(error))
    assert said.keys() == {"error"}
    assert (said["error"]["type"], said["error"]["param"], said["error"]["code"]) == written
    assert said["error"]["message"] == error.message
    assert "provider" not in said["error"]
    error.provider = "openai"
    assert json.loads(openai_error.write_error(error))["error"]["provider"] == "openai"
