"""What a user names as ``package.module:name``: a space, a score, a dataset."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class NamedFailed(ValueError):
    """The module cannot be imported, has nothing of that name, or its code raised; the reason in one line."""


def load_named(text: str) -> Any:
    """Import ``package.module:name``; modules are also looked for in the current directory, from now on.

    Raises: NamedFailed.
    """
    module, _, attribute = text.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    with _user_code():
        imported = importlib.import_module(module)
    try:
        return getattr(imported, attribute)
    except AttributeError as error:
        raise NamedFailed(str(error).splitlines()[0]) from None


def call_named(text: str, *args: Any) -> Any:
    """What the function (or class) ``package.module:name`` returns for these arguments.

    Raises: NamedFailed.
    """
    found = load_named(text)
    if not callable(found):
        raise NamedFailed(f"is a {type(found).__name__}, expected a function")
    function: Callable[..., Any] = found
    with _user_code():
        return function(*args)


@contextmanager
def _user_code() -> Iterator[None]:
    """Turn whatever code that nobody here knows raises into one line with its place."""
    try:
        yield
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's code may raise anything
        reason = (str(error).splitlines() or [""])[0][:300]
        place = traceback.extract_tb(error.__traceback__)[-1]
        own = isinstance(error, ImportError | ValueError) and "importlib" in place.filename
        where = "" if own else f" ({Path(place.filename).name}, line {place.lineno})"
        kind = "" if own else f"{type(error).__name__}: "
        raise NamedFailed(f"{kind}{reason}{where}") from None
