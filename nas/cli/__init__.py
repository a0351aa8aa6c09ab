"""The command ``netwright``."""

from nas.cli.main import main

__all__ = ["main"]
