"""What a store promises, whether the run is in a file or on a PostgreSQL server."""

import json
import math
import multiprocessing
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from postgresql_server import PASSWORD, PostgresServer, missing
from strategies import architectures

from nas.records import Candidate, Failure, Success
from nas.run import Run
from nas.store import FILE_NAME, SCHEMA_VERSION, RunFileError, RunStore, find_run
from nas.store.schema import CANDIDATE
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
BACK_ENDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)]


def told(result):
    """As it is read back: a success's candidate knows its score as well."""
    if isinstance(result, Failure):
        return result
    candidate = result.candidate
    return Success(Candidate(candidate.id, candidate.arch, candidate.parent, result.metrics), result.metrics)


@pytest.fixture(scope="module", params=BACK_ENDS)
def url(request):
    """Of the server; None for files."""
    if request.param == "sqlite":
        yield None
        return
    if why := missing():
        pytest.skip(why)
    with PostgresServer() as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGPASSWORD", PASSWORD)
        yield server.url


@pytest.fixture
def create(tmp_path, url):
    """Makes the run of a test."""
    return lambda facts: RunStore.create(tmp_path / "run" / FILE_NAME, facts, url)


@pytest.fixture
def filled(create):
    with create({"config": {"seed": 1}}) as store:
        store.append(RESULTS)
    return store.path


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
NO_NUL = st.characters(exclude_categories=["Cs"], exclude_characters="\0")


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arch=architectures(), score=floats, violation=floats | st.just(math.inf), message=st.text(NO_NUL, max_size=20))
def test_any_result_survives(tmp_path_factory, url, arch, score, violation, message):
    results = [
        Success(Candidate(0, arch, None, {"score": score}), {"score": score}),
        Failure(Candidate(1, arch, 0), "rejected", message, violation),
    ]
    with RunStore.create(tmp_path_factory.mktemp("any") / FILE_NAME, {}, url) as store:
        store.append(results)
    with RunStore.open(store.path) as store:
        assert list(store.results()) == results


def test_a_nul_in_a_message_is_stored(create):
    with create({}) as store:
        store.append([Failure(Candidate(0, ARCH), "error", "a\0b")])
        store.record("note", {"text": "a\0b"})
        assert store.result(0).message in ("a\0b", "a␀b")
        assert store.events("note")[0]["text"] == "a\0b"


def test_rows_become_visible_with_the_commit(create):
    with create({}) as store, RunStore.open(store.path) as reader:
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
        asked = store.rows(sa.select(CANDIDATE.c.id).where(CANDIDATE.c.score.is_(None)).order_by(CANDIDATE.c.id))
    assert [row["id"] for row in rows] == [0, 6]
    assert [row["id"] for row in every] == list(range(7))
    assert [row["id"] for row in asked] == [1, 2, 3, 4, 5]
    assert "arch" not in rows[0]
    assert rows[0]["score"] == 0.1 + 0.2
    assert {row["digest"] for row in every} == {ARCH.digest}


def test_tables_longer_than_a_page_are_read_whole(create, monkeypatch):
    monkeypatch.setattr("nas.store.run_store.PAGE", 3)
    with create({}) as store:
        for part in (slice(0, 1), slice(1, 5), slice(5, 7)):
            store.append(RESULTS[part])
            store.commit()
        assert [result.candidate.id for result in store.results()] == list(range(7))
        assert [row["id"] for row in store.table()] == [0, 6]
        for at in (3, 6):
            results = store.results()
            assert [next(results).candidate.id for _ in range(at)] == list(range(at))


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


def test_a_second_run_does_not_overwrite_the_first(filled, create):
    with pytest.raises(RunFileError, match="netwright resume") as caught:
        create({})
    assert one_line(caught)
    with pytest.raises(RunFileError, match="exists already"):
        RunStore.create(filled.with_name(FILE_NAME), {})  # nor a file beside a run on a server
    with RunStore.open(filled, writable=True) as store:
        assert len(list(store.results())) == 7


def test_a_run_that_failed_whole_says_so(create):
    with create({}) as store:
        store.append([Failure(Candidate(0, ARCH), "error", "ZeroDivisionError")])
    with pytest.raises(RunFileError, match="none of its 1 evaluations gave a score") as caught:
        create({})
    assert one_line(caught)


