"""What a user names as ``package.module:name``: a space, a score."""

from __future__ import annotations

import importlib
import sys
from typing import Any


class NotFound(ValueError):
    """The module cannot be imported, or has nothing of that name."""


def load_named(text: str) -> Any:
    """Import ``package.module:name``; modules are also looked for in the current directory.

    Raises: NotFound: the reason in one line.
    """
    module, _, attribute = text.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise NotFound(str(error).splitlines()[0]) from None
