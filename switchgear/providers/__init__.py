"""Whom the gateway calls: one file per vendor, or a row in compat.py."""