def test_facts_that_cannot_be_stored_leave_no_run(create, tmp_path):
    with pytest.raises(TypeError):
        create({"config": object()})
    assert find_run(tmp_path / "run") is None
    with create({"config": 1}) as store:
        assert store.fact("config") == 1


def test_a_directory_is_as_good_as_its_run_file(filled):
    for path in (filled, filled.parent):
        with Run.open(path) as run:
            assert run.directory == filled.parent
            assert run.status()["candidates"] == 7


def environment():
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
            for _ in range(8):
                ids = [result.candidate.id for result in store.results()]
                assert ids == list(range(len(ids)))  # always a prefix
                seen.append(len(ids))
    finally:
        enough.set()
        writer.join(60)
    assert writer.exitcode == 0
    assert seen == sorted(seen)
    assert seen[-1] > 7


def test_readers_that_stand_still_in_the_middle_do_not_hold_the_writer(filled, monkeypatch):
    monkeypatch.setattr("nas.store.run_store.PAGE", 2)
    with ExitStack() as stack:
        readers = [stack.enter_context(RunStore.open(filled)) for _ in range(4)]
        halves = [reader.results() for reader in readers]
        assert [next(half).candidate.id for half in halves] == [0] * 4
        with RunStore.open(filled, writable=True) as store:
            for i in range(7, 40):
                store.append([Failure(Candidate(i, ARCH), "error", "x")])
                store.commit()
            store.record("searched", {"complete": True})
        assert [len(list(half)) for half in halves] == [39] * 4  # what came later is seen as well
        assert readers[0].events("searched")[0]["complete"] is True


KILLED = """
import os, sys
from pathlib import Path
from nas.store import RunStore
store = RunStore.open(Path(sys.argv[1]), writable=True)
store.record('measured', {'id': 1})
os._exit(9)
"""


def test_a_run_of_a_killed_writer_is_read_and_written(filled):
    done = subprocess.run([sys.executable, "-c", KILLED, str(filled)], check=False, env=environment())
    assert done.returncode == 9
    with RunStore.open(filled) as store:
        assert len(store.events("measured")) == 1
        assert len(list(store.results())) == 7
    with RunStore.open(filled, writable=True) as store:
        store.record("measured", {"id": 2})
        assert [event["id"] for event in store.events()] == [1, 2]


def raw(store, query):
    return [tuple(row.values()) for row in store.rows(sa.select(sa.text(query)))]


def test_facts_are_json(filled):
    with RunStore.open(filled) as store:
        ((value,),) = raw(store, "value FROM fact WHERE name = 'config'")
    assert json.loads(value) == {"seed": 1}


@pytest.mark.parametrize("use", [RunStore.events, RunStore.outcomes, lambda store: store.record("x", {})])
def test_an_interrupt_inside_a_statement_leaves_a_store_that_closes(create, use):
    def interrupt(*_):
        raise KeyboardInterrupt

    def interrupted():
        with create({}) as store:
            paths.append(store.path)
            store.append(RESULTS[:1])
            store.commit()
            store.append(RESULTS[1:2])
            sa.event.listen(store._database.engine, "before_cursor_execute", interrupt, once=True)
            use(store)

    paths: list[Path] = []
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with RunStore.open(paths[0]) as store:
        assert [result.candidate.id for result in store.results()] == [0, 1]
        assert store.events() == []


@pytest.mark.parametrize("moment", ["commit", "rollback"])
def test_an_interrupt_inside_a_commit_loses_and_doubles_nothing(create, moment):
    """Before the commit, and after it, when the store does not know any more that it was done."""

    def interrupt(*_):
        raise KeyboardInterrupt

    def interrupted():
        with create({}) as store:
            paths.append(store.path)
            store.append(RESULTS[:1])
            store.commit()
            store.append(RESULTS[1:2])
            if moment == "commit":
                sa.event.listen(store._database.engine, "commit", interrupt, once=True)
            else:
                store._end = interrupt_once(store._end)
            store.commit()

    def interrupt_once(usual):
        calls = iter([interrupt])
        return lambda: next(calls, usual)()  # noqa: PLW0108 - the next one at each call

    paths: list[Path] = []
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with RunStore.open(paths[0], writable=True) as store:
        assert [result.candidate.id for result in store.results()] == [0, 1]
        store.append(RESULTS[2:3])
        store.commit()
    with RunStore.open(paths[0]) as store:
        assert [result.candidate.id for result in store.results()] == [0, 1, 2]
