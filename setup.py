"""Kept for tools that ask for it (Beam's --setup_file); everything is in pyproject.toml."""

from setuptools import setup

setup()
