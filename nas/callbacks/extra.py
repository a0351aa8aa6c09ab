"""Libraries that come with an extra of netwright."""

from __future__ import annotations

import importlib
from typing import Any


class ExtraMissing(RuntimeError):
    """The library is not installed; the message says how to get it."""


def import_extra(module: str, extra: str) -> Any:
    """Import a module that ``netwright[extra]`` installs; raises ExtraMissing."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ExtraMissing(f"{error}; get it with: pip install 'netwright[{extra}]'") from None
