"""The benchmark: this gateway, nginx and any rivals, measured side by side on two cores.

Everything is a local process on loopback; `command.main` is the entry, docs in `bench/README.md`.
"""
