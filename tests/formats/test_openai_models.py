"""OpenAI's model list, as the gateway writes it."""

import json

from switchgear.core.types import ModelInfo
from switchgear.formats import openai_models


def test_models_are_listed_in_openais_shape() -> None:
    known = ModelInfo(
        id="p/m", owned_by="p", created_s=5, context_window_tokens=8192, capabilities=["completion", "vision"]
    )
    assert json.loads(openai_models.write_models([ModelInfo(id="fast"), known])) == {
        "object": "list",
        "data": [
            {"id": "fast", "object": "model", "created": 0, "owned_by": ""},
            {
                "id": "p/m", "object": "model", "created": 5, "owned_by": "p", "context_window": 8192,
                "capabilities": ["completion", "vision"],
            },
        ],
    }  # fmt: skip
