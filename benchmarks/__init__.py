"""Measurements: what a number in the docs comes from."""
