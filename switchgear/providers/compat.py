"""Vendors and servers that are merely OpenAI-compatible: a row of data each, and the one provider that serves them.

A vendor whose differences fit a row stays a row; one that needs code of its own becomes a file beside this one.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Raw, Struct

from switchgear.core.errors import ConfigError, SwitchgearError, UpstreamInvalid
from switchgear.core.protocols import Decoder
from switchgear.core.settings import ProviderSettings
from switchgear.core.types import Chat, Endpoint, HttpRequest, ModelInfo, Reply, Target, to_json
from switchgear.core.version import VERSION
from switchgear.formats import openai_chat, openai_error, openai_reply
from switchgear.formats.openai_stream import StreamReader


class Row(Struct, frozen=True, kw_only=True):
    """What there is to know about a vendor.

    ``base_url`` is where it is unless the settings say otherwise, empty where they must. ``key_variables`` are the
    environment variables its own tools read the key from, the first one preferred. ``prefixes`` are the model names
    that mean this vendor when nothing else claims them. ``docs`` is the page this row obeys.
    """

    base_url: str
    docs: str
    key_variables: tuple[str, ...] = ()
    needs_key: bool = False
    prefixes: tuple[str, ...] = ()
    models_path: str = "/models"
    """Where its model list is, under ``base_url``; empty where it has none."""
    models_key_header: str = "authorization"
    """The header its model list wants the key in; anything but ``authorization`` takes the bare key."""
    models_headers: dict[str, str] = {}
    """Further headers its model list wants."""
    model_id_prefix: str = ""
    """What its model list puts before each id, and its chat endpoint does not need."""
    accepts_stream_options: bool = True


_OPENAI_NAMES = ("gpt-*", "chatgpt-*", "o1*", "o3*", "o4*", "text-embedding-*")
_MISTRAL_NAMES = ("mistral-*", "ministral-*", "magistral-*", "codestral-*", "devstral-*", "pixtral-*")

KINDS: dict[str, Row] = {
    "openai": Row(
        base_url="https://api.openai.com/v1",
        docs="https://platform.openai.com/docs/api-reference",
        key_variables=("OPENAI_API_KEY",), needs_key=True, prefixes=_OPENAI_NAMES,
    ),
    # Chat goes to its OpenAI-compatible endpoint; the model list is its native one, which knows no bearer keys.
    "anthropic": Row(
        base_url="https://api.anthropic.com/v1",
        docs="https://platform.claude.com/docs/en/cli-sdks-libraries/libraries/openai-sdk",
        key_variables=("ANTHROPIC_API_KEY",), needs_key=True, prefixes=("claude-*",),
        models_path="/models?limit=1000", models_key_header="x-api-key",
        models_headers={"anthropic-version": "2023-06-01"},
    ),
    "gemini": Row(
        base_url="https://generativelanguage.googleapis.com/v1beta/openai",
        docs="https://ai.google.dev/gemini-api/docs/openai",
        key_variables=("GEMINI_API_KEY", "GOOGLE_API_KEY"), needs_key=True, prefixes=("gemini-*",),
        model_id_prefix="models/",
    ),
    "groq": Row(
        base_url="https://api.groq.com/openai/v1", docs="https://console.groq.com/docs/openai",
        key_variables=("GROQ_API_KEY",), needs_key=True,
    ),
    "together": Row(
        base_url="https://api.together.xyz/v1", docs="https://docs.together.ai/docs/openai-api-compatibility",
        key_variables=("TOGETHER_API_KEY",), needs_key=True,
    ),
    "mistral": Row(
        base_url="https://api.mistral.ai/v1", docs="https://docs.mistral.ai/api",
        key_variables=("MISTRAL_API_KEY",), needs_key=True, prefixes=_MISTRAL_NAMES,
    ),
    "cohere": Row(
        base_url="https://api.cohere.ai/compatibility/v1", docs="https://docs.cohere.com/docs/compatibility-api",
        key_variables=("COHERE_API_KEY", "CO_API_KEY"), needs_key=True, prefixes=("command-*",),
        models_path="", accepts_stream_options=False,
    ),
    "deepseek": Row(
        base_url="https://api.deepseek.com", docs="https://api-docs.deepseek.com",
        key_variables=("DEEPSEEK_API_KEY",), needs_key=True, prefixes=("deepseek-chat*", "deepseek-reasoner*"),
    ),
    "xai": Row(
        base_url="https://api.x.ai/v1", docs="https://docs.x.ai/docs/api-reference",
        key_variables=("XAI_API_KEY",), needs_key=True, prefixes=("grok-*",),
    ),
    "openrouter": Row(
        base_url="https://openrouter.ai/api/v1", docs="https://openrouter.ai/docs/api-reference/overview",
        key_variables=("OPENROUTER_API_KEY",), needs_key=True,
    ),
    "fireworks": Row(
        base_url="https://api.fireworks.ai/inference/v1",
        docs="https://docs.fireworks.ai/tools-sdks/openai-compatibility",
        key_variables=("FIREWORKS_API_KEY",), needs_key=True,
    ),
    "cerebras": Row(
        base_url="https://api.cerebras.ai/v1", docs="https://inference-docs.cerebras.ai/resources/openai",
        key_variables=("CEREBRAS_API_KEY",), needs_key=True,
    ),
    "perplexity": Row(
        base_url="https://api.perplexity.ai", docs="https://docs.perplexity.ai/docs/sonar/openai-compatibility",
        key_variables=("PERPLEXITY_API_KEY",), needs_key=True, prefixes=("sonar*",), models_path="",
    ),
    "nvidia": Row(
        base_url="https://integrate.api.nvidia.com/v1", docs="https://docs.api.nvidia.com",
        key_variables=("NVIDIA_API_KEY",), needs_key=True,
    ),
    "huggingface": Row(
        base_url="https://router.huggingface.co/v1", docs="https://huggingface.co/docs/inference-providers",
        key_variables=("HF_TOKEN",), needs_key=True,
    ),
    "vllm": Row(
        base_url="http://127.0.0.1:8000/v1", docs="https://docs.vllm.ai/en/latest/serving/openai_compatible_server",
        key_variables=("VLLM_API_KEY",),
    ),
    "sglang": Row(
        base_url="http://127.0.0.1:30000/v1", docs="https://docs.sglang.ai/basic_usage/openai_api.html",
    ),
    "lmstudio": Row(
        base_url="http://127.0.0.1:1234/v1", docs="https://lmstudio.ai/docs/developer/openai-compat",
    ),
    # Without an address `switchgear serve` starts a llama.cpp server of its own.
    "llamacpp": Row(base_url="", docs="https://github.com/ggml-org/llama.cpp/tree/master/tools/server"),
    "openai_compatible": Row(base_url="", docs="https://platform.openai.com/docs/api-reference/chat"),
}  # fmt: skip


class CompatProvider:
    """A provider that speaks OpenAI chat completions, described by a row of ``KINDS``."""

    format = openai_chat.FORMAT

    def __init__(self, name: str, settings: ProviderSettings) -> None:
        """Raises ConfigError for an unknown kind, no address, or an address or header HTTP cannot carry."""
        row = KINDS.get(settings.kind or name)
        if row is None:
            raise ConfigError([f"providers.{name}.kind: there is no OpenAI-compatible kind {settings.kind or name!r}"])
        base_url = (settings.base_url or row.base_url).rstrip("/")
        if not base_url:
            raise ConfigError([f"providers.{name}.base_url: missing; nothing says where this provider is"])
        self.name = name
        self.settings = settings
        self._row = row
        try:
            self._chat = Endpoint.to("POST", f"{base_url}/chat/completions", _chat_headers(settings))
            self._models = _models_endpoint(row, base_url, settings)
        except ValueError:
            # The error's own text may hold a credential, so it is neither shown nor chained.
            raise ConfigError(
                [
                    f"providers.{name}: its base_url is not an http:// or https:// URL, "
                    "or a header has a character that HTTP cannot carry"
                ]
            ) from None

    def encode(self, chat: Chat, target: Target) -> HttpRequest:
        """``POST {base_url}/chat/completions``; the client's own bytes where nobody changed them."""
        body = openai_chat.write_request(chat, target)
        if chat.stream and not self._row.accepts_stream_options:
            body = _without(body, "stream_options")
        return HttpRequest(self._chat, body)

    def read_reply(self, body: bytes, chat: Chat) -> Reply:
        """A whole chat completion. Raises UpstreamInvalid where it is not one."""
        return openai_reply.read_reply(body)

    def decoder(self, chat: Chat) -> Decoder:
        """A decoder for one stream of chat completion chunks."""
        return StreamReader()

    def read_error(self, status: int, headers: dict[str, str], body: bytes) -> SwitchgearError:
        """The vendor's own status, words and ``Retry-After``. Header names come in lower case."""
        return openai_error.read_error(status, headers, body)

    def list_models(self) -> HttpRequest | None:
        """``GET {base_url}/models``; None for a vendor that has no such list."""
        return HttpRequest(self._models) if self._models else None

    def read_models(self, body: bytes) -> list[ModelInfo]:
        """The models of that answer. Raises UpstreamInvalid where it is not a model list."""
        return read_models(body, owner=self.name, id_prefix=self._row.model_id_prefix)


