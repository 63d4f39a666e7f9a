"""Switchgear: one door in front of every model.

``create_app(config)`` is the gateway as an ASGI application; ``Gateway(config)`` is the gateway without HTTP.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from switchgear.core.errors import SwitchgearError
from switchgear.core.version import VERSION

if TYPE_CHECKING:
    from switchgear.app import create_app
    from switchgear.library import Gateway

__version__ = VERSION
__all__ = ["Gateway", "SwitchgearError", "__version__", "create_app"]

_LAZY = {"create_app": "switchgear.app", "Gateway": "switchgear.library"}


def __getattr__(name: str) -> Any:
    """Import the larger parts on first use: ``switchgear version`` and the command line need none of them."""
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'switchgear' has no attribute {name!r}")
