"""Decisions about a request, one file each."""
