"""Text Generation Inference by its own API, ``/generate``: one server, one model, and a chat template to pick.

https://huggingface.github.io/text-generation-inference. ``options.chat_template`` names the template that suits the
model: ``chatml`` (the default), ``llama3``, ``mistral`` or ``zephyr``.
"""

from collections.abc import Mapping

from switchgear.core.errors import ConfigError, SwitchgearError
from switchgear.core.settings import ProviderSettings
from switchgear.core.types import Chat, Endpoint, HttpRequest, ModelInfo, Reply, Target
from switchgear.formats import tgi, tgi_prompt, tgi_reply

DEFAULT_CHAT_TEMPLATE = "chatml"


class TgiProvider:
    """A Provider. Raises ConfigError for a missing ``base_url``, or an option or header that cannot be used."""

    format = tgi.FORMAT

    def __init__(self, name: str, settings: ProviderSettings) -> None:
        self.name = name
        self.settings = settings
        self._chat_template = settings.options.get("chat_template", DEFAULT_CHAT_TEMPLATE)
        if problems := _problems(name, settings, self._chat_template):
            raise ConfigError(problems)
        base_url = settings.base_url.rstrip("/")
        headers = {name: value.reveal() for name, value in settings.headers.items()}
        if settings.api_key:
            headers["authorization"] = f"Bearer {settings.api_key.reveal()}"
        posting = {"content-type": "application/json", **headers}
        try:
            self._info = Endpoint.to("GET", f"{base_url}/info", headers)
            self._whole = Endpoint.to("POST", f"{base_url}/generate", posting)
            self._streamed = Endpoint.to("POST", f"{base_url}/generate_stream", posting)
        except ValueError as error:
            raise ConfigError([f"providers.{name}: {error}"]) from None

    def encode(self, chat: Chat, target: Target) -> HttpRequest:
        """The request to send. Raises InvalidRequest for what TGI cannot be asked."""
        body = tgi.write_request(chat, target, chat_template=self._chat_template)
        return HttpRequest(self._streamed if chat.stream else self._whole, body)

    def read_reply(self, body: bytes, chat: Chat) -> Reply:
        """A whole answer to ``chat``. Raises UpstreamInvalid where it is not one."""
        return tgi_reply.read_reply(body, chat)

    def decoder(self, chat: Chat) -> tgi_reply.StreamReader:
        """A new decoder, for one streamed answer to ``chat``."""
        return tgi_reply.StreamReader(chat)

    def read_error(self, status: int, headers: Mapping[str, str], body: bytes) -> SwitchgearError:
        """What an answer of status 400 or more means."""
        return tgi_reply.read_error(status, headers, body)

    def list_models(self) -> HttpRequest:
        """The request that says which model that server serves."""
        return HttpRequest(self._info)

    def read_models(self, body: bytes) -> list[ModelInfo]:
        """The one model in the answer to that request."""
        return tgi_reply.read_models(body)


def _problems(name: str, settings: ProviderSettings, chat_template: object) -> list[str]:
    problems = []
    if not settings.base_url:
        problems.append(f"providers.{name}.base_url: missing; say where the TGI server is.")
    if not isinstance(chat_template, str) or chat_template not in tgi_prompt.CHAT_TEMPLATES:
        names = ", ".join(tgi_prompt.CHAT_TEMPLATES)
        problems.append(f"providers.{name}.options.chat_template: {chat_template!r} is not one of {names}.")
    unknown = sorted(set(settings.options) - {"chat_template"})
    problems += [f"providers.{name}.options.{option}: no such option." for option in unknown]
    return problems
