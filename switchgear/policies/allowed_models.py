"""Which models a key may use."""

from switchgear.core.errors import PermissionDenied
from switchgear.core.protocols import Call, Phase
from switchgear.core.settings import KeySettings


class AllowedModels:
    """Refuses a model that the caller's key does not list."""

    name = "allowed_models"
    phase = Phase.SCREEN

    def before(self, call: Call) -> None:
        """Raises PermissionDenied, with ``model`` in ``param``."""
        assert call.chat is not None
        if call.key is not None and not may_use(call.key, call.chat.model):
            raise PermissionDenied(
                f"The key {call.key.name!r} may not use the model {call.chat.model[:200]!r}.",
                param="model",
                code="model_not_allowed",
            )

    def after(self, call: Call) -> None:
        """Nothing to undo."""


def may_use(key: KeySettings, model: str) -> bool:
    """Whether the key lists the model, by name or by a prefix that ends in ``*``."""
    if "*" in key.models or model in key.models:
        return True
    return any(name.endswith("*") and model.startswith(name[:-1]) for name in key.models)
