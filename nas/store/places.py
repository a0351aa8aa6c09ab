"""Finds the tables of a run, and makes those of a new one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from nas.store.database import Database
from nas.store.errors import RunFileError, writing
from nas.store.migrations import WRITTEN_BY, release
from nas.store.pointer import POINTER_NAME, Pointer
from nas.store.schema import FILE_NAME, SCHEMA_VERSION
from nas.store.sqlite_file import SqliteFile, acquire

RUN_FILES = (FILE_NAME, POINTER_NAME)


def find_run(directory: Path) -> Path | None:
    """The run file of a directory, or the file that points to its server; None where there is none."""
    return next((path for name in RUN_FILES if (path := directory / name).is_file()), None)


def open_database(path: Path, *, writable: bool) -> Database:
    """The tables that a run file, or a file that points to a server, stands for; raises RunFileError."""
    if not path.is_file():
        raise RunFileError(f"run {path}: no such file; `netwright search --out {path.parent}` makes one")
    if path.name == POINTER_NAME:
        from nas.store.postgresql import PostgresRun

        return PostgresRun(path, Pointer.read(path), writable=writable)
    return SqliteFile(path, writable=writable)


def make(path: Path, facts: dict[str, Any], url: str | None, check_absent: Callable[[Path], None]) -> Database:
    """The tables of a new run, open for writing; raises RunFileError when its place is taken.

    Args:
        path: of the run file.
        facts: what the run is.
        url: of a server that gets the tables; None for the file itself.
        check_absent: raises when the place is taken.
    """
    facts = {"schema_version": SCHEMA_VERSION, WRITTEN_BY: release(), **facts}
    path = path if url is None else path.with_name(POINTER_NAME)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = acquire(path)
    try:
        check_absent(path)
        if url is not None:
            return _on_server(path, facts, url)
        with writing(path):
            return SqliteFile.create(path, facts, lock)
    except BaseException:
        lock.release()
        raise
    finally:
        if url is not None:  # the server has a lock of its own
            lock.release()


def _on_server(path: Path, facts: dict[str, Any], url: str) -> Database:
    """A kill leaves a draft of the pointer, by which the next attempt finds and removes what it left on the server."""
    from nas.store.postgresql import PostgresRun

    pointer, draft = Pointer.new(url, path.parent), path.with_name(f".{path.name}.draft")
    if draft.exists():
        PostgresRun(path, Pointer.read(draft), writable=True).drop()
    with writing(path):
        pointer.write(draft)
    try:
        database = PostgresRun.create(path, pointer, facts)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    with writing(path):
        draft.replace(path)
    return database
