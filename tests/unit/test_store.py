import json
import math
import multiprocessing
import resource
import sqlite3
import subprocess
import sys

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import architectures

from nas.records import Candidate, Failure, Success
from nas.run import Run
from nas.store import FILE_NAME, SCHEMA_VERSION, RunFileError, RunStore
from search_spaces.arch import Architecture, Block

ARCH = Architecture((Block("conv", 8),))
COSTS = {"params": 10, "macs": 2**40, "depth": 3, "peak_memory_bytes": 7}
RESULTS = [
    Success(Candidate(0, ARCH, None, COSTS), {**COSTS, "score": 0.1 + 0.2}),
    Failure(Candidate(1, ARCH, 0, COSTS), "rejected", "params is 3 % over 9", 0.03),
    Failure(Candidate(2, ARCH, 0), "duplicate", "same design as candidate 0"),
    Failure(Candidate(3, ARCH, 1), "invalid", "kernel"),
    Failure(Candidate(4, ARCH, 1, COSTS), "error", "ValueError: ü \U0001f600", math.inf),
    Failure(Candidate(5, ARCH, None, {**COSTS, "latency_ms": 0.25, "latency_upper_ms": 0.3}), "crash", "killed"),
    Success(Candidate(6, ARCH, 0, COSTS), {**COSTS, "score": -1e-300, "latency_ms": 5e-324, "latency_upper_ms": 1e300}),
]


def told(result):
    """As it is read back: a success's candidate knows its score as well."""
    if isinstance(result, Failure):
        return result
    candidate = result.candidate
    return Success(Candidate(candidate.id, candidate.arch, candidate.parent, result.metrics), result.metrics)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / FILE_NAME


@pytest.fixture
def filled(path):
    with RunStore.create(path, {"config": {"seed": 1}}) as store:
        store.append(RESULTS)
    return path


def one_line(caught, *parts):
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    assert all(part in text for part in parts), text
    return True


def test_what_was_appended_is_read_back_exactly(filled):
    with RunStore.open(filled) as store:
        assert list(store.results()) == [told(result) for result in RESULTS]
        assert store.result(4) == RESULTS[4]
        assert store.outcomes() == {
            "scored": 2, "rejected": 1, "duplicate": 1, "invalid": 1, "error": 1, "crash": 1,
        }  # fmt: skip
        assert store.fact("config") == {"seed": 1}
        assert store.fact("schema_version") == SCHEMA_VERSION
        assert store.fact("nothing") is None


floats = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=30, deadline=None)
@given(arch=architectures(), score=floats, violation=floats | st.just(math.inf), message=st.text(max_size=20))
def test_any_result_survives(tmp_path_factory, arch, score, violation, message):
    path = tmp_path_factory.mktemp("any") / FILE_NAME
    results = [
        Success(Candidate(0, arch, None, {"score": score}), {"score": score}),
        Failure(Candidate(1, arch, 0), "rejected", message, violation),
    ]
    with RunStore.create(path, {}) as store:
        store.append(results)
    with RunStore.open(path) as store:
        assert list(store.results()) == results


def test_rows_become_visible_with_the_commit(path):
    with RunStore.create(path, {}) as store, RunStore.open(path) as reader:
        store.append(RESULTS[:2])
        assert list(reader.results()) == []
        store.commit()
        assert len(list(reader.results())) == 2
        store.record("measured", {"id": 3})
        assert [(event["kind"], event["id"]) for event in reader.events()] == [("measured", 3)]
        store.record("trained", {"top1": 0.5})
        assert [event["top1"] for event in reader.events("trained")] == [0.5]
        assert reader.events("nothing") == []


def test_a_table_leaves_the_designs_out(filled):
    with RunStore.open(filled) as store:
        rows, every = store.table(), store.table(scored_only=False)
    assert [row["id"] for row in rows] == [0, 6]
    assert [row["id"] for row in every] == list(range(7))
    assert "arch" not in rows[0]
    assert rows[0]["score"] == 0.1 + 0.2


def test_an_unknown_candidate_is_one_line(filled):
    with RunStore.open(filled) as store, pytest.raises(RunFileError, match="no candidate 99") as caught:
        store.result(99)
    assert one_line(caught)


