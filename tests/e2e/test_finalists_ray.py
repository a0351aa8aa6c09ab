"""The race under real Ray: equal to the serial one, and after kill -9 equal to one that was not killed."""

import importlib
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from nas.records import Candidate
from nas.runners import ray_session
from nas.runners.ray_session import RayUnavailable, available_cpus, start_ray
from nas.train.finalists import train_finalists
from nas.train.recipe import Recipe
from search_spaces.arch import Architecture, Block

RECIPE = Recipe(batch_size=128, learning_rate=0.05)
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning:ray")


def candidates():
    return [
        Candidate(i, Architecture((Block("conv", w, stride=2), Block("zen_xx", w, 3, 2, 1, inner=w))))
        for i, w in enumerate((4, 8, 6, 12))
    ]


def run(folder, engine, **listeners):
    return train_finalists(
        candidates(),
        "digits",
        RECIPE,
        seed=3,
        max_epochs=6,
        grace_steps=0,
        engine=engine,
        storage_dir=folder,
        **listeners,
    )


def test_ray_and_the_serial_engine_give_equal_curves_and_survivors(tmp_path, capfd):
    seen, done = [], []
    with start_ray(workers=2) as cpus:
        assert cpus == 2
        ray_results = run(tmp_path / "ray", "ray", on_epoch=lambda i, r: seen.append((i, r)), on_result=done.append)
    assert ray_results == run(tmp_path / "serial", "serial")
    assert all([r for i, r in seen if i == result.id] == list(result.curve) for result in ray_results)
    assert sorted(done, key=lambda r: r.id) == ray_results
    assert capfd.readouterr().out == ""


def test_ctrl_c_is_not_for_tune_which_would_take_half_trainings_as_whole():
    importlib.import_module("nas.train.tune_experiment")
    assert os.environ["TUNE_DISABLE_SIGINT_HANDLER"] == "1"  # what comes of it: tests/e2e/test_kill_and_resume.py


SLOWLY = """
import time
from pathlib import Path
import torch
from nas.train.fit import Training
train_epoch = Training.train_epoch

def noted(self):
    began = time.time()
    report = train_epoch(self)
    time.sleep(0.3)
    with Path({log!r}).open("a") as file:
        print(began, time.time(), file=file)
    return report

Training.train_epoch = noted
"""


@pytest.mark.slow
def test_no_more_train_side_by_side_than_asked_for(tmp_path, monkeypatch):
    log = tmp_path / "epochs"
    (tmp_path / "sitecustomize.py").write_text(SLOWLY.format(log=str(log)))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    with start_ray(workers=2):
        results = run(tmp_path / "ray", "ray", workers=1)
    assert results == run(tmp_path / "serial", "serial")
    spans = [tuple(map(float, line.split())) for line in log.read_text().splitlines()]
    assert len(spans) == sum(result.epochs for result in results)
    assert max(sum(a <= began < b for a, b in spans) for began, _ in spans) == 1


KILLED = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from test_finalists_ray import run
run(Path({folder!r}), "ray", on_epoch=lambda i, r: print(i, r.epoch, flush=True))
"""


@pytest.mark.slow
def test_a_finished_race_is_only_read_and_a_second_session_starts(tmp_path):
    first = run(tmp_path, "ray")
    assert run(tmp_path, "ray", on_epoch=lambda i, r: pytest.fail("trained again")) == first


@pytest.mark.slow
@pytest.mark.parametrize("after", [1, 4, 8])
def test_a_killed_race_is_restored_and_ends_alike(tmp_path, after):
    folder = tmp_path / "race"
    script = KILLED.format(tests=str(Path(__file__).parent), folder=str(folder))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment, text=True
    ) as process:
        for _ in range(after):
            assert process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert json.loads((folder / "race.json").read_text())["version"] == 1
    later = []
    results = run(folder, "ray", on_epoch=lambda i, r: later.append((i, r.epoch)))
    assert results == run(tmp_path / "serial", "serial")
    assert later
    assert len(set(later)) == len(later)  # no epoch of one candidate is reported twice by one process


@pytest.mark.slow
@pytest.mark.parametrize("damaged", ["tuner.pkl", "experiment_state-*.json"])
def test_a_race_outlives_a_damaged_state_of_tune(tmp_path, caplog, damaged):
    with start_ray(workers=2):
        first = run(tmp_path, "ray")
        for file in (tmp_path / "tune").glob(damaged):
            file.write_text("x")
        with caplog.at_level(logging.WARNING):
            assert run(tmp_path, "ray") == first
    if damaged == "tuner.pkl":
        assert "finalists: Tune's state in" in caplog.text
        assert "cannot be read (invalid load key, 'x'.); trainings under way begin again" in caplog.text


@pytest.mark.slow
def test_a_read_only_home_does_not_keep_ray_from_starting(tmp_path):
    script = "from nas.runners.ray_session import start_ray\nwith start_ray(workers=1) as n: print('cpus', n)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "HOME": "/proc/nowhere"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "cpus 1", done.stderr


def test_an_unreachable_cluster_is_one_line():
    with (
        pytest.raises(RayUnavailable, match=r"Ray at 127\.0\.0\.1:1 cannot be reached") as caught,
        start_ray("127.0.0.1:1"),
    ):
        pass
    assert "\n" not in str(caught.value)


def test_auto_falls_back_to_the_serial_engine_when_ray_does_not_start(tmp_path, monkeypatch, caplog):
    def broken(address, workers, folder):
        raise RayUnavailable("Ray does not start here: no sockets")

    monkeypatch.setattr(ray_session, "_connect", broken)
    monkeypatch.setattr("nas.train.finalists.choose_engine", lambda *_: "ray")
    with caplog.at_level(logging.WARNING):
        results = run(tmp_path / "a", "auto")
    assert [r.epochs for r in results].count(6) == 2
    assert "no sockets; training serially" in caplog.text
    with pytest.raises(RayUnavailable, match="no sockets"):
        run(tmp_path / "b", "ray")


ABANDON = """
import tempfile
tempfile.gettempdir = lambda: {parent!r}
from nas.runners import ray_session
ray_session.LONGEST_FOLDER = 1000
with ray_session._short_folder() as folder:
    print(folder, flush=True)
    input()
"""


def test_sessions_of_killed_processes_are_swept_and_live_ones_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(ray_session, "LONGEST_FOLDER", 1000)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", ABANDON.format(parent=str(tmp_path))]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as process:
        theirs = Path(process.stdout.readline().strip())
        with ray_session._short_folder():
            assert theirs.is_dir()  # its process lives
        process.kill()
        process.wait()
    with ray_session._short_folder() as mine, ray_session._short_folder() as another:
        assert not theirs.exists()
        assert mine.is_dir()
        assert another.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_a_long_temporary_folder_is_avoided(tmp_path, monkeypatch):
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(long))
    with ray_session._short_folder() as folder:
        assert len(f"{folder}/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store") <= 107


def test_workers_are_the_cpus_that_this_process_may_use():
    assert 1 <= available_cpus() <= (os.cpu_count() or 1)
