"""kill -9 at any moment: the run resumes and ends exactly as one that was never touched."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress

import psutil
import pytest
from commands import until
from thinning import thinned

from nas.run import WINNER, Run
from nas.store import FILE_NAME, RunFileError

MODULE = """
import random
import time
from predictors.proxies.zen import zen_score

def slow_zen(objective):
    def score(arch, seed):
        time.sleep(0.008)
        return zen_score(arch, objective.input_shape) + random.Random(seed).gauss(0, 0.1)
    return score
"""
SETTINGS = (
    "--no-train", "--params", "60k", "--macs", "2M", "--evaluations", "320", "--seed", "5", "--json",
    "--set", "search.score=slow_score:slow_zen", "--set", "search.lookahead=64",
)  # fmt: skip
NOT_THERE = "no run.sqlite there"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kill")
    (folder / "slow_score.py").write_text(MODULE)
    return folder


@pytest.fixture(scope="module")
def untouched(server, place):
    ended = server.run("search", *SETTINGS, "--engine", "serial", "--out", "untouched", cwd=place)
    assert ended.code == 0, ended.err
    return contents(place / "untouched"), ended.json()


def contents(directory):
    """Everything that the search decided, row by row, and the front."""
    with Run.open(directory) as run:
        assert run.status()["finished"]
        return list(run.store.results()), run.pareto().to_dict("records")


def same_outcome(summary, other):
    return all(summary[key] == other[key] for key in ("best", "verdict"))


def start_or_resume(server, place, out, *more):
    if (place / out / FILE_NAME).exists():
        return server.start("resume", out, "--json", cwd=place)
    return server.start("search", *SETTINGS, *more, "--out", out, cwd=place)


def kill_once(server, place, out, delay, *more):
    """Start or go on, and kill after so many seconds; False when it was finished by then."""
    command = start_or_resume(server, place, out, *more)
    time.sleep(delay)
    command.signal(signal.SIGKILL)
    ended = command.wait()
    assert ended.code in (0, -signal.SIGKILL), ended.err
    return ended.code != 0


@pytest.mark.parametrize("kills", [6, pytest.param(24, marks=pytest.mark.slow)])
def test_a_serial_search_killed_again_and_again_ends_alike(server, place, untouched, kills):
    rng, hits, runs = random.Random(kills), 0, 0
    while hits < kills:
        runs += 1
        out, longest = f"serial{kills}-{runs}", rng.choice((0.3, 0.6, 1.2, 2.0))
        while hits < kills and kill_once(server, place, out, rng.uniform(0.0, longest), "--engine", "serial"):
            hits += 1
        ended = start_or_resume(server, place, out, "--engine", "serial").wait()
        assert ended.code == 0, ended.err
        assert contents(place / out) == untouched[0]
        assert same_outcome(ended.json(), untouched[1])


def test_a_killed_run_is_read_before_it_is_resumed(server, place, untouched):
    command = server.start("search", *SETTINGS, "--engine", "serial", "--out", "read", cwd=place)
    assert until(lambda: (place / "read" / FILE_NAME).exists() and rows(place / "read") > 0)
    while_running = rows(place / "read")
    command.signal(signal.SIGKILL)
    assert command.wait().code == -signal.SIGKILL
    with Run.open(place / "read") as run:
        assert run.status()["finished"] is False
        stored = list(run.store.results())
        run.pareto()
    assert len(stored) >= while_running > 0
    assert stored == untouched[0][0][: len(stored)]  # a prefix of the one sequence
    ended = server.run("status", "read", cwd=place)
    assert "no; go on with: netwright resume read" in ended.out


def rows(directory):
    with Run.open(directory) as run:
        return run.status()["candidates"]


def test_a_kill_before_the_run_file_is_complete_leaves_none(server, place):
    for delay in (0.0, 0.05, 0.1, 0.15, 0.2, 0.25):
        out = f"early{delay}"
        command = server.start("search", *SETTINGS, "--engine", "serial", "--out", out, cwd=place)
        time.sleep(delay)
        command.signal(signal.SIGKILL)
        command.wait()
        ended = server.run("status", out, "--json", cwd=place)
        if ended.code:
            assert NOT_THERE in ended.err
            assert len(ended.err.splitlines()) == 1
        else:
            assert ended.json()["finished"] is False


def test_one_interrupt_ends_what_is_under_way_and_says_how_to_go_on(server, place, untouched):
    command = server.start("search", *SETTINGS, "--engine", "serial", "--out", "interrupted", cwd=place)
    assert until(lambda: (place / "interrupted" / FILE_NAME).exists() and rows(place / "interrupted") > 0)
    command.signal(signal.SIGINT)
    ended = command.wait()
    assert ended.code == 130
    assert ended.out == ""
    assert "go on with: netwright resume interrupted" in ended.err
    assert "Traceback" not in ended.err
    stored = rows(place / "interrupted")
    assert 0 < stored < 320
    ended = server.run("resume", "interrupted", "--json", cwd=place)
    assert ended.code == 0, ended.err
    assert contents(place / "interrupted") == untouched[0]


@pytest.mark.parametrize("delay", thinned([0.0, 0.02, 0.1, 0.3, 0.6], 2))
def test_two_interrupts_at_odd_moments_lose_nothing_committed(server, place, untouched, delay):
    out = f"twice{delay}"
    command = server.start("search", *SETTINGS, "--engine", "serial", "--out", out, cwd=place)
    until((place / out / FILE_NAME).exists)
    time.sleep(delay)
    command.signal(signal.SIGINT)
    time.sleep(0.01)
    command.signal(signal.SIGINT)
    ended = command.wait()
    assert ended.code == 130, ended.err
    assert "Traceback" not in ended.err
    ended = server.run("resume", out, "--json", cwd=place)
    assert ended.code == 0, ended.err
    assert contents(place / out) == untouched[0]


def test_a_finished_run_prints_its_outcome_again(server, place, untouched):
    before = (place / "untouched" / FILE_NAME).read_bytes()
    ended = server.run("resume", "untouched", "--json", cwd=place)
    assert ended.code == 0
    assert ended.json() == untouched[1]
    assert contents(place / "untouched") == untouched[0]
    assert (place / "untouched" / FILE_NAME).read_bytes() == before
    ended = server.run("search", *SETTINGS, "--out", "untouched", cwd=place)
    assert (ended.code, len(ended.err.splitlines())) == (2, 1)
    assert "netwright resume" in ended.err


def session_of(pid, *, agents=False):
    """Living processes that a command started: they are of its session. Ray's own agents end minutes later."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == pid and process.status() != psutil.STATUS_ZOMBIE:
                found.append((process, " ".join(process.cmdline())))
    return [process for process, line in found if agents or "Agent" not in line]


