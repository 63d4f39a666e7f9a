"""OpenAI's model list, as the gateway writes it.

Follows https://platform.openai.com/docs/api-reference/models.
"""

from typing import Any

from switchgear.core.types import ModelInfo, to_json


def write_models(models: list[ModelInfo]) -> bytes:
    """The answer to ``GET /v1/models``."""
    return to_json({"object": "list", "data": [write_model(model) for model in models]})


def write_model(model: ModelInfo) -> dict[str, Any]:
    """One model, as ``GET /v1/models/{id}`` shows it."""
    shown: dict[str, Any] = {
        "id": model.id, "object": "model", "created": model.created_s, "owned_by": model.owned_by
    }  # fmt: skip
    if model.context_window_tokens:
        shown["context_window"] = model.context_window_tokens
    if model.capabilities:
        shown["capabilities"] = model.capabilities
    return shown
