"""Where the tables of a run are: what the store needs to know of it."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import sqlalchemy as sa

from nas.store.row_process import RowProcess


class Database(Protocol):
    """An SQLite file or a schema on a PostgreSQL server, opened for reading or by its one writer."""

    path: Path  # the run file, or the file that points to the server: what messages name
    engine: sa.Engine
    writable: bool
    unreadable: str  # what a reader does about tables that cannot be read
    unwritable: str  # and a writer about tables that cannot be written
    patience_s: float  # how long to wait for a connection that was lost to come back

    def begin(self, connection: sa.Connection) -> None:
        """Start a transaction that also covers changes of the tables themselves."""

    def lost(self, error: BaseException) -> bool:
        """Whether the connection broke, so that a new one may do."""

    def storable(self, text: str) -> str:
        """The text without what a column cannot hold."""

    def row_process(self, dictionary: str) -> RowProcess | None:
        """A process that writes rows beside this one; None where there is none."""

    def release(self) -> None:
        """Close the connections; let another writer in."""
