"""Ollama by its native API: a local server, no key unless something in front of it wants one.

https://docs.ollama.com/api. The address is Ollama's own default unless ``base_url`` says otherwise.
"""

from collections.abc import Mapping

from switchgear.core.errors import ConfigError, SwitchgearError
from switchgear.core.settings import ProviderSettings
from switchgear.core.types import Chat, Endpoint, HttpRequest, ModelInfo, Reply, Target
from switchgear.formats import ollama, ollama_reply

DEFAULT_BASE_URL = "http://127.0.0.1:11434"


class OllamaProvider:
    """A Provider. Raises ConfigError for a ``base_url`` or a header that cannot be used."""

    format = ollama.FORMAT

    def __init__(self, name: str, settings: ProviderSettings) -> None:
        self.name = name
        self.settings = settings
        base_url = (settings.base_url or DEFAULT_BASE_URL).rstrip("/")
        headers = {name: value.reveal() for name, value in settings.headers.items()}
        if settings.api_key:
            headers["authorization"] = f"Bearer {settings.api_key.reveal()}"
        try:
            self._tags = Endpoint.to("GET", f"{base_url}/api/tags", headers)
            self._chat = Endpoint.to("POST", f"{base_url}/api/chat", {"content-type": "application/json", **headers})
        except ValueError as error:
            raise ConfigError([f"providers.{name}: {error}"]) from None

    def encode(self, chat: Chat, target: Target) -> HttpRequest:
        """The request to send. Raises InvalidRequest for what Ollama cannot be asked."""
        return HttpRequest(self._chat, ollama.write_request(chat, target))

    def read_reply(self, body: bytes, chat: Chat) -> Reply:
        """A whole answer to ``chat``. Raises UpstreamInvalid where it is not one."""
        return ollama_reply.read_reply(body)

    def decoder(self, chat: Chat) -> ollama_reply.StreamReader:
        """A new decoder, for one streamed answer to ``chat``."""
        return ollama_reply.StreamReader()

    def read_error(self, status: int, headers: Mapping[str, str], body: bytes) -> SwitchgearError:
        """What an answer of status 400 or more means."""
        return ollama_reply.read_error(status, headers, body)

    def list_models(self) -> HttpRequest:
        """The request that lists the models pulled on that server."""
        return HttpRequest(self._tags)

    def read_models(self, body: bytes) -> list[ModelInfo]:
        """The models in the answer to that request."""
        return ollama_reply.read_models(body)
