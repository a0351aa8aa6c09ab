"""Run files of other schema versions: older ones are read as they are and migrated by their writer, newer refused."""

import json
import sqlite3
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import sqlalchemy as sa

from nas.records import COUNTS, METRICS, Candidate, Failure, Success
from nas.run import Run
from nas.store import FILE_NAME, SCHEMA_VERSION, RunFileError, RunStore
from nas.store import migrations as steps
from nas.store.schema import METADATA
from search_spaces import SPACES

# What release 0.1.0 wrote, statement by statement.
VERSION_1 = """
PRAGMA journal_mode=WAL;
CREATE TABLE fact (name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (name));
CREATE TABLE candidate (
    id INTEGER NOT NULL, digest TEXT NOT NULL, parent INTEGER, arch TEXT NOT NULL, outcome TEXT NOT NULL, reason TEXT,
    violation FLOAT, score FLOAT, latency_ms FLOAT, latency_upper_ms FLOAT, params INTEGER, macs INTEGER, depth INTEGER,
    convs INTEGER, peak_memory_bytes INTEGER, PRIMARY KEY (id)
);
CREATE INDEX ix_candidate_digest ON candidate (digest);
CREATE TABLE event (
    seq INTEGER NOT NULL, time TEXT NOT NULL, kind TEXT NOT NULL, payload TEXT NOT NULL, PRIMARY KEY (seq)
);
CREATE INDEX ix_event_kind ON event (kind);
"""
# The tables of version 2. Whoever changes them raises SCHEMA_VERSION, adds a step to nas/store/migrations.py and a
# golden file like the one above to this test.
VERSION_2 = {
    "fact": ["name TEXT", "value TEXT"],
    "candidate": [
        "id INTEGER", "digest BLOB", "parent INTEGER", "arch BLOB", "outcome TEXT", "reason TEXT", "violation FLOAT",
        "score FLOAT", "latency_ms FLOAT", "latency_upper_ms FLOAT", "params INTEGER", "macs INTEGER", "depth INTEGER",
        "convs INTEGER", "peak_memory_bytes INTEGER",
    ],
    "event": ["seq INTEGER", "time TEXT", "kind TEXT", "payload TEXT"],
}  # fmt: skip
COSTS = {"params": 10, "macs": 2**40, "depth": 3, "convs": 3, "peak_memory_bytes": 7}


def results(count=30):
    rng = np.random.default_rng(1)
    archs = [SPACES["zen-tiny"].sample(rng) for _ in range(count)]
    found = [Success(Candidate(i, a, None, {}), {**COSTS, "score": i / 3}) for i, a in enumerate(archs)]
    found = [replace(each, candidate=replace(each.candidate, metrics=each.metrics)) for each in found]
    found[3] = Failure(Candidate(3, archs[0], 1), "duplicate", "same design as candidate 0")
    found[4] = Failure(Candidate(4, archs[4], 1, COSTS), "rejected", "params is 3 % over 9", 0.03)
    return found


def write_version_1(path, version=1):
    path.parent.mkdir(exist_ok=True)
    connection = sqlite3.connect(path)
    connection.executescript(VERSION_1)
    with connection:
        facts = {"schema_version": version, "config": {"seed": 3}}
        connection.executemany("INSERT INTO fact VALUES (?, ?)", [(n, json.dumps(v)) for n, v in facts.items()])
        for result in results():
            candidate, failed = result.candidate, isinstance(result, Failure)
            metrics = candidate.metrics if failed else result.metrics
            kind, reason = (result.kind, result.message) if failed else ("scored", None)
            violation = result.violation if failed and result.violation < float("inf") else None
            row = [candidate.id, candidate.arch.digest, candidate.parent, candidate.arch.to_json(), kind, reason]
            row += [violation, *(metrics.get(name) for name in METRICS)]
            connection.execute(f"INSERT INTO candidate VALUES ({','.join('?' * len(row))})", row)
        connection.execute("INSERT INTO event VALUES (1, '2026-01-01T00:00:00', 'measured', '{\"id\": 2}')")
    connection.close()
    return path


@pytest.fixture
def old(tmp_path):
    return write_version_1(tmp_path / "run" / FILE_NAME)


def everything(store):
    return list(store.results()), store.table(scored_only=False), store.events(), store.fact("config")


def test_an_old_file_is_read_as_it_is(old):
    before = old.read_bytes()
    with Run.open(old) as run:
        assert list(run.store.results()) == results()
        assert run.store.result(4) == results()[4]
        assert run.candidates()["digest"].tolist() == [
            r.candidate.arch.digest for r in results() if r.candidate.id not in (3, 4)
        ]
        assert run.events("measured")[0]["id"] == 2
        assert run.store.fact("schema_version") == 1
    assert old.read_bytes() == before


