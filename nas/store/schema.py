"""The tables of a run: in an SQLite file, or in a PostgreSQL schema of the run's own."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from nas.records import COUNTS, METRICS

SCHEMA_VERSION = 2
FILE_NAME = "run.sqlite"


class Packed(sa.LargeBinary):
    """Bytes, read as they are stored: version 1 had text in their place, which ``nas.store.packing`` reads too."""

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Any:
        """None: no conversion."""


_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite's row number is spelt INTEGER
METADATA = sa.MetaData()
FACT = sa.Table(  # what the run is: configuration, device table, schema version, dictionary of the packed designs
    "fact",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
CANDIDATE = sa.Table(  # one row per candidate, in the order of the search
    "candidate",
    METADATA,
    sa.Column("id", _ID, primary_key=True, autoincrement=False),
    sa.Column("digest", Packed, nullable=False),
    sa.Column("parent", _ID),
    sa.Column("arch", Packed, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),  # "scored" or the kind of failure
    sa.Column("reason", sa.Text),
    sa.Column("violation", sa.Float),
    *(sa.Column(name, _ID if name in COUNTS else sa.Float) for name in METRICS),
)
EVENT = sa.Table(  # what happened after the search: measured, trained, exported, verified
    "event",
    METADATA,
    sa.Column("seq", _ID, primary_key=True, autoincrement=False),
    sa.Column("time", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False, index=True),
    sa.Column("payload", sa.Text, nullable=False),
)
