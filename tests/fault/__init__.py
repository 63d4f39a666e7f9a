"""A TCP proxy that is a real process and breaks the connections it carries to order."""

from tests.fault.client import FaultProxy

__all__ = ["FaultProxy"]