class _ListedModel(Struct):
    """One entry of a model list; beside OpenAI's fields, those in which servers say how much fits into a model.

    Only the id must be what it should: one odd entry must not hide all the others.
    """

    id: str
    created: Any = None
    created_at: Any = None
    owned_by: Any = None
    max_model_len: Any = None  # vLLM, SGLang
    context_length: Any = None  # OpenRouter, Together, Fireworks
    context_window: Any = None  # Groq
    max_context_length: Any = None  # Mistral, LM Studio
    max_input_tokens: Any = None  # Anthropic


class _ListedModels(Struct):
    data: list[_ListedModel]


def read_models(body: bytes, *, owner: str = "", id_prefix: str = "") -> list[ModelInfo]:
    """The models of a ``GET /models`` answer: ``{"data": […]}``, or the bare list that Together sends.

    ``owner`` stands in where the list names none; ``id_prefix`` is cut off ids. Raises UpstreamInvalid for anything
    that is not a model list.
    """
    try:
        listed = msgspec.json.decode(body, type=_ListedModels | list[_ListedModel])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UpstreamInvalid("The provider's answer to GET /models is not a model list.") from None
    models = listed.data if isinstance(listed, _ListedModels) else listed
    return [_read_model(model, owner, id_prefix) for model in models if model.id]


