"""What is allowed and may not be meant: said by `switchgear check` and at start, never a reason to stop."""

from urllib.parse import urlsplit

from switchgear.config.kinds import KINDS
from switchgear.config.meaning import is_loopback
from switchgear.config.problems import join
from switchgear.core.settings import ProviderSettings, Settings


def warnings_about(settings: Settings) -> list[str]:
    """A sentence for each thing worth knowing about settings that are otherwise fine."""
    found = []
    if not settings.providers:
        found.append("there are no providers, so nothing can be answered")
    if not settings.keys and is_loopback(settings.server.host):
        pages = ", and so can any web page you visit (server.cors_origins is '*')"
        also = pages if "*" in settings.server.cors_origins else ""
        found.append(f"open: there are no keys, so every program on this machine can call{also}")
    if settings.server.workers > 1 and any(key.limits.requests_per_minute for key in settings.keys):
        found.append(f"limits are kept per process: {settings.server.workers} workers allow as many times the rate")
    for name, provider in settings.providers.items():
        found += [f"{join('providers', name)}: {text}" for text in _about(provider)]
    return found


def _about(provider: ProviderSettings) -> list[str]:
    kind = KINDS[provider.kind]
    found = []
    if kind.needs_key and not provider.api_key and not provider.base_url and not _has_own_key(provider):
        found.append(f"no api_key and no {kind.key_variables[0]}, so {provider.kind} will refuse every call")
    if provider.base_url and kind.url_suffix and not urlsplit(provider.base_url).path.strip("/"):
        found.append(f"base_url has no path; OpenAI-compatible servers mostly want it to end with {kind.url_suffix}")
    for field, owner in (("path", ("custom",)), ("options", ("custom", "tgi")), ("model_path", ("llamacpp",))):
        if getattr(provider, field) and provider.kind not in owner:
            found.append(f"{field} is for kind {' and '.join(owner)} and does nothing here")
    return found


def _has_own_key(provider: ProviderSettings) -> bool:
    return any(name.lower() in ("authorization", "x-api-key") for name in provider.headers)
