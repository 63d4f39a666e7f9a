"""Configuration: from YAML and the environment to the frozen settings, or to every mistake at once."""

from switchgear.config.load import Loaded, load, load_settings, settings_from

__all__ = ["Loaded", "load", "load_settings", "settings_from"]
