"""Reads and writes what a run knows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa
from filelock import FileLock
from sqlalchemy.exc import DatabaseError

from nas.records import Result
from nas.store.errors import RunFileError, reading, writing
from nas.store.rows import checked, result_of, row_of
from nas.store.schema import CANDIDATE, EVENT, FACT, SCHEMA_VERSION
from nas.store.sqlite_file import acquire, engine_of, write_new


def check_absent(path: Path) -> None:
    """Raise RunFileError when there is a run file already."""
    if not path.exists():
        return
    if failed := _failed_whole(path):
        raise RunFileError(
            f"run {path}: exists already and failed: none of its {failed} evaluations gave a score; "
            "mend the cause, then delete this file or choose another --out"
        )
    raise RunFileError(f"run {path}: exists already; continue it with `netwright resume`, or choose another --out")


def _failed_whole(path: Path) -> int:
    """Number of evaluations when all of them failed, which a resume would only find again; else 0."""
    try:
        with RunStore.open(path) as store:
            outcomes = store.outcomes()
    except RunFileError:
        return 0
    return 0 if "scored" in outcomes else outcomes.get("error", 0) + outcomes.get("crash", 0)


class RunStore:
    """Reads and, when opened for writing, extends a run file. One writer at a time."""

    def __init__(self, path: Path, lock: FileLock | None = None) -> None:
        """Connect to a file that is there; with its lock, for writing."""
        self.path = path
        self._lock = lock
        self._engine = engine_of(path, "ro" if lock is None else "rw")
        self._pending: list[Result] = []
        try:
            with reading(path):
                self._connection = self._engine.connect()
        except RunFileError:
            self._release()
            raise

    @classmethod
    def create(cls, path: Path, facts: dict[str, Any]) -> Self:
        """A new run file, there completely or not at all; raises RunFileError when there is one already."""
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = acquire(path)
            try:
                check_absent(path)
            except RunFileError:
                lock.release()
                raise
            write_new(path, {"schema_version": SCHEMA_VERSION, **facts})
        return cls(path, lock)

    @classmethod
    def open(cls, path: Path, *, writable: bool = False) -> Self:
        """An existing run file; raises RunFileError when it is missing, damaged or of another schema."""
        if not path.is_file():
            raise RunFileError(f"run {path}: no such file; `netwright search --out {path.parent}` makes one")
        with writing(path):
            lock = acquire(path) if writable else None
        store = cls(path, lock)
        try:
            version = store.fact("schema_version")
            if version != SCHEMA_VERSION:
                raise RunFileError(f"run {path}: schema version {version}, this release reads {SCHEMA_VERSION}")
        except RunFileError:
            store._release()
            raise
        return store

    def fact(self, name: str) -> Any:
        """A value given to ``create``; None when it has none of that name."""
        with reading(self.path):
            row = self._connection.execute(sa.select(FACT.c.value).where(FACT.c.name == name)).first()
            return None if row is None else json.loads(row[0])

    def append(self, results: Sequence[Result]) -> None:
        """Record results in candidate order; durable, and visible to reads, after ``commit``."""
        self._pending.extend(results)

    def record(self, kind: str, payload: Any) -> None:
        """Append one event and make it durable."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        with self._extending():
            self._connection.execute(EVENT.insert(), {"time": now, "kind": kind, "payload": json.dumps(payload)})
        self.commit()

    def commit(self) -> None:
        """Make everything appended durable."""
        pending, self._pending = self._pending, []  # first: an interrupt must not insert a row twice
        with self._extending():
            if pending:
                self._connection.execute(CANDIDATE.insert(), [row_of(result) for result in pending])
            self._connection.commit()

    @contextmanager
    def _extending(self) -> Iterator[None]:
        with writing(self.path):
            if self._interrupted():
                self._connection.rollback()
            try:
                yield
            except DatabaseError:
                self._connection.rollback()  # else the connection cannot even be closed
                raise

    def _interrupted(self) -> bool:
        """Whether an interrupt broke a statement, or a commit half-way; what those wrote is gone."""
        transaction = self._connection.get_transaction()
        return self._connection.invalidated or (transaction is not None and not transaction.is_active)

    def results(self) -> Iterator[Result]:
        """All recorded results in candidate order."""
        with reading(self.path):
            for row in self._connection.execute(sa.select(CANDIDATE).order_by(CANDIDATE.c.id)).mappings():
                yield result_of(row)

    def result(self, candidate_id: int) -> Result:
        """One candidate; raises RunFileError when the run has none of that id."""
        query = sa.select(CANDIDATE).where(CANDIDATE.c.id == candidate_id)
        with reading(self.path):
            row = self._connection.execute(query).mappings().first()
            if row is not None:
                return result_of(row)
        raise RunFileError(f"run {self.path}: no candidate {candidate_id}")

    def table(self, *, scored_only: bool = True) -> list[dict[str, Any]]:
        """Rows without the designs: id, parent, digest, outcome, reason, metrics."""
        columns = [column for column in CANDIDATE.c if column.name != "arch"]
        query = sa.select(*columns).order_by(CANDIDATE.c.id)
        if scored_only:
            query = query.where(CANDIDATE.c.outcome == "scored")
        with reading(self.path):
            return [checked(dict(row)) for row in self._connection.execute(query).mappings()]

    def outcomes(self) -> dict[str, int]:
        """Number of candidates by outcome."""
        query = sa.select(CANDIDATE.c.outcome, sa.func.count()).group_by(CANDIDATE.c.outcome)
        with reading(self.path):
            return {outcome: n for outcome, n in self._connection.execute(query)}

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        """Events of these kinds, or all, oldest first: {"time", "kind", **payload}."""
        query = sa.select(EVENT).order_by(EVENT.c.seq)
        if kinds:
            query = query.where(EVENT.c.kind.in_(kinds))
        with reading(self.path):
            rows = self._connection.execute(query).mappings().all()
            return [{"time": row["time"], "kind": row["kind"], **json.loads(row["payload"])} for row in rows]

    def close(self) -> None:
        """Commit and release the file."""
        try:
            if self._lock is not None:
                self.commit()
            self._connection.close()
        finally:
            self._release()

    def _release(self) -> None:
        self._engine.dispose()
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