def ray_workers(pid):
    found = []
    for process in session_of(pid):
        with suppress(psutil.Error):
            if "ScoringWorker" in " ".join(process.cmdline()):
                found.append(process)
    return found


RAY = ("--engine", "ray", "--workers", "2")


def test_ray_killed_driver_and_killed_worker_end_as_the_serial_run(server, place, untouched):
    command = server.start("search", *SETTINGS, *RAY, "--out", "ray", cwd=place)
    assert until(lambda: (place / "ray" / FILE_NAME).exists() and rows(place / "ray") > 0), "the search did not start"
    command.signal(signal.SIGKILL)
    assert command.wait().code == -signal.SIGKILL
    killed = command.pid
    command = server.start("resume", "ray", "--json", cwd=place)
    before = rows(place / "ray")
    assert until(lambda: len(ray_workers(command.pid)) == 2), "no workers"
    assert until(lambda: rows(place / "ray") > before)
    for worker in ray_workers(command.pid)[:1]:
        worker.kill()
    ended = command.wait()
    assert ended.code == 0, ended.err
    assert contents(place / "ray") == untouched[0]
    assert same_outcome(ended.json(), untouched[1])
    until(lambda: not session_of(command.pid) + session_of(killed))
    assert session_of(command.pid) + session_of(killed) == []  # no worker outlives its driver


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_ray_killed_at_random_ends_as_the_serial_run(server, place, untouched, seed):
    rng, out, pids = random.Random(seed), f"ray{seed}", []
    for _ in range(4):
        command = start_or_resume(server, place, out, *RAY)
        pids.append(command.pid)
        time.sleep(rng.uniform(0.0, 9.0))
        command.signal(signal.SIGKILL)
        command.wait()
    ended = start_or_resume(server, place, out, *RAY).wait()
    assert ended.code == 0, ended.err
    assert contents(place / out) == untouched[0]
    assert until(lambda: not any(map(session_of, pids)))


def ray_process(pid, name):
    for process in session_of(pid):
        with suppress(psutil.Error):
            if process.name() == name:
                return process
    return None


LONGER = (*SETTINGS, "--evaluations", "3000")


@pytest.fixture(scope="module")
def untouched_longer(server, place):
    ended = server.run("search", *LONGER, "--engine", "serial", "--out", "longer", cwd=place)
    assert ended.code == 0, ended.err
    return contents(place / "longer"), ended.json()


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["starting", "searching"])
@pytest.mark.parametrize("name", ["raylet", "gcs_server"])
def test_ray_that_loses_its_head_or_raylet_ends_in_one_line_and_resumes(server, place, untouched_longer, name, moment):
    out, untouched = f"{name}-{moment}", untouched_longer
    command = server.start("search", *LONGER, *RAY, "--out", out, cwd=place)
    assert until(lambda: ray_process(command.pid, name))
    if moment == "searching":
        assert until(lambda: (place / out / FILE_NAME).exists() and rows(place / out) > 0)
    ray_process(command.pid, name).kill()
    ended = command.wait()
    assert ended.code == 2, ended.err
    assert "Traceback" not in ended.err
    assert ended.err.count("netwright: ") == 1
    assert f"go on with: netwright resume {out}" in ended.err
    assert until(lambda: not session_of(command.pid), 90)  # nothing of the private cluster stays
    ended = server.run("resume", out, "--json", cwd=place)
    assert ended.code == 0, ended.err
    assert contents(place / out) == untouched[0]
    assert same_outcome(ended.json(), untouched[1])