def test_its_writer_migrates_it_once(old):
    with RunStore.open(old) as store:
        before = everything(store)
    with RunStore.open(old, writable=True) as store:
        assert store.fact("schema_version") == SCHEMA_VERSION
        assert everything(store) == before
        store.append([replace(results()[0], candidate=replace(results()[0].candidate, id=30))])
        store.record("measured", {"id": 9})
    with RunStore.open(old, writable=True) as store:
        assert list(store.results())[:30] == before[0]
        assert store.result(30).candidate.arch == before[0][0].candidate.arch
        assert [event["id"] for event in store.events("measured")] == [2, 9]
        assert store.rows(sa.select(sa.text("count(*) AS n FROM candidate WHERE typeof(arch) <> 'blob'")))[0]["n"] == 0


def test_an_old_run_without_candidates_is_migrated(tmp_path):
    path = write_version_1(tmp_path / "run" / FILE_NAME)
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("DELETE FROM candidate")
    connection.close()
    with RunStore.open(path, writable=True) as store:
        store.append(results())
    with RunStore.open(path) as store:
        assert list(store.results()) == results()


KILL = """
import os, sys
from pathlib import Path
import nas.store.migrations as steps
from nas.store import RunStore
usual = steps.set_fact
def killed(connection, name, value):
    usual(connection, name, value)
    if name == sys.argv[2]:
        os._exit(9)
steps.set_fact = killed
RunStore.open(Path(sys.argv[1]), writable=True)
"""


@pytest.mark.parametrize("moment", ["design_dictionary", "schema_version", "written_by"])
def test_a_kill_in_the_middle_leaves_the_old_file(old, moment):
    done = subprocess.run([sys.executable, "-c", KILL, str(old), moment], check=False)
    assert done.returncode == 9
    with RunStore.open(old) as store:
        assert store.fact("schema_version") == 1
        assert list(store.results()) == results()
    with RunStore.open(old, writable=True) as store:
        assert store.fact("schema_version") == SCHEMA_VERSION
        assert list(store.results()) == results()


def test_a_step_that_fails_changes_nothing(old):
    connection = sqlite3.connect(old)
    with connection:
        connection.execute("UPDATE candidate SET arch = '{}' WHERE id = 20")
    connection.close()
    for _ in range(2):
        with pytest.raises(RunFileError, match=r"cannot be read .*damaged") as caught:
            RunStore.open(old, writable=True)
        assert len(str(caught.value).splitlines()) == 1
    with RunStore.open(old) as store:
        assert store.fact("schema_version") == 1
        assert store.result(19) == results()[19]


def change(path, version, written_by):
    connection = sqlite3.connect(path)
    with connection:
        for name, value in (("schema_version", version), ("written_by", written_by)):
            connection.execute("DELETE FROM fact WHERE name = ?", (name,))
            if value is not None:
                connection.execute("INSERT INTO fact VALUES (?, ?)", (name, json.dumps(value)))
    connection.close()


@pytest.mark.parametrize("writable", [False, True])
@pytest.mark.parametrize(
    ("version", "written_by", "said"),
    [
        (SCHEMA_VERSION + 1, "7.8.9", "pip install 'netwright>=7.8.9'"),
        (SCHEMA_VERSION + 1, None, "made by a later release; .* pip install --upgrade netwright"),
        (0, None, "expected 1 to 2; it is damaged"),
        (True, None, "expected 1 to 2; it is damaged"),
        ("2", None, "expected 1 to 2; it is damaged"),
        (None, None, "schema version None, expected 1 to 2"),
    ],
)
def test_other_versions_are_refused_with_the_cure(old, version, written_by, said, writable):
    change(old, version, written_by)
    before = old.read_bytes()
    with pytest.raises(RunFileError, match=said) as caught:
        RunStore.open(old, writable=writable)
    assert len(str(caught.value).splitlines()) == 1
    assert old.read_bytes() == before


def test_there_is_a_step_from_every_version():
    assert list(steps.MIGRATIONS) == list(range(1, SCHEMA_VERSION))


def test_the_tables_are_those_of_their_version(tmp_path):
    dialect = sa.create_engine("sqlite://").dialect
    tables = {t.name: [f"{c.name} {c.type.compile(dialect)}" for c in t.c] for t in METADATA.sorted_tables}
    assert tables == VERSION_2
    assert SCHEMA_VERSION == 2
    assert set(COUNTS) <= set(METRICS)
