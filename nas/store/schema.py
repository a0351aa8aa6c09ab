"""The tables of a run file."""

from __future__ import annotations

import sqlalchemy as sa

from nas.records import COUNTS, METRICS

SCHEMA_VERSION = 1
FILE_NAME = "run.sqlite"

METADATA = sa.MetaData()
FACT = sa.Table(  # what the run is: configuration, device table, schema version
    "fact",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
CANDIDATE = sa.Table(  # one row per candidate, in the order of the search
    "candidate",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("digest", sa.Text, nullable=False, index=True),
    sa.Column("parent", sa.Integer),
    sa.Column("arch", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),  # "scored" or the kind of failure
    sa.Column("reason", sa.Text),
    sa.Column("violation", sa.Float),
    *(sa.Column(name, sa.Integer if name in COUNTS else sa.Float) for name in METRICS),
)
EVENT = sa.Table(  # what happened after the search: measured, trained, exported, verified
    "event",
    METADATA,
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("time", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False, index=True),
    sa.Column("payload", sa.Text, nullable=False),
)
