"""One batch of results and at most one event, written in one transaction, and twice without harm."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from nas.records import Result
from nas.store.packing import DICTIONARY, Packer, dictionary_of
from nas.store.rows import COLUMNS, row_of
from nas.store.schema import CANDIDATE, EVENT, FACT

_MARKS = {"qmark": "?", "pyformat": "%s"}


@dataclass
class Batch:
    """What a transaction adds.

    Attributes:
        results: in candidate order.
        event: time, kind and payload; None for none.
        packer: of the designs; None until the run has a dictionary.
        last_event: number of the last event there; 0 before the first.
        last_result: id of the last candidate known to be there; -1 before the first.
        known: whether the last two were looked up for this batch before; events beyond are then its own.
    """

    results: Sequence[Result]
    event: dict[str, Any] | None
    packer: Packer | None
    last_event: int = 0
    last_result: int = -1
    known: bool = False

    @property
    def events_after(self) -> int:
        """Number of the last event once this is written."""
        return self.last_event + (self.event is not None)

    def look(self, connection: sa.Connection) -> None:
        """See what is there: a commit may have been done whose answer was lost."""
        last = connection.execute(sa.select(sa.func.max(EVENT.c.seq))).scalar() or 0
        if self.known and last > self.last_event:
            self.event = None
        self.last_event, self.known = last, True
        found = connection.execute(sa.select(sa.func.max(CANDIDATE.c.id))).scalar()
        self.last_result = -1 if found is None else found
        value = connection.execute(sa.select(FACT.c.value).where(FACT.c.name == DICTIONARY)).scalar()
        self.packer = None if value is None else Packer(json.loads(value))


def write_batch(connection: sa.Connection, batch: Batch, storable: Callable[[str], str]) -> None:
    """Insert what is not there yet; the first designs make the dictionary.

    Args:
        connection: in a transaction.
        batch: gets its packer, and the number of its event.
        storable: makes a text suit the database.
    """
    results = [result for result in batch.results if result.candidate.id > batch.last_result]
    if results:
        if batch.packer is None:
            dictionary = dictionary_of(result.candidate.arch for result in results)
            connection.execute(FACT.insert(), {"name": DICTIONARY, "value": json.dumps(dictionary)})
            batch.packer = Packer(dictionary)
        packer = batch.packer
        rows = [row_of(result, packer.pack, storable) for result in results]
        connection.exec_driver_sql(insertion(connection.dialect.paramstyle), rows)
    if batch.event is not None:
        connection.execute(EVENT.insert(), {"seq": batch.last_event + 1, **batch.event})


def insertion(style: str) -> str:
    """The statement for a row in plain SQL: SQLAlchemy's own costs three times what SQLite does."""
    marks = ", ".join([_MARKS[style]] * len(COLUMNS))
    return f"INSERT INTO {CANDIDATE.name} ({', '.join(COLUMNS)}) VALUES ({marks})"
