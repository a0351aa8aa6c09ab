"""Rows written by a process of their own: the same table, whatever is killed, interrupted or full."""

import os
import pickle
import resource
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress

import numpy as np
import psutil
import pytest

from nas.records import Candidate, Failure, Success
from nas.store import FILE_NAME, RunFileError, RunStore, elsewhere, row_process
from nas.store.errors import CannotWrite
from search_spaces import SPACES

SPACE = SPACES["zen-tiny"]


def results(first, count):
    """Some of every kind, the same whoever makes them."""
    found = []
    for i in range(first, first + count):
        candidate = Candidate(i, SPACE.sample(np.random.default_rng(i)), None, {"params": i})
        if i % 3:
            found.append(Success(candidate, {"params": i, "score": i / 7}))
        else:
            found.append(Failure(candidate, "rejected", f"params is {i} % over", i / 100))
    return found


@pytest.fixture(autouse=True)
def from_the_first_row_on(monkeypatch):
    monkeypatch.setattr(elsewhere, "SPARE", 1)
    monkeypatch.setattr(elsewhere, "MANY_ROWS", 1)


@pytest.fixture
def store(tmp_path):
    """A new run whose first rows, and so its dictionary, are in the file."""
    with RunStore.create(tmp_path / FILE_NAME, {}) as store:
        store.append(results(0, 20))
        store.commit()
        yield store


def commit(store, first, count):
    store.append(results(first, count))
    store.commit()


def commit_and_record(store, first, count):
    commit(store, first, count)
    store.record("measured", {})


def children():
    """The processes that write rows for this one."""
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.Error):  # one of another test that has just ended
            if "row_writer" in " ".join(child.cmdline()):
                found.append(child)
    return found


def told(store):
    return [(row["id"], row["outcome"], row["score"], row["reason"]) for row in store.table(scored_only=False)]


def expected(count):
    rows = []
    for result in results(0, count):
        if isinstance(result, Success):
            rows.append((result.candidate.id, "scored", result.metrics["score"], None))
        else:
            rows.append((result.candidate.id, "rejected", None, result.message))
    return rows


def test_rows_and_designs_are_those_that_were_appended(store, tmp_path):
    for first in range(20, 220, 40):
        commit(store, first, 40)
    assert len(children()) == 1
    assert told(store) == expected(220)
    assert [result.candidate.arch for result in store.results()] == [each.candidate.arch for each in results(0, 220)]
    store.record("measured", {"of": 219})
    assert store.events() == [{"time": store.events()[0]["time"], "kind": "measured", "of": 219}]
    with RunStore.open(tmp_path / FILE_NAME) as reader:
        assert told(reader) == expected(220)
    store.close()
    assert children() == []


def test_few_rows_are_written_without_a_process(monkeypatch, tmp_path):
    monkeypatch.setattr(elsewhere, "MANY_ROWS", 41)
    with RunStore.create(tmp_path / FILE_NAME, {}) as store:
        for first in (0, 40, 80):
            commit(store, first, 40)
        assert children() == []
        commit(store, 120, 41)
        assert len(children()) == 1
        assert told(store) == expected(161)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_is_killed_loses_nothing(store, number):
    for first in range(20, 420, 40):
        commit(store, first, 40)
        if first == 180:
            os.kill(children()[0].pid, number)
    assert told(store) == expected(420)
    commit(store, 420, 40)  # goes on without it
    assert told(store) == expected(460)
    assert children() == []


def test_an_interrupt_within_a_message_loses_nothing_and_doubles_nothing(store, monkeypatch):
    commit(store, 20, 40)

    def cut(message, file, protocol):
        file.write(pickle.dumps(message, protocol)[:100])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pickle, "dump", cut)
        with pytest.raises(KeyboardInterrupt):
            commit(store, 60, 40)
    store.append(results(100, 5))
    store.commit()
    assert told(store) == expected(105)


def test_rows_reach_readers_soon_without_anything_else_happening(store, tmp_path):
    commit(store, 20, 40)
    with RunStore.open(tmp_path / FILE_NAME) as reader:
        for _ in range(100):
            if len(told(reader)) == 60:
                break
            time.sleep(0.1)
        assert told(reader) == expected(60)


