"""One SQLite file: opened for reading or by its one writer, made whole or not at all."""

from __future__ import annotations

import json
import logging
import sqlite3
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa
from filelock import FileLock, Timeout

from nas.store.errors import RunFileError
from nas.store.schema import FACT, METADATA

# An interrupt inside a statement makes SQLAlchemy log a traceback of its own; with no handler it would go to stderr.
logging.getLogger("sqlalchemy.pool").addHandler(logging.NullHandler())


def acquire(path: Path) -> FileLock:
    """The lock of the one writer. Raises RunFileError: another process holds it."""
    lock = FileLock(f"{path}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunFileError(f"run {path}: another process is writing to it; wait or stop that one") from None
    return lock


def write_new(path: Path, facts: dict[str, Any]) -> None:
    """Make the file beside its place and move it there: a kill leaves no half-made run."""
    draft = path.with_name(f"{path.name}.draft")
    draft.unlink(missing_ok=True)
    engine = engine_of(draft, "new")
    with engine.begin() as connection:
        METADATA.create_all(connection)
        connection.execute(FACT.insert(), [{"name": name, "value": json.dumps(value)} for name, value in facts.items()])
    engine.dispose()
    draft.replace(path)


def engine_of(path: Path, mode: Literal["ro", "rw", "new"]) -> sa.Engine:
    """An engine over one connection to the file."""
    return sa.create_engine("sqlite://", creator=lambda: _connect(path, mode), poolclass=sa.pool.StaticPool)


def _connect(path: Path, mode: Literal["ro", "rw", "new"]) -> sqlite3.Connection:
    uri = f"{path.resolve().as_uri()}?mode={'rwc' if mode == 'new' else mode}"
    connection = sqlite3.connect(uri, uri=True, timeout=30, check_same_thread=False)
    if mode == "new":
        connection.execute("PRAGMA journal_mode=OFF")
    elif mode == "rw":
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
    return connection
