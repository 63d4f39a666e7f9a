"""The web console; it has no pages yet."""