DRIVER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_row_process import elsewhere, results
from nas.store import RunStore
elsewhere.SPARE = elsewhere.MANY_ROWS = 1
store = RunStore.open(Path(sys.argv[1]), writable=True)
first = len(store.table(scored_only=False))
while True:
    store.append(results(first, 50))
    store.commit()
    first += 50
    print(first, flush=True)
"""


@contextmanager
def driver(path, **options):
    """A process that adds rows until it is killed, once it has added some."""
    here = os.path.dirname(__file__)
    command = [sys.executable, "-c", DRIVER, str(path), here]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options) as process:
        try:
            for _ in range(4):
                assert process.stdout.readline()
            yield process
        finally:
            process.kill()


def test_a_driver_that_is_killed_leaves_a_prefix_and_no_process(store, tmp_path):
    store.close()
    path = tmp_path / FILE_NAME
    for _ in range(3):
        with driver(path) as process:
            (writer,) = psutil.Process(process.pid).children()
        with RunStore.open(path, writable=True) as again:  # waits for what the process is about
            found = told(again)
        assert not writer.is_running() or writer.status() == psutil.STATUS_ZOMBIE
        assert found == expected(len(found))
    assert len(found) > 200


def test_a_file_is_nobody_elses_while_the_process_lives(store, tmp_path):
    store.close()
    path = tmp_path / FILE_NAME
    with driver(path) as process:
        (writer,) = psutil.Process(process.pid).children()
        writer.suspend()
    try:
        with pytest.raises(RunFileError, match="another process is writing to it"):
            RunStore.open(path, writable=True)
    finally:
        writer.resume()
    with RunStore.open(path, writable=True) as again:
        assert told(again) == expected(len(told(again)))


def test_a_disk_that_is_full_is_told_by_the_driver_in_one_line(store, tmp_path):
    store.close()
    path = tmp_path / FILE_NAME
    limit = 300_000  # bytes of any file
    with driver(path, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))) as process:
        _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    last = said.strip().splitlines()[-1]
    assert last.startswith(f"{CannotWrite.__module__}.{CannotWrite.__name__}: run {path}: cannot be written")
    with RunStore.open(path) as again:
        found = told(again)
        assert found == expected(len(found))
        assert len(found) > 60


def test_a_process_that_cannot_be_started_is_gone_without(store, monkeypatch):
    def refused(*args, **options):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refused)
    for first in (20, 60, 100):
        commit(store, first, 40)
    monkeypatch.undo()
    assert told(store) == expected(140)
    assert children() == []


def test_an_interrupt_while_lost_rows_are_taken_back_leaves_no_gap(store, monkeypatch):
    commit(store, 20, 40)
    told(store)
    close = elsewhere.RowProcess.close

    def interrupted(process):
        close(process)
        raise KeyboardInterrupt

    os.kill(children()[0].pid, signal.SIGKILL)
    with monkeypatch.context() as patch:
        patch.setattr(elsewhere.RowProcess, "close", interrupted)
        with pytest.raises(KeyboardInterrupt):
            commit_and_record(store, 60, 40)  # the latter meets the end of the process at the latest
    commit(store, 100, 5)
    assert told(store) == expected(105)


def test_a_process_that_does_not_answer_is_killed(store, monkeypatch):
    commit(store, 20, 40)
    told(store)
    monkeypatch.setattr(row_process, "PATIENCE_S", 0.5)
    children()[0].suspend()
    commit(store, 60, 40)
    assert told(store) == expected(100)
    assert children() == []


def test_an_answer_that_an_interrupt_swallowed_is_not_waited_for_for_ever(store, monkeypatch):
    commit(store, 20, 40)
    monkeypatch.setattr(row_process, "PATIENCE_S", 0.5)
    read = os.read

    def swallowed(file, count):
        read(file, count)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "read", swallowed)
        with pytest.raises(KeyboardInterrupt):
            told(store)
    assert told(store) == expected(60)
