"""One SQLite file: opened for reading or by its one writer, made whole or not at all."""

from __future__ import annotations

import errno
import json
import logging
import os
import sqlite3
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa
from filelock import FileLock, Timeout

from nas.store.errors import UNREADABLE, UNWRITABLE, RunFileError, writing
from nas.store.row_process import RowProcess
from nas.store.schema import FACT, METADATA

# An interrupt inside a statement makes SQLAlchemy log a traceback of its own; with no handler it would go to stderr.
logging.getLogger("sqlalchemy.pool").addHandler(logging.NullHandler())

_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
_DYING_S = 1.0  # a process that writes rows outlives a killed driver by what it is about
_Mode = Literal["ro", "rw", "new"]


class SqliteFile:
    """A ``Database`` in one file; its writer holds a lock beside it."""

    unreadable, unwritable = UNREADABLE, UNWRITABLE
    patience_s = 0.0

    def __init__(self, path: Path, *, writable: bool, lock: FileLock | None = None) -> None:
        """A file that is there; raises RunFileError when it is to be written and another process does.

        Args:
            path: of the file.
            writable: take the lock and write.
            lock: that is held already.
        """
        self.path, self.writable = path, writable
        with writing(path):
            self._lock = lock or (acquire(path) if writable else None)
        self.engine = _engine_of(path, "rw" if writable else "ro")

    @classmethod
    def create(cls, path: Path, facts: dict[str, Any], lock: FileLock) -> SqliteFile:
        """A new file under a lock that is held."""
        _write_new(path, facts)
        return cls(path, writable=True, lock=lock)

    def begin(self, connection: sa.Connection) -> None:
        """Python's driver starts none before CREATE or DROP."""
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    def lost(self, error: BaseException) -> bool:
        """A file does not go away and come back."""
        return False

    def storable(self, text: str) -> str:
        """Everything is."""
        return text

    def row_process(self, dictionary: str) -> RowProcess | None:
        """A process that writes rows; None where the lock cannot be shared with one."""
        lock = getattr(getattr(self._lock, "_context", None), "lock_file_fd", None)  # filelock does not show it
        return None if lock is None else RowProcess(self.path, dictionary, lock)

    def release(self) -> None:
        """Close the file and give the lock up."""
        self.engine.dispose()
        if self._lock is not None:
            self._lock.release()


def acquire(path: Path) -> FileLock:
    """The lock of the one writer. Raises RunFileError: another process holds it, or there are no locks here."""
    lock = FileLock(f"{path}.lock")
    try:
        lock.acquire(timeout=_DYING_S)
    except Timeout:
        raise RunFileError(f"run {path}: another process is writing to it; wait or stop that one") from None
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
            raise
        raise RunFileError(
            f"run {path}: the file system has no locks, so that two searches could write at once; take a folder on "
            "a disk of this machine for --out, or a server with --store postgresql://user@host/database"
        ) from None
    return lock


def _write_new(path: Path, facts: dict[str, Any]) -> None:
    """Make the file beside its place and move it there: a kill leaves no half-made run."""
    draft = path.with_name(f"{path.name}.draft")
    draft.unlink(missing_ok=True)
    engine = _engine_of(draft, "new")
    try:
        with engine.begin() as connection:
            METADATA.create_all(connection)
            rows = [{"name": name, "value": json.dumps(value)} for name, value in facts.items()]
            connection.execute(FACT.insert(), rows)
        engine.dispose()
        _to_disk(draft)
        draft.replace(path)
    finally:
        engine.dispose()
        draft.unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _engine_of(path: Path, mode: _Mode) -> sa.Engine:
    """An engine over one connection to the file."""
    return sa.create_engine("sqlite://", creator=lambda: connect(path, mode), poolclass=sa.pool.StaticPool)


def _archived(path: Path) -> bool:
    """Whether nobody writes and the folder is read-only: SQLite then cannot make the file that readers share."""
    log = path.with_name(f"{path.name}-wal")
    return not os.access(path.parent, os.W_OK) and not (log.exists() and log.stat().st_size)


def connect(path: Path, mode: _Mode) -> sqlite3.Connection:
    """A connection to a file: for reading, for its one writer, or to make it."""
    uri = f"{path.resolve().as_uri()}?mode={'rwc' if mode == 'new' else mode}"
    if mode == "ro" and _archived(path):
        uri += "&immutable=1"
    connection = sqlite3.connect(uri, uri=True, timeout=30, check_same_thread=False)
    if mode == "new":
        connection.execute("PRAGMA journal_mode=OFF")
    elif mode == "rw":
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
    return connection
