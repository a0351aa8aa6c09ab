"""What goes wrong with a run file, in one line."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import DatabaseError, IntegrityError

UNREADABLE = "it is damaged or not a run file"
UNREACHABLE = "check its folder, its permissions and the free space"  # SQLite makes a small file beside it to read
UNWRITABLE = "check the folder, its permissions and the free space"


_OF_THE_DISK = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)


class RunFileError(RuntimeError):
    """The run file is missing, damaged, of another schema or in use."""


class CannotWrite(RunFileError):
    """The disk is full, or the folder or the tables are not ours to write."""


class CannotConnect(RunFileError):
    """A database server does not let us in: not there, wrong password, or another process has the run."""


@contextmanager
def reading(path: Path, cure: str = UNREADABLE) -> Iterator[None]:
    """Say in one line what makes a file unreadable."""
    try:
        yield
    except (DatabaseError, ValueError, TypeError, RecursionError) as error:
        cure = UNREACHABLE if _code(error) in _OF_THE_DISK else cure
        raise RunFileError(f"run {path}: cannot be read ({reason_of(error)}); {cure}") from None


@contextmanager
def writing(path: Path, cure: str = UNWRITABLE) -> Iterator[None]:
    """Say in one line why a file cannot be written."""
    try:
        yield
    except IntegrityError as error:
        raise RunFileError(
            f"run {path}: another process has written to it meanwhile ({reason_of(error)}); stop that one, then go on "
            f"with: netwright resume {path.parent}"
        ) from None
    except (DatabaseError, OSError) as error:
        raise CannotWrite(f"run {path}: cannot be written ({reason_of(error)}); {cure}") from None


def _code(error: BaseException) -> int:
    """SQLite's primary code; 0 for other errors."""
    return getattr(getattr(error, "orig", None), "sqlite_errorcode", 0) & 0xFF


def reason_of(error: BaseException) -> str:
    """The first line of what the driver or the system says."""
    text = str(getattr(error, "orig", None) or getattr(error, "strerror", None) or error)
    return next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
