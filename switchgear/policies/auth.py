"""Who is calling: a key in ``Authorization: Bearer`` or ``x-api-key``, compared by its SHA-256."""

import hashlib
import hmac
from collections.abc import Sequence

from switchgear.core.errors import Unauthenticated
from switchgear.core.protocols import Call, Phase
from switchgear.core.settings import KeySettings


class Auth:
    """Refuses a call without a key of ours. Without any keys configured everybody may call."""

    name = "auth"
    phase = Phase.ADMIT

    def __init__(self, keys: Sequence[KeySettings]) -> None:
        self._keys = {key.key.sha256(): (key.key.sha256(), key) for key in keys}

    def before(self, call: Call) -> None:
        """Find the key's owner. Raises Unauthenticated."""
        if not self._keys:
            return
        presented = _presented(call.headers)
        if not presented:
            raise Unauthenticated(
                "No API key was sent. Send 'Authorization: Bearer <key>' or 'x-api-key: <key>'.",
                code="missing_api_key",
            )
        digest = hashlib.sha256(presented).digest()
        # The table is indexed by digest: what the look-up's time could tell is about the hash, not the key. The
        # comparison of the entry found takes the same time wherever it differs.
        found = self._keys.get(digest)
        if found is None or not hmac.compare_digest(found[0], digest):
            raise Unauthenticated("The API key is not one of this gateway's.")
        call.key = found[1]

    def after(self, call: Call) -> None:
        """Nothing to undo."""


def _presented(headers: dict[bytes, bytes]) -> bytes:
    authorization = headers.get(b"authorization")
    if authorization is not None:
        scheme, _, token = authorization.partition(b" ")
        if scheme.lower() == b"bearer" and token.strip():
            return token.strip()
    return headers.get(b"x-api-key", b"").strip()