@pytest.mark.slow
def test_ctrl_c_in_a_terminal_reaches_ray_as_well_and_harms_nothing(server, place, untouched):
    command = server.start("search", *SETTINGS, *RAY, "--out", "terminal", cwd=place)
    assert until(lambda: (place / "terminal" / FILE_NAME).exists() and rows(place / "terminal") > 0)
    command.signal_group(signal.SIGINT)
    ended = command.wait()
    assert ended.code == 130, ended.err
    assert "Traceback" not in ended.err
    assert until(lambda: not session_of(command.pid))
    ended = server.run("resume", "terminal", "--json", cwd=place)
    assert ended.code == 0, ended.err
    assert contents(place / "terminal") == untouched[0]


def in_new_process(place, *args, seconds=None):
    """The installed command, from the start of its interpreter on; killed after so many seconds."""
    process = subprocess.Popen(
        [sys.executable, "-m", "nas", *args], cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
    return process.returncode, out, err


@pytest.mark.slow
def test_a_new_interpreter_killed_from_its_start_on_ends_alike(place, untouched):
    rng, out, kills = random.Random(1), "fresh", 0
    fresh = ("search", *SETTINGS, "--engine", "serial", "--out", out)
    for _ in range(20):
        args = ("resume", out) if (place / out / FILE_NAME).exists() else fresh
        code, _, err = in_new_process(place, *args, seconds=rng.uniform(0.0, 8.0))
        assert code in (0, -signal.SIGKILL), err
        kills += code != 0
    assert kills > 0
    code, _, err = in_new_process(place, "resume", out)
    assert code == 0, err
    assert contents(place / out) == untouched[0]


TRAINED = (
    "--params", "60k", "--macs", "500k", "--evaluations", "100", "--seed", "2", "--engine", "serial", "--json",
    "--set", "recipe.epochs=6", "--set", "finalists.epochs=2", "--set", "finalists.trained=2", "--set", "guard.seeds=0",
    "--set", "latency.measure=2s",
)  # fmt: skip


def weights(directory):
    return hashlib.sha256((directory / WINNER / "model.safetensors").read_bytes()).hexdigest()


def happened(directory, kind, times=1):
    with suppress(RunFileError), Run.open(directory) as run:
        return len(run.events(kind)) >= times
    return False


@pytest.mark.slow
def test_a_kill_while_the_winner_is_trained_changes_no_weight(server, place):
    reference = server.run("search", *TRAINED, "--out", "trained", cwd=place)
    assert reference.code == 0, reference.err
    rng, killed = random.Random(0), place / "training-killed"
    args = ("search", *TRAINED, "--out", killed.name)
    for kind, times in (("searched", 1), ("winner", 1), ("epoch", 2), ("epoch", 4), ("test", 1)):
        command = server.start(*args, cwd=place)
        assert until(lambda kind=kind, times=times: happened(killed, kind, times))
        time.sleep(rng.uniform(0.0, 0.4))
        command.signal(signal.SIGKILL)
        assert command.wait().code == -signal.SIGKILL
        args = ("resume", killed.name, "--json")
    ended = server.run(*args, cwd=place)
    assert ended.code == 0, ended.err
    assert contents(killed) == contents(place / "trained")
    assert weights(killed) == weights(place / "trained")
    for key in ("id", "spec", "score", "top1"):
        assert ended.json()["best"][key] == reference.json()["best"][key]


@pytest.mark.slow
def test_an_interrupt_in_a_race_on_ray_keeps_no_half_training_as_whole(server, place):
    raced = (*TRAINED, *RAY, "--set", "finalists.epochs=12", "--epochs", "1")
    command = server.start("search", *raced, "--out", "race", cwd=place)
    curves = place / "race" / "work" / "finalists" / "tune"
    assert until(lambda: list(curves.glob("finalist-*/checkpoint_*/training.pt")), seconds=60)
    command.signal(signal.SIGINT)
    ended = command.wait()
    assert ended.code == 130, ended.err
    assert "Traceback" not in ended.err
    assert "go on with: netwright resume race" in ended.err
    assert not happened(place / "race", "winner")
    ended = server.run("resume", "race", "--json", cwd=place)
    assert ended.code == 0, ended.err
    alone = server.run("search", *raced, "--engine", "serial", "--out", "race-alone", cwd=place)
    assert ended.json()["best"]["id"] == alone.json()["best"]["id"]
    with Run.open(place / "race") as one, Run.open(place / "race-alone") as other:
        assert [event["epochs"] for event in one.events("finalist")] == [
            event["epochs"] for event in other.events("finalist")
        ]