def test_one_writer_at_a_time(filled):
    with RunStore.open(filled, writable=True):
        with pytest.raises(RunFileError, match="another process is writing") as caught:
            RunStore.open(filled, writable=True)
        assert one_line(caught)
        with RunStore.open(filled) as reader:
            assert len(list(reader.results())) == 7
    with RunStore.open(filled, writable=True) as store:  # released again
        assert len(list(store.results())) == 7


def test_a_second_run_does_not_overwrite_the_first(filled):
    with pytest.raises(RunFileError, match="netwright resume") as caught:
        RunStore.create(filled, {})
    assert one_line(caught)
    with RunStore.open(filled, writable=True) as store:
        assert len(list(store.results())) == 7


def test_facts_that_cannot_be_stored_leave_no_run(path):
    with pytest.raises(TypeError):
        RunStore.create(path, {"config": object()})
    assert not path.exists()
    with RunStore.create(path, {"config": 1}) as store:
        assert store.fact("config") == 1


@pytest.mark.parametrize("writable", [False, True])
@pytest.mark.parametrize("damage", ["text", "empty", "truncated", "foreign", "middle", "fact"])
def test_a_damaged_file_is_one_line(filled, damage, writable):
    content = filled.read_bytes()
    filled.unlink()
    if damage == "text":
        filled.write_text("this is not a database, but it is long enough to be looked at" * 20)
    elif damage == "empty":
        filled.touch()
    elif damage == "truncated":
        filled.write_bytes(content[: len(content) // 2])
    elif damage == "middle":
        filled.write_bytes(content[:1024] + b"\xff" * (len(content) - 1024))
    elif damage == "fact":
        filled.write_bytes(content)
        alter(filled, "UPDATE fact SET value = '{' WHERE name = 'schema_version'")
    else:
        alter(filled, "CREATE TABLE dog (name TEXT)")

    def read():
        with RunStore.open(filled, writable=writable) as store:
            list(store.results())
            store.table()

    with pytest.raises(RunFileError) as caught:
        read()
    assert one_line(caught, str(filled), "cannot be read", "not a run file")
    filled.write_bytes(content)  # the failed attempt holds no lock
    with RunStore.open(filled, writable=True):
        pass


def alter(path, sql):
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(sql)
    connection.close()


@pytest.mark.parametrize("version", [0, 2, None])
def test_another_schema_version_is_refused(filled, version):
    if version is None:
        alter(filled, "DELETE FROM fact WHERE name = 'schema_version'")
    else:
        alter(filled, f"UPDATE fact SET value = '{version}' WHERE name = 'schema_version'")
    with pytest.raises(RunFileError, match=f"schema version {version}, this release reads 1") as caught:
        RunStore.open(filled, writable=True)
    assert one_line(caught)


def test_a_missing_file_is_one_line(tmp_path):
    for open_it in (RunStore.open, Run.open):
        with pytest.raises(RunFileError, match="netwright search --out") as caught:
            open_it(tmp_path / "nowhere" / FILE_NAME)
        assert one_line(caught)


@pytest.mark.parametrize("place", ["a_file/run.sqlite", "/proc/nowhere/run.sqlite"])
def test_a_place_that_cannot_be_written_is_one_line(tmp_path, place):
    (tmp_path / "a_file").touch()
    with pytest.raises(RunFileError, match="cannot be written") as caught:
        RunStore.create(tmp_path / place, {})
    assert one_line(caught)


FULL = """
import resource, sys
from pathlib import Path
from nas.records import Candidate, Failure
from nas.store import RunFileError, RunStore
from search_spaces.arch import Architecture, Block

store = RunStore.create(Path(sys.argv[1]), {})
arch = Architecture(tuple(Block("conv", 8 + i) for i in range(40)))
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
stored = 0
try:
    with store:
        while stored < 10_000:
            store.append([Failure(Candidate(stored, arch), "error", "x" * 100)])
            store.commit()
            stored += 1
except RunFileError as error:
    print(stored, error, sep="\\n")
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="no limit on file sizes here")
def test_a_full_disk_is_one_line_and_keeps_what_was_committed(path):
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, check=False, env=environment()
    )
    assert done.returncode == 0, done.stderr
    stored, message = done.stdout.splitlines()
    assert "cannot be written" in message
    with RunStore.open(path) as store:
        assert len(list(store.results())) == int(stored) > 10


def environment():
    import os

    return os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


def write_slowly(path, started, enough):
    with RunStore.open(path, writable=True) as store:
        for i in range(7, 10_000):
            store.append([Failure(Candidate(i, ARCH), "error", "x")])
            store.commit()
            started.set()
            if enough.is_set():
                return


def test_it_is_read_while_another_process_writes(filled):
    context = multiprocessing.get_context("spawn")
    started, enough = context.Event(), context.Event()
    writer = context.Process(target=write_slowly, args=(filled, started, enough))
    writer.start()
    try:
        assert started.wait(60)
        seen = []
        with RunStore.open(filled) as store:
            for _ in range(20):
                ids = [result.candidate.id for result in store.results()]
                assert ids == list(range(len(ids)))  # always a prefix
                seen.append(len(ids))
    finally:
        enough.set()
        writer.join(60)
    assert writer.exitcode == 0
    assert seen == sorted(seen)
    assert seen[-1] > 7


def test_a_folder_of_a_killed_writer_is_read_without_writing(filled):
    script = (
        "import os, sys; from pathlib import Path; from nas.store import RunStore\n"
        "store = RunStore.open(Path(sys.argv[1]), writable=True); store.record('measured', {'id': 1}); os._exit(9)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(filled)], check=False, env=environment())
    assert done.returncode == 9
    with RunStore.open(filled) as store:
        assert len(store.events("measured")) == 1
        assert len(list(store.results())) == 7


DAMAGES = (
    "UPDATE fact SET value = CAST(x'ff22fe' AS TEXT)",
    "UPDATE event SET payload = CAST(x'22ff22' AS TEXT)",
    "UPDATE event SET payload = '5'",
    "UPDATE candidate SET arch = CAST(x'7bff7d' AS TEXT)",
    "UPDATE candidate SET arch = '[]'",
    """UPDATE candidate SET arch = '{"version": 1, "blocks": [{"kind": "conv"}]}'""",
    "UPDATE candidate SET reason = CAST(x'ff' AS TEXT), outcome = CAST(x'ff' AS TEXT)",
)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_values_are_one_line(filled, damage):
    with RunStore.open(filled, writable=True) as store:
        store.record("measured", {"id": 1})
    connection = sqlite3.connect(filled)
    with connection:
        connection.execute(damage)
    connection.close()

    def read_all():
        with RunStore.open(filled) as store:
            store.fact("config")
            store.outcomes()
            store.table(scored_only=False)
            store.events()
            for i in range(7):
                store.result(i)

    def read_results():
        with RunStore.open(filled) as store:
            list(store.results())
            store.events()

    for read in (read_all, read_results):
        with pytest.raises(RunFileError, match="damaged or not a run file") as caught:
            read()
        assert one_line(caught, "cannot be read")


def test_facts_are_json(filled):
    connection = sqlite3.connect(filled)
    ((value,),) = connection.execute("SELECT value FROM fact WHERE name = 'config'").fetchall()
    connection.close()
    assert json.loads(value) == {"seed": 1}


@pytest.mark.parametrize("use", [RunStore.events, RunStore.outcomes, lambda store: store.record("x", {})])
def test_an_interrupt_inside_a_statement_leaves_a_store_that_closes(tmp_path, use):
    path = tmp_path / FILE_NAME

    def interrupt(*_):
        raise KeyboardInterrupt

    def interrupted():
        with RunStore.create(path, {}) as store:
            store.append(RESULTS[:1])
            store.commit()
            store.append(RESULTS[1:2])
            sa.event.listen(store._engine, "before_cursor_execute", interrupt, once=True)
            use(store)

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with RunStore.open(path) as store:
        assert [result.candidate.id for result in store.results()] == [0, 1]
        assert store.events() == []


def test_an_interrupt_inside_a_commit_leaves_a_store_that_closes(tmp_path):
    path = tmp_path / FILE_NAME

    def interrupt(*_):
        raise KeyboardInterrupt

    def interrupted():
        with RunStore.create(path, {}) as store:
            store.append(RESULTS[:1])
            store.commit()
            store.append(RESULTS[1:2])
            sa.event.listen(store._engine, "commit", interrupt, once=True)
            store.commit()

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with RunStore.open(path, writable=True) as store:
        assert [result.candidate.id for result in store.results()][:1] == [0]
        store.append(RESULTS[2:3])
        store.commit()
    with RunStore.open(path) as store:
        assert [result.candidate.id for result in store.results()][-1] == 2
