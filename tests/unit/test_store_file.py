"""What only a run in a file has: damage, full disks, folders that cannot be written, file locks."""

import errno
import os
import resource
import sqlite3
import subprocess
import sys

import pytest

from nas.records import Candidate, Failure, Success
from nas.run import Run
from nas.store import FILE_NAME, RunFileError, RunStore
from search_spaces.arch import Architecture, Block

ARCH = Architecture((Block("conv", 8),))
OTHER = Architecture((Block("conv", 16),))
RESULTS = [Success(Candidate(i, ARCH if i % 2 else OTHER), {"score": 0.5 * i, "macs": 9 - i}) for i in range(5)]
RESULTS += [Failure(Candidate(5, ARCH, 0), "duplicate", "same design as candidate 1")]
RESULTS += [Failure(Candidate(6, OTHER, 1), "rejected", "params is 3 % over 9", 0.03)]


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


def environment():
    return os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


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


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE candidate SET arch = x'00' WHERE id = 3",
        "UPDATE candidate SET arch = (SELECT arch FROM candidate WHERE id = 2) WHERE id = 3",  # a design of another
        "UPDATE candidate SET arch = substr(arch, 1, length(arch) - 1) WHERE id = 3",
        "UPDATE candidate SET digest = x'00' WHERE id = 3",
        "UPDATE fact SET value = '\"other\"' WHERE name = 'design_dictionary'",
        "DELETE FROM fact WHERE name = 'design_dictionary'",
    ],
)
def test_a_damaged_design_is_never_taken_for_another(filled, damage):
    alter(filled, damage)

    def read():
        with RunStore.open(filled) as store:
            store.result(3)

    with pytest.raises(RunFileError, match="damaged or not a run file") as caught:
        read()
    assert one_line(caught, "cannot be read")


def test_a_file_system_without_locks_is_one_line(path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    with pytest.raises(RunFileError, match="has no locks") as caught:
        RunStore.create(path, {})
    assert one_line(caught, "--out", "--store postgresql://")
    assert not path.exists()


def test_a_writer_whose_lock_was_taken_away_is_told(filled):
    """Two writers, as on a file system whose locks hold only within one machine: the second to write one row stops."""
    with RunStore.open(filled, writable=True) as first:
        filled.with_name(f"{FILE_NAME}.lock").unlink()
        with RunStore.open(filled, writable=True) as second:
            for store in (first, second):
                store.append([Failure(Candidate(7, ARCH), "error", "first")])
                store.commit()  # the second finds it there: it has written nothing yet
            second.append([Failure(Candidate(8, ARCH), "error", "second")])
            second.commit()
            first.append([Failure(Candidate(8, ARCH), "error", "first")])
            with pytest.raises(RunFileError, match="another process has written to it meanwhile") as caught:
                first.commit()
            assert one_line(caught, "netwright resume")
            first._pending.clear()
    with RunStore.open(filled) as store:
        assert [result.candidate.id for result in store.results()] == list(range(9))
        assert store.result(8).message == "second"
