"""How tables of an older schema become today's: one step a version, in order, all in one transaction."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import sqlalchemy as sa

from nas.store.packing import DICTIONARY, Packer, dictionary_of
from nas.store.schema import SCHEMA_VERSION
from search_spaces.arch import Architecture

WRITTEN_BY = "written_by"  # fact: the release that made the tables
_ROWS = 2_000  # migrated at once


def release() -> str:
    """The version of this package."""
    try:
        return version("netwright")
    except PackageNotFoundError:  # run from a folder that is not installed
        return "0"


def refusal(found: Any, written_by: str | None) -> str | None:
    """Why tables of a schema version cannot be read, and what to do; None where they can."""
    if isinstance(found, int) and not isinstance(found, bool) and 1 <= found <= SCHEMA_VERSION:
        return None
    if isinstance(found, int) and found > SCHEMA_VERSION:
        wanted = f"'netwright>={written_by}'" if written_by else "--upgrade netwright"
        return (
            f"schema version {found}, made by {f'release {written_by}' if written_by else 'a later release'}; this one "
            f"({release()}) reads up to {SCHEMA_VERSION}: pip install {wanted}"
        )
    return f"schema version {found}, expected 1 to {SCHEMA_VERSION}; it is damaged or not a run file"


def migrate(connection: sa.Connection, found: int) -> None:
    """Bring the tables to today's version inside the connection's transaction."""
    for old in range(found, SCHEMA_VERSION):
        MIGRATIONS[old](connection)
    for name, value in (("schema_version", SCHEMA_VERSION), (WRITTEN_BY, release())):
        set_fact(connection, name, value)


def set_fact(connection: sa.Connection, name: str, value: Any) -> None:
    """Write a fact, whether it is there or not."""
    connection.execute(sa.text("DELETE FROM fact WHERE name = :name"), {"name": name})
    connection.execute(
        sa.text("INSERT INTO fact (name, value) VALUES (:name, :value)"), {"name": name, "value": json.dumps(value)}
    )


def _pack_designs(connection: sa.Connection) -> None:
    """Version 1 (an SQLite file) kept designs and digests as text, and an index that nothing used."""
    connection.execute(sa.text("DROP INDEX IF EXISTS ix_candidate_digest"))
    packer: Packer | None = None
    for rows in _designs(connection):
        archs = {row.id: Architecture.from_json(row.arch) for row in rows}
        if packer is None:
            dictionary = dictionary_of(archs.values())
            set_fact(connection, DICTIONARY, dictionary)
            packer = Packer(dictionary)
        connection.execute(
            sa.text("UPDATE candidate SET arch = :arch, digest = :digest WHERE id = :id"),
            [
                {"id": i, "arch": packer.pack(arch.to_json()), "digest": bytes.fromhex(arch.digest)}
                for i, arch in archs.items()
            ],
        )


def _designs(connection: sa.Connection) -> Iterator[list[Any]]:
    query = sa.text("SELECT id, arch FROM candidate WHERE id > :last ORDER BY id LIMIT :rows")
    last = -1
    while rows := list(connection.execute(query, {"last": last, "rows": _ROWS})):
        yield rows
        last = rows[-1].id


MIGRATIONS: Mapping[int, Callable[[sa.Connection], None]] = {1: _pack_designs}  # from this version to the next
