"""Reads and writes what a run knows."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from nas.records import Result
from nas.store.database import Database
from nas.store.elsewhere import RowsElsewhere
from nas.store.errors import CannotConnect, RunFileError, reading, reason_of, writing
from nas.store.migrations import WRITTEN_BY, migrate, refusal
from nas.store.packing import DICTIONARY, Packer
from nas.store.places import RUN_FILES, find_run, make, open_database
from nas.store.rows import checked, result_of
from nas.store.schema import CANDIDATE, EVENT, FACT, SCHEMA_VERSION
from nas.store.writer import Batch, write_batch

PAGE = 5_000  # rows read at once: no statement stays open while the caller works
RETRY_S = 0.5
T = TypeVar("T")


def check_absent(path: Path) -> None:
    """Raise RunFileError when there is a run file already, or one that points to a server."""
    there = path if path.exists() else find_run(path.parent) if path.name in RUN_FILES else None
    if there is None:
        return
    if failed := _failed_whole(there):
        raise RunFileError(
            f"run {there}: exists already and failed: none of its {failed} evaluations gave a score; "
            "mend the cause, then delete this file or choose another --out"
        )
    raise RunFileError(f"run {there}: exists already; continue it with `netwright resume`, or choose another --out")


def _failed_whole(path: Path) -> int:
    """Number of evaluations when all of them failed, which a resume would only find again; else 0."""
    try:
        with RunStore.open(path) as store:
            outcomes = store.outcomes()
    except RunFileError:
        return 0
    return 0 if "scored" in outcomes else outcomes.get("error", 0) + outcomes.get("crash", 0)


class RunStore:
    """Reads and, when opened for writing, extends a run, in a file or on a server. One writer at a time."""

    def __init__(self, database: Database) -> None:
        """Connect to tables that are there; raises RunFileError."""
        self.path = database.path
        self._database = database
        self._pending: list[Result] = []
        self._packer: Packer | None = None
        self._unsure = True  # whether what was last written is there
        self._events = 0
        self._elsewhere = RowsElsewhere(database.row_process)
        try:
            with reading(self.path, database.unreadable):
                self._connection = database.engine.connect()
        except BaseException:
            database.release()
            raise

    @classmethod
    def create(cls, path: Path, facts: dict[str, Any], url: str | None = None) -> Self:
        """A new run, there completely or not at all; raises RunFileError when there is one already.

        Args:
            path: of the run file.
            facts: what the run is, JSON-ready.
            url: of a PostgreSQL server that gets the tables; a file beside ``path`` then points there.
        """
        return cls(make(path, facts, url, check_absent))

    @classmethod
    def open(cls, path: Path, *, writable: bool = False) -> Self:
        """An existing run; one of an older schema is migrated when it is opened for writing.

        Args:
            path: of the run file, or of the file that points to a server.
            writable: be its one writer.
        Raises: RunFileError: missing, damaged, made by a later release or, for writing, in use.
        """
        store = cls(open_database(path, writable=writable))
        try:
            found = store.fact("schema_version")
            if why := refusal(found, store.fact(WRITTEN_BY)):
                raise RunFileError(f"run {path}: {why}")
            if writable and found < SCHEMA_VERSION:
                store._migrate(found)
        except BaseException:
            store._database.release()
            raise
        return store

    def _migrate(self, found: int) -> None:
        def work() -> None:
            self._database.begin(self._connection)
            migrate(self._connection, found)
            self._connection.commit()

        with reading(self.path, self._database.unreadable), writing(self.path, self._database.unwritable):
            self._transact(work)

    def fact(self, name: str) -> Any:
        """A value given to ``create``; None when it has none of that name."""
        with reading(self.path, self._database.unreadable):
            rows = self._rows(sa.select(FACT.c.value).where(FACT.c.name == name))
            return json.loads(rows[0]["value"]) if rows else None

    def append(self, results: Sequence[Result]) -> None:
        """Record results in candidate order; durable, and visible to reads, after ``commit``."""
        self._pending.extend(results)

    def record(self, kind: str, payload: Any) -> None:
        """Append one event and make it durable, with everything appended before."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._write({"time": now, "kind": kind, "payload": json.dumps(payload)})

    def commit(self) -> None:
        """Make everything appended durable; where rows come by the thousand, in the next half second."""
        if not self._pending:
            return
        if (
            self._packer
            and not self._unsure
            and self._elsewhere.take(self._pending, self._packer, self._database.storable)
        ):
            self._pending = []
        else:
            self._write(None)

    def _settle(self) -> None:
        """Wait for rows that are written elsewhere; write what may have been lost there."""
        lost = self._elsewhere.settle()
        if lost:
            newer = [result for result in self._pending if result.candidate.id > lost[-1].candidate.id]
            self._pending, self._unsure = lost + newer, True
            self._elsewhere.forget()  # only now: an interrupt in between must not leave a gap
            self._write(None)

    def _write(self, event: dict[str, Any] | None) -> None:
        """One transaction; after a lost connection again, without what turns out to be there already."""
        self._settle()
        batch = Batch(self._pending, event, self._packer)

        def work() -> None:
            if self._unsure:
                batch.look(self._connection)
            else:
                batch.last_event, batch.known = self._events, True
            self._unsure = True  # until the commit has come back
            write_batch(self._connection, batch, self._database.storable)
            self._connection.commit()

        with reading(self.path, self._database.unreadable), writing(self.path, self._database.unwritable):
            self._transact(work)
        self._pending, self._packer, self._events = [], batch.packer, batch.events_after
        self._unsure = False

    def _transact(self, work: Callable[[], T]) -> T:
        """What ``work`` gives; no transaction is open afterwards. A lost connection is waited for."""
        lost_at: float | None = None
        while True:
            try:
                self._connect()
                return work()
            except (DBAPIError, CannotConnect) as error:
                if not self._database.lost(error):
                    raise
                lost_at = lost_at or time.monotonic()
                if time.monotonic() - lost_at >= self._database.patience_s:
                    raise self._given_up(error) from None
            finally:
                self._end()
            time.sleep(RETRY_S)

    def _connect(self) -> None:
        """Anew, when the connection is gone."""
        if self._connection.invalidated or self._connection.closed:
            self._connection.close()
            self._connection = self._database.engine.connect()

    def _end(self) -> None:
        """Leave the transaction, also one that an interrupt broke: else the connection cannot even be closed."""
        try:
            self._connection.rollback()
        except DBAPIError as error:
            if not self._database.lost(error):
                raise

    def _given_up(self, error: Exception) -> RunFileError:
        said = reason_of(error).removeprefix(f"run {self.path}: ")
        return RunFileError(
            f"run {self.path}: the connection was lost and did not come back in {self._database.patience_s:g} s "
            f"({said}); nothing committed is lost, go on with: netwright resume {self.path.parent}"
        )

    def rows(self, query: sa.Select[Any]) -> list[sa.RowMapping]:
        """The rows of a query over the tables of ``nas.store.schema``; raises RunFileError."""
        with reading(self.path, self._database.unreadable):
            return self._rows(query)

    def _rows(self, query: sa.Select[Any]) -> list[sa.RowMapping]:
        self._settle()
        return self._transact(lambda: list(self._connection.execute(query).mappings()))

    def results(self) -> Iterator[Result]:
        """All recorded results in candidate order."""
        for row in self._pages(sa.select(CANDIDATE)):
            with reading(self.path, self._database.unreadable):
                result = result_of(row, self._unpacker)
            yield result

    def _pages(self, query: sa.Select[Any]) -> Iterator[sa.RowMapping]:
        """Rows of the candidate table by id, a page at a time."""
        last = -1
        while True:
            rows = self.rows(query.where(CANDIDATE.c.id > last).order_by(CANDIDATE.c.id).limit(PAGE))
            yield from rows
            if len(rows) < PAGE:
                return
            last = rows[-1]["id"]

    def _unpacker(self) -> Packer:
        """Reads designs; its dictionary comes with the first ones."""
        if self._packer is None:
            dictionary = self.fact(DICTIONARY)
            if not isinstance(dictionary, str):
                raise ValueError("the dictionary of its designs is missing")
            self._packer = Packer(dictionary)
        return self._packer

    def result(self, candidate_id: int) -> Result:
        """One candidate; raises RunFileError when the run has none of that id."""
        with reading(self.path, self._database.unreadable):
            rows = self._rows(sa.select(CANDIDATE).where(CANDIDATE.c.id == candidate_id))
            if rows:
                return result_of(rows[0], self._unpacker)
        raise RunFileError(f"run {self.path}: no candidate {candidate_id}")

    def table(self, *, scored_only: bool = True) -> list[dict[str, Any]]:
        """Rows without the designs: id, parent, digest, outcome, reason, metrics."""
        query = sa.select(*(column for column in CANDIDATE.c if column.name != "arch"))
        if scored_only:
            query = query.where(CANDIDATE.c.outcome == "scored")
        with reading(self.path, self._database.unreadable):
            return [checked(row) for row in self._pages(query)]

    def outcomes(self) -> dict[str, int]:
        """Number of candidates by outcome."""
        query = sa.select(CANDIDATE.c.outcome, sa.func.count().label("n")).group_by(CANDIDATE.c.outcome)
        return {row["outcome"]: row["n"] for row in self.rows(query)}

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        """Events of these kinds, or all, oldest first: {"time", "kind", **payload}."""
        query = sa.select(EVENT).order_by(EVENT.c.seq)
        if kinds:
            query = query.where(EVENT.c.kind.in_(kinds))
        with reading(self.path, self._database.unreadable):
            rows = self._rows(query)
            return [{"time": row["time"], "kind": row["kind"], **json.loads(row["payload"])} for row in rows]

    def close(self) -> None:
        """Commit and release the file."""
        try:
            if self._database.writable:
                self.commit()
                self._settle()
            self._connection.close()
        finally:
            self._elsewhere.close()
            self._database.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
