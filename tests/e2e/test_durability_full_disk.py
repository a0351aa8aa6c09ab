"""A disk that fills up at any moment of the job: one line, nothing committed is lost, the same end with room again."""

import os
import random
import shutil
import sqlite3

import pytest
from commands import CommandServer
from kill_points import JOB, PREDICTED, KillPoints, ending
from small_disk import SmallDisk, missing
from thinning import thinned

from nas.run import WINNER, Run
from nas.store import FILE_NAME, RunFileError, RunStore, find_run

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))
ROOM = 20_000  # kilobytes that suffice
NEEDED = 2_800  # and those that do not, for the whole job


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("full")


@pytest.fixture(scope="module")
def jobs(place):
    with CommandServer(place) as server:
        yield KillPoints(server, place)


def start(jobs, run):
    if find_run(run) is None:
        return jobs.server.run("search", *JOB, "--quiet", "--out", run, cwd=jobs.folder)
    return jobs.server.run("resume", run, "--quiet", "--json", cwd=jobs.folder)


def refused(ended, run):
    """One line that names the place, and one how to go on where there is something to go on with."""
    assert ended.code == 2, ended.err
    assert "Traceback" not in ended.err
    *hint, line = ended.err.strip().splitlines()
    assert line.startswith("netwright: ")
    assert str(run) in line
    assert any(part in line for part in ("full", "No space left on device", "disk I/O error")), line
    assert hint in ([], [f"go on with: netwright resume {run}"]), ended.err
    return True


def rows(run):
    """Committed candidates; readable even now, unless SQLite has no room for the file that readers share."""
    if find_run(run) is None:
        return []
    try:
        with RunStore.open(find_run(run)) as store:
            return list(store.results())
    except RunFileError as error:
        said = str(error)
    assert "free space" in said
    return []


def fill_and_go_on(jobs, disk, run):
    """Run into the full disk, make room, go on; says how many candidates there were."""
    ended = start(jobs, run)
    if ended.code == PREDICTED:
        return None  # it was large enough
    assert refused(ended, run)
    stored = rows(run)
    assert stored == jobs.untouched.rows[: len(stored)]
    disk.resize(ROOM)
    ended = start(jobs, run)
    assert ended.code == PREDICTED, ended.err
    assert ending(run, ended.json()) == jobs.untouched
    return len(stored)


@pytest.mark.parametrize("kilobytes", thinned([40, 120], 2))
def test_a_disk_that_fills_up_in_the_search(jobs, place, kilobytes):
    with SmallDisk(place / "disk", kilobytes) as disk:
        assert fill_and_go_on(jobs, disk, place / "disk" / "run") is not None


@pytest.mark.parametrize("kilobytes", [300])
def test_a_disk_that_fills_up_while_a_checkpoint_is_written(jobs, place, kilobytes):
    with SmallDisk(place / "disk", kilobytes) as disk:
        run = place / "disk" / "run"
        assert fill_and_go_on(jobs, disk, run) == 400
        assert not [path for path in (run / "work").rglob(".*")]  # no draft stays


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_a_disk_that_fills_up_at_any_moment_and_again(jobs, place, seed):
    rng = random.Random(seed)
    with SmallDisk(place / "disk", rng.randrange(16, NEEDED)) as disk:
        run, stored = place / "disk" / "run", 0
        ended = start(jobs, run)
        while ended.code != PREDICTED:
            assert refused(ended, run)
            there = rows(run)
            assert there == jobs.untouched.rows[: len(there)]
            assert len(there) >= stored or there == []
            stored = max(stored, len(there))
            disk.resize(disk.used_kilobytes + rng.randrange(16, 900))
            ended = start(jobs, run)
        assert ending(run, ended.json()) == jobs.untouched


def before_delivery(jobs, run):
    """A run as it is after the training, before anything is exported."""
    shutil.copytree(jobs.folder / "untouched", run, ignore=shutil.ignore_patterns(WINNER, "report.html", "*.lock"))
    connection = sqlite3.connect(run / FILE_NAME)
    with connection:
        connection.execute("DELETE FROM event WHERE kind IN ('verified', 'finished')")
    connection.close()


@pytest.mark.parametrize(
    "kilobytes", [200, *(pytest.param(n, marks=pytest.mark.slow) for n in (16, 60, 120, 300, 400, 480, 520, 560))]
)
def test_a_disk_that_fills_up_in_the_export_or_the_report(jobs, place, kilobytes):
    with SmallDisk(place / "disk", ROOM) as disk:
        run = place / "disk" / "run"
        before_delivery(jobs, run)
        disk.resize(disk.used_kilobytes + kilobytes)
        fill_and_go_on(jobs, disk, run)
        assert sorted(path.name for path in run.iterdir() if path.name.startswith(".")) == []


def test_an_archived_run_is_read_from_a_read_only_disk(jobs, place):
    with SmallDisk(place / "disk", ROOM) as disk:
        os.mkdir(run := place / "disk" / "run")
        shutil.copy(jobs.folder / "untouched" / FILE_NAME, run)
        disk.make_read_only()
        with Run.open(run) as opened:
            assert list(opened.store.results()) == jobs.untouched.rows
        ended = jobs.server.run("resume", run, cwd=jobs.folder)
        assert ended.code == 2
        assert "cannot be written (Read-only file system)" in ended.err.splitlines()[-1]
