"""The jobs of a server in one SQLite file: what was asked, in what order, and which process does it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa

State = Literal["queued", "running", "pausing", "paused", "stopping", "stopped", "finished", "failed"]
LIVE: tuple[State, ...] = ("running", "pausing", "stopping")  # there is a process

_metadata = sa.MetaData()
_job = sa.Table(
    "job",
    _metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("place", sa.Integer, nullable=False),  # in the queue
    sa.Column("config", sa.Text),
    sa.Column("created", sa.Text, nullable=False),
    sa.Column("started", sa.Text),
    sa.Column("ended", sa.Text),
    sa.Column("pid", sa.Integer),
    sa.Column("born", sa.Float),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("message", sa.Text),
)


@dataclass(frozen=True, slots=True)
class Job:
    """One search that a server looks after.

    Attributes:
        name: of the run, and its folder below the root.
        state: see ``State``.
        place: in the queue; the smallest is next.
        config: of a search that has not begun; None for a run that was there.
        created: when it was asked for, UTC.
        started: its process, last; None before.
        ended: its process, last.
        pid: of the process, while it lives.
        born: when that process was created, seconds since 1970: a process id is used again.
        attempts: processes that died without a word since the last that a user asked for.
        message: why it failed or waits.
    """

    name: str
    state: State
    place: int
    config: dict[str, Any] | None
    created: str
    started: str | None = None
    ended: str | None = None
    pid: int | None = None
    born: float | None = None
    attempts: int = 0
    message: str | None = None

    def view(self) -> dict[str, Any]:
        """What a client sees."""
        return {
            "created": self.created, "started": self.started, "ended": self.ended, "pid": self.pid,
            "message": self.message, "place": self.place if self.state == "queued" else None,
        }  # fmt: skip


class JobTable:
    """Every change is durable when the call returns; one process writes, any thread may call."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._engine = sa.create_engine(f"sqlite:///{path}", poolclass=sa.pool.NullPool, connect_args={"timeout": 30})
        self._lock = threading.RLock()
        with self._lock, self._engine.begin() as connection:
            connection.execute(sa.text("PRAGMA journal_mode=WAL"))
            _metadata.create_all(connection)

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Nobody else changes a job in this block."""
        with self._lock:
            yield

    def get(self, name: str) -> Job | None:
        """The job of that name."""
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(_job).where(_job.c.name == name)).mappings().first()
        return None if row is None else _read(row)

    def all(self) -> dict[str, Job]:
        """All jobs by name, in the order of the queue."""
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(_job).order_by(_job.c.place)).mappings().all()
        return {row["name"]: _read(row) for row in rows}

    def put(self, job: Job) -> Job:
        """Insert a job, or replace the one of its name."""
        values = {field.name: getattr(job, field.name) for field in fields(Job)}
        values["config"] = None if job.config is None else json.dumps(job.config)
        with self._lock, self._engine.begin() as connection:
            connection.execute(_job.delete().where(_job.c.name == job.name))
            connection.execute(_job.insert(), values)
        return job

    def last_place(self) -> int:
        """The largest place given so far."""
        with self._engine.connect() as connection:
            found = connection.execute(sa.select(sa.func.max(_job.c.place))).scalar()
        return found or 0


def now() -> str:
    """UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _read(row: sa.RowMapping) -> Job:
    return Job(**{**row, "config": None if row["config"] is None else json.loads(row["config"])})