def _read_model(listed: _ListedModel, owner: str, id_prefix: str) -> ModelInfo:
    windows = (
        listed.max_model_len, listed.context_length, listed.context_window, listed.max_context_length,
        listed.max_input_tokens,
    )  # fmt: skip
    return ModelInfo(
        id=listed.id.removeprefix(id_prefix),
        owned_by=listed.owned_by if isinstance(listed.owned_by, str) else owner,
        created_s=_unix_s(listed.created_at if listed.created is None else listed.created),
        context_window_tokens=next((n for n in windows if isinstance(n, int) and n > 0), None),
    )


def _unix_s(said: Any) -> int:
    if isinstance(said, str):
        try:
            return int(datetime.fromisoformat(said).timestamp())
        except ValueError:
            return 0
    return int(said) if isinstance(said, int | float) else 0


def _chat_headers(settings: ProviderSettings) -> dict[str, str]:
    return {"content-type": "application/json"} | _headers(settings, "authorization", {})


def _models_endpoint(row: Row, base_url: str, settings: ProviderSettings) -> Endpoint | None:
    if not row.models_path:
        return None
    headers = _headers(settings, row.models_key_header, row.models_headers)
    return Endpoint.to("GET", base_url + row.models_path, {"accept": "application/json"} | headers)


def _headers(settings: ProviderSettings, key_header: str, more: Mapping[str, str]) -> dict[str, str]:
    """Ours, then the key, then the operator's own, which win whatever the case they are written in."""
    headers = {"user-agent": f"switchgear/{VERSION}", **more}
    if settings.api_key:
        key = settings.api_key.reveal()
        headers[key_header] = f"Bearer {key}" if key_header == "authorization" else key
    return headers | {name.lower(): value.reveal() for name, value in settings.headers.items()}


def _without(body: bytes, name: str) -> bytes:
    fields: dict[str, Any] = msgspec.json.decode(body, type=dict[str, Raw])
    fields.pop(name, None)
    return to_json(fields)
