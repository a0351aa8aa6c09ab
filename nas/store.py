"""The run file: one SQLite database that holds everything a run knows."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import Any, Literal, Self

import sqlalchemy as sa
from filelock import FileLock, Timeout
from sqlalchemy.exc import DatabaseError

from nas.records import COUNTS, METRICS, Candidate, Failure, FailureKind, Result, Success
from search_spaces.arch import Architecture

SCHEMA_VERSION = 1
FILE_NAME = "run.sqlite"

# An interrupt inside a statement makes SQLAlchemy log a traceback of its own; with no handler it would go to stderr.
logging.getLogger("sqlalchemy.pool").addHandler(logging.NullHandler())

_metadata = sa.MetaData()
_fact = sa.Table(  # what the run is: configuration, device table, schema version
    "fact",
    _metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
_candidate = sa.Table(  # one row per candidate, in the order of the search
    "candidate",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("digest", sa.Text, nullable=False, index=True),
    sa.Column("parent", sa.Integer),
    sa.Column("arch", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),  # "scored" or the kind of failure
    sa.Column("reason", sa.Text),
    sa.Column("violation", sa.Float),
    *(sa.Column(name, sa.Integer if name in COUNTS else sa.Float) for name in METRICS),
)
_event = sa.Table(  # what happened after the search: measured, trained, exported, verified
    "event",
    _metadata,
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("time", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False, index=True),
    sa.Column("payload", sa.Text, nullable=False),
)


class RunFileError(RuntimeError):
    """The run file is missing, damaged, of another schema or in use."""


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
        self._engine = _engine(path, "ro" if lock is None else "rw")
        self._pending: list[Result] = []
        try:
            with _reading(path):
                self._connection = self._engine.connect()
        except RunFileError:
            self._release()
            raise

    @classmethod
    def create(cls, path: Path, facts: dict[str, Any]) -> Self:
        """A new run file, there completely or not at all; raises RunFileError when there is one already."""
        with _writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = _acquire(path)
            try:
                check_absent(path)
            except RunFileError:
                lock.release()
                raise
            _write_new(path, {"schema_version": SCHEMA_VERSION, **facts})
        return cls(path, lock)

    @classmethod
    def open(cls, path: Path, *, writable: bool = False) -> Self:
        """An existing run file; raises RunFileError when it is missing, damaged or of another schema."""
        if not path.is_file():
            raise RunFileError(f"run {path}: no such file; `netwright search --out {path.parent}` makes one")
        with _writing(path):
            lock = _acquire(path) if writable else None
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
        with _reading(self.path):
            row = self._connection.execute(sa.select(_fact.c.value).where(_fact.c.name == name)).first()
            return None if row is None else json.loads(row[0])

    def append(self, results: Sequence[Result]) -> None:
        """Record results in candidate order; durable, and visible to reads, after ``commit``."""
        self._pending.extend(results)

    def record(self, kind: str, payload: Any) -> None:
        """Append one event and make it durable."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        with self._extending():
            self._connection.execute(_event.insert(), {"time": now, "kind": kind, "payload": json.dumps(payload)})
        self.commit()

    def commit(self) -> None:
        """Make everything appended durable."""
        pending, self._pending = self._pending, []  # first: an interrupt must not insert a row twice
        with self._extending():
            if pending:
                self._connection.execute(_candidate.insert(), [_row(result) for result in pending])
            self._connection.commit()

    @contextmanager
    def _extending(self) -> Iterator[None]:
        with _writing(self.path):
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
        with _reading(self.path):
            for row in self._connection.execute(sa.select(_candidate).order_by(_candidate.c.id)).mappings():
                yield _result(row)

    def result(self, candidate_id: int) -> Result:
        """One candidate; raises RunFileError when the run has none of that id."""
        query = sa.select(_candidate).where(_candidate.c.id == candidate_id)
        with _reading(self.path):
            row = self._connection.execute(query).mappings().first()
            if row is not None:
                return _result(row)
        raise RunFileError(f"run {self.path}: no candidate {candidate_id}")

    def table(self, *, scored_only: bool = True) -> list[dict[str, Any]]:
        """Rows without the designs: id, parent, digest, outcome, reason, metrics."""
        columns = [column for column in _candidate.c if column.name != "arch"]
        query = sa.select(*columns).order_by(_candidate.c.id)
        if scored_only:
            query = query.where(_candidate.c.outcome == "scored")
        with _reading(self.path):
            return [_checked(dict(row)) for row in self._connection.execute(query).mappings()]

    def outcomes(self) -> dict[str, int]:
        """Number of candidates by outcome."""
        query = sa.select(_candidate.c.outcome, sa.func.count()).group_by(_candidate.c.outcome)
        with _reading(self.path):
            return {outcome: n for outcome, n in self._connection.execute(query)}

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        """Events of these kinds, or all, oldest first: {"time", "kind", **payload}."""
        query = sa.select(_event).order_by(_event.c.seq)
        if kinds:
            query = query.where(_event.c.kind.in_(kinds))
        with _reading(self.path):
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


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (DatabaseError, ValueError, TypeError, RecursionError) as error:
        raise RunFileError(f"run {path}: cannot be read ({_reason(error)}); it is damaged or not a run file") from None


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except (DatabaseError, OSError) as error:
        raise RunFileError(
            f"run {path}: cannot be written ({_reason(error)}); check the folder, its permissions and the free space"
        ) from None


