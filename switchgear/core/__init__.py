"""The vocabulary everything else is written in; no I/O."""
