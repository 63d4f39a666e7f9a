"""The management API; it has no routes yet."""
