"""Who is calling."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchgear.core.errors import Unauthenticated
from switchgear.policies.auth import Auth
from tests.policies.calls import a_call, a_key

ANN, BEN = a_key("ann"), a_key("ben")
AUTH = Auth([ANN, BEN])


@pytest.mark.parametrize(
    "headers",
    [
        {b"authorization": b"Bearer sk-ann"},
        {b"authorization": b"bearer sk-ann"},
        {b"authorization": b"BEARER   sk-ann "},
        {b"x-api-key": b"sk-ann"},
        {b"x-api-key": b" sk-ann "},
        {b"authorization": b"Basic dXNlcjpwYXNz", b"x-api-key": b"sk-ann"},
        {b"authorization": b"Bearer sk-ann", b"x-api-key": b"sk-ben"},
    ],
)
def test_a_known_key_names_its_owner(headers: dict[bytes, bytes]) -> None:
    call = a_call(headers=headers)
    AUTH.before(call)
    assert call.key is ANN


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {b"authorization": b""},
        {b"authorization": b"Bearer"},
        {b"authorization": b"Bearer "},
        {b"authorization": b"Basic sk-ann"},
        {b"authorization": b"sk-ann"},
        {b"x-api-key": b""},
        {b"api-key": b"sk-ann"},
    ],
)
def test_a_call_without_a_key_is_told_how_to_send_one(headers: dict[bytes, bytes]) -> None:
    call = a_call(headers=headers)
    with pytest.raises(Unauthenticated) as refused:
        AUTH.before(call)
    assert (refused.value.status, refused.value.code) == (401, "missing_api_key")
    assert "Authorization: Bearer" in refused.value.message
    assert call.key is None


@pytest.mark.parametrize(
    "key", [b"sk-an", b"sk-annn", b"SK-ANN", b"sk-ann\x00", b"sk-ann,sk-ben", b"\xff", b"x" * 100_000]
)
def test_an_unknown_key_is_refused_and_not_repeated(key: bytes) -> None:
    with pytest.raises(Unauthenticated) as refused:
        AUTH.before(a_call(headers={b"authorization": b"Bearer " + key}))
    assert refused.value.code == "invalid_api_key"
    assert refused.value.message == "The API key is not one of this gateway's."
    assert (b"www-authenticate", b"Bearer") in refused.value.headers()


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=12), st.sampled_from([b"authorization", b"x-api-key"]))
def test_no_other_bytes_are_a_key(key: bytes, header: bytes) -> None:
    call = a_call(headers={header: b"Bearer " + key if header == b"authorization" else key})
    with pytest.raises(Unauthenticated):
        AUTH.before(call)
    assert call.key is None


def test_the_digest_of_a_key_is_not_a_key() -> None:
    with pytest.raises(Unauthenticated):
        AUTH.before(a_call(headers={b"x-api-key": ANN.key.sha256().hex().encode()}))


def test_without_any_keys_everybody_may_call() -> None:
    call = a_call(headers={b"authorization": b"Bearer whatever"})
    Auth([]).before(call)
    Auth([]).after(call)
    assert call.key is None
