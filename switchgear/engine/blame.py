"""Whose error it is: the provider's name in front of the message, and no credential of ours in it."""

import re

from switchgear.core.errors import SwitchgearError, UpstreamRejected
from switchgear.core.protocols import Provider
from switchgear.core.settings import ProviderSettings

REDACTED = "[redacted]"
MIN_PIECE_CHARS = 4
MIN_HEADER_CHARS = 8
"""A shorter value of a configured header is a word, not a secret."""

_KEY_LIKE = re.compile(r"\b(sk|pk|gsk|xai|key|hf|nvapi|AIza)[-_][A-Za-z0-9_*.\-]{8,}")


def blame(error: SwitchgearError, provider: Provider) -> None:
    """Name the provider in this error, and take out of it what the provider may have echoed. Once: a second call does
    nothing."""
    if error.provider is not None:
        return
    error.provider = provider.name
    secrets = _secrets(provider.settings)
    error.message = f"{provider.name}: {_cleaned(error.message, secrets)}"
    error.args = (error.message,)
    if error.param is not None:
        error.param = _cleaned(error.param, secrets)
    if error.code is not None:
        error.code = _cleaned(error.code, secrets)
    if isinstance(error, UpstreamRejected):
        error.upstream_type = error.upstream_type and _cleaned(error.upstream_type, secrets)
        error.retry_after = error.retry_after and _cleaned(error.retry_after, secrets)


def _secrets(settings: ProviderSettings) -> list[str]:
    """What goes to the provider and to nobody else, the longest first; a header's value without its scheme, too."""
    found = {settings.api_key.reveal()} if settings.api_key else set[str]()
    for value in settings.headers.values():
        whole = value.reveal()
        found |= {secret for secret in (whole, whole.rpartition(" ")[2]) if len(secret) >= MIN_HEADER_CHARS}
    return sorted(found, key=len, reverse=True)


def _cleaned(text: str, secrets: list[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, REDACTED)
        for length in range(len(secret) - 1, MIN_PIECE_CHARS - 1, -1):  # a long message is cut, perhaps inside of one
            if text.endswith(secret[:length]):
                text = text[:-length] + REDACTED
                break
    return _KEY_LIKE.sub(REDACTED, text)
