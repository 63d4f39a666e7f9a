"""Tests that hold README.md and docs/ to what the code does."""