def _reason(error: Exception) -> str:
    return str(getattr(error, "orig", None) or getattr(error, "strerror", None) or error).splitlines()[0]


def _acquire(path: Path) -> FileLock:
    lock = FileLock(f"{path}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunFileError(f"run {path}: another process is writing to it; wait or stop that one") from None
    return lock


def _write_new(path: Path, facts: dict[str, Any]) -> None:
    """Make the file beside its place and move it there: a kill leaves no half-made run."""
    draft = path.with_name(f"{path.name}.draft")
    draft.unlink(missing_ok=True)
    engine = _engine(draft, "new")
    with engine.begin() as connection:
        _metadata.create_all(connection)
        connection.execute(
            _fact.insert(), [{"name": name, "value": json.dumps(value)} for name, value in facts.items()]
        )
    engine.dispose()
    draft.replace(path)


def _engine(path: Path, mode: Literal["ro", "rw", "new"]) -> sa.Engine:
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


def _row(result: Result) -> dict[str, Any]:
    candidate = result.candidate
    row: dict[str, Any] = dict.fromkeys(METRICS)
    row |= {
        "id": candidate.id,
        "digest": candidate.arch.digest,
        "parent": candidate.parent,
        "arch": candidate.arch.to_json(),
        "outcome": "scored",
        "reason": None,
        "violation": None,
    }
    if isinstance(result, Failure):
        violation = None if result.violation == inf else result.violation
        return (
            row
            | _stored(candidate.metrics)
            | {"outcome": result.kind, "reason": result.message, "violation": violation}
        )
    return row | _stored(result.metrics)


def _stored(metrics: Mapping[str, float]) -> dict[str, float]:
    """What a row keeps: bounds on further devices served the gates, and are found again from the design."""
    return {name: value for name, value in metrics.items() if name in METRICS}


def _checked(row: dict[str, Any]) -> dict[str, Any]:
    """The row, unless it lacks what its outcome comes with; ValueError then."""
    needed = "score" if row["outcome"] == "scored" else "reason"
    if row[needed] is None:
        raise ValueError(f"candidate {row['id']} is {row['outcome']!r} without a {needed}")
    return row


def _result(row: sa.RowMapping) -> Result:
    _checked(dict(row))
    metrics = {name: row[name] for name in METRICS if row[name] is not None}
    candidate = Candidate(row["id"], Architecture.from_json(row["arch"]), row["parent"], metrics)
    if row["outcome"] == "scored":
        return Success(candidate, metrics)
    kind: FailureKind = row["outcome"]
    return Failure(candidate, kind, row["reason"], inf if row["violation"] is None else row["violation"])
