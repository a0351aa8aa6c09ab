"""A run on a PostgreSQL server: one schema a run, one writer by an advisory lock, tables as in a run file."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from nas.store.errors import CannotConnect, RunFileError, reason_of
from nas.store.pointer import Pointer
from nas.store.schema import FACT, METADATA

PATIENCE_S = 60.0
_CONNECT_S = 10
_KEEPALIVES = {"idle": 20, "interval": 10, "count": 3}  # a vanished peer is noticed, and its lock free, within a minute
_HINTS = (  # what a server says, and what to do about it
    (
        r"Connection refused|could not translate host|No such file or directory|timeout expired",
        "is the server running?",
    ),
    (r"password|SCRAM", "give the password as PGPASSWORD or in ~/.pgpass"),
    (r'database ".*" does not exist', "make it with: createdb {database}"),
    (r"permission denied", "let the user make schemas: GRANT CREATE ON DATABASE {database} TO {user}"),
)


class PostgresRun:
    """A ``Database`` in a schema of its own."""

    patience_s = PATIENCE_S
    unreadable = "the run's tables are damaged or dropped, or this is another database"
    unwritable = "check the server, its permissions and its free space"

    def __init__(self, path: Path, pointer: Pointer, *, writable: bool) -> None:
        """A run that is there; connects with the first use.

        Args:
            path: of the file that points to it.
            pointer: what the file says.
            writable: take the lock of the one writer with every connection.
        Raises: CannotConnect: the driver is not installed.
        """
        self.path, self.writable, self._pointer = path, writable, pointer
        self._psycopg = driver()
        self.engine = sa.create_engine("postgresql+psycopg://", creator=self._connect, poolclass=sa.pool.StaticPool)

    @classmethod
    def create(cls, path: Path, pointer: Pointer, facts: dict[str, Any]) -> PostgresRun:
        """A new schema with its tables, there completely or not at all; raises CannotConnect, RunFileError."""
        run = cls(path, pointer, writable=True)
        try:
            with run.engine.begin() as connection:
                encoding = connection.exec_driver_sql("SHOW server_encoding").scalar()
                if encoding != "UTF8":
                    raise RunFileError(
                        f"run {path}: the database is in {encoding}, expected one in UTF8: createdb -E UTF8"
                    )
                connection.exec_driver_sql(f"CREATE SCHEMA {pointer.key}")
                METADATA.create_all(connection, checkfirst=False)
                rows = [{"name": name, "value": json.dumps(value)} for name, value in facts.items()]
                connection.execute(FACT.insert(), rows)
        except DBAPIError as error:
            run.release()
            raise RunFileError(f"run {path}: cannot be made on {pointer.url} ({run._explained(error)})") from None
        except BaseException:
            run.release()
            raise
        return run

    def begin(self, connection: sa.Connection) -> None:
        """Every transaction covers the tables as well."""

    def lost(self, error: BaseException) -> bool:
        """Whether the server or the way to it went away."""
        return isinstance(error, CannotConnect) or (isinstance(error, DBAPIError) and error.connection_invalidated)

    def storable(self, text: str) -> str:
        """PostgreSQL has no NUL in texts."""
        return text.replace("\0", "\N{SYMBOL FOR NULL}")

    def row_process(self, dictionary: str) -> None:
        """None: the lock of the one writer is a connection's own."""

    def drop(self) -> None:
        """Remove the schema, if it is there, and close; raises RunFileError."""
        try:
            with self.engine.begin() as connection:
                connection.exec_driver_sql(f"DROP SCHEMA IF EXISTS {self._pointer.key} CASCADE")
        except DBAPIError as error:
            raise RunFileError(f"run {self.path}: cannot be removed ({self._explained(error)})") from None
        finally:
            self.release()

    def release(self) -> None:
        """Close the connection, and with it the lock."""
        self.engine.dispose()

    def _connect(self) -> Any:
        url = sa.make_url(self._pointer.url)
        keepalives = {f"keepalives_{name}": value for name, value in _KEEPALIVES.items()}
        try:
            connection = self._psycopg.connect(
                url.set(drivername="postgresql").render_as_string(hide_password=False),
                connect_timeout=_CONNECT_S, application_name="netwright", client_encoding="utf8", autocommit=True,
                **keepalives,
            )  # fmt: skip
        except self._psycopg.Error as error:
            said = self._explained(error)
            raise CannotConnect(f"run {self.path}: no connection to {self._pointer.url} ({said})") from None
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: Any) -> None:
        for name, value in _KEEPALIVES.items():
            connection.execute(f"SET tcp_keepalives_{name} = {value}")
        connection.execute(f"SET search_path = {self._pointer.key}")
        if self.writable:
            self._lock(connection)
        else:
            connection.execute("SET default_transaction_read_only = on")
        connection.autocommit = False

    def _lock(self, connection: Any) -> None:
        number = int.from_bytes(hashlib.sha256(self._pointer.key.encode()).digest()[:8], signed=True)
        if not connection.execute("SELECT pg_try_advisory_lock(%s)", (number,)).fetchone()[0]:
            raise CannotConnect(f"run {self.path}: another process is writing to it; wait or stop that one")

    def _explained(self, error: Exception) -> str:
        """What the server says, on one line, and what to do about it."""
        text = str(getattr(error, "orig", None) or error)
        said = re.sub(r".*?(FATAL|ERROR|failed|error):\s+", "", reason_of(error)) or reason_of(error)
        url = sa.make_url(self._pointer.url)
        names = {"database": url.database or url.username or "DATABASE", "user": url.username or "USER"}
        hint = next((cure.format(**names) for pattern, cure in _HINTS if re.search(pattern, text)), None)
        return said if hint is None else f"{said}; {hint}"


def driver() -> ModuleType:
    """psycopg; raises CannotConnect when it is not installed."""
    try:
        import psycopg
    except ImportError as error:
        raise CannotConnect(
            f"store postgresql: its driver cannot be imported ({error}); pip install 'netwright[postgresql]'"
        ) from None
    return psycopg
