"""What goes wrong with a run file, in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import DatabaseError


class RunFileError(RuntimeError):
    """The run file is missing, damaged, of another schema or in use."""


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Say in one line what makes a file unreadable."""
    try:
        yield
    except (DatabaseError, ValueError, TypeError, RecursionError) as error:
        raise RunFileError(f"run {path}: cannot be read ({_reason(error)}); it is damaged or not a run file") from None


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say in one line why a file cannot be written."""
    try:
        yield
    except (DatabaseError, OSError) as error:
        raise RunFileError(
            f"run {path}: cannot be written ({_reason(error)}); check the folder, its permissions and the free space"
        ) from None


def _reason(error: Exception) -> str:
    return str(getattr(error, "orig", None) or getattr(error, "strerror", None) or error).splitlines()[0]
