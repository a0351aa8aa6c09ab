"""The whole job killed at random moments, with its rows in a file or on a server; benchmarks/bench_kill.py has 200."""

import pytest
from commands import CommandServer
from kill_points import PREDICTED, KillPoints, rng_of
from postgresql_server import PASSWORD, PostgresServer, missing
from thinning import thinned

from nas.run import Run
from nas.store import POINTER_NAME, find_run


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    folder = tmp_path_factory.mktemp("points")
    with CommandServer(folder) as server:
        yield KillPoints(server, folder)


@pytest.mark.parametrize("number", thinned(range(13), 7))
def test_a_job_killed_at_random_ends_as_one_that_nobody_touched(points, number):
    found, moments, stages = points.point(f"run{number}", rng_of(number))
    assert found == points.untouched, f"killed after {moments} s at {stages}"


@pytest.fixture(scope="module")
def on_server(tmp_path_factory):
    if why := missing():
        pytest.skip(why)
    folder = tmp_path_factory.mktemp("points-on-a-server")
    with PostgresServer() as database, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGPASSWORD", PASSWORD)
        with CommandServer(folder) as server:
            points = KillPoints(server, folder, ("--store", database.url))
            points.database = database
            yield points


@pytest.mark.slow
def test_a_job_on_a_server_decides_the_same_as_one_in_a_file(points, on_server):
    assert on_server.untouched == points.untouched
    folder = on_server.folder / "untouched"
    assert find_run(folder).name == POINTER_NAME
    assert PASSWORD not in find_run(folder).read_text()
    with Run.open(folder) as run:
        assert run.config.store == on_server.database.url
        assert PASSWORD not in str(run.store.fact("config"))
    server = on_server.server
    for command in ("status", "pareto", "best", "report"):
        ended = server.run(command, "untouched", cwd=on_server.folder)
        assert ended.code == 0, ended.err
    again = server.run("resume", "untouched", "--json", cwd=on_server.folder)
    assert again.code == PREDICTED
    assert again.json()["artifacts"]["run"] == f"untouched/{POINTER_NAME}"


@pytest.mark.slow
@pytest.mark.parametrize("number", range(5))
def test_a_job_on_a_server_killed_at_random_ends_alike(on_server, number):
    found, moments, stages = on_server.point(f"run{number}", rng_of(number))
    assert found == on_server.untouched, f"killed after {moments} s at {stages}"


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.2, 0.6, 1.0])
def test_a_server_that_crashes_and_comes_back_does_not_end_a_job(on_server, delay):
    import threading

    command = on_server._start(f"crashed{delay}")
    crash = threading.Timer(delay, lambda: (on_server.database.stop(), on_server.database.start()))
    crash.start()
    ended = command.wait()
    crash.join()
    if ended.code == 2:  # it was asked for a connection before it had one to lose
        assert "no connection to" in ended.err
        ended = on_server._start(f"crashed{delay}").wait()
    assert ended.code == PREDICTED, ended.err
    from kill_points import ending

    assert ending(on_server.folder / f"crashed{delay}", ended.json()) == on_server.untouched
