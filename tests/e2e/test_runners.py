"""One reference, the serial runner: Ray gives the same run file, whatever dies on the way."""

import logging
import os
import signal
import sys
import threading
import time

import numpy as np
import psutil
import pytest

from nas.algorithms import elsewhere
from nas.algorithms.elsewhere import ProposalsElsewhere
from nas.algorithms.evolution import Evolution
from nas.algorithms.proposing_process import ProposerLost, ProposingProcess
from nas.gates import Gates
from nas.loop import SearchLoop
from nas.objective import Objective
from nas.records import Budget, Candidate, Constraint, Failure, Success
from nas.runners.crew import Terms
from nas.runners.ray import RayRunner
from nas.runners.ray_session import RayUnavailable, start_ray
from nas.runners.serial import SerialRunner
from nas.store import FILE_NAME, RunStore
from search_spaces import SPACES

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning:ray")
SHAPE = (1, 8, 8)
GATES = Gates(SHAPE, 10, (Constraint("params", 60_000.0),))
POISON = 41
SCORES = f"""
import os
import random
import time
from predictors.proxies.zen import zen_score

def noisy(objective):
    def score(arch, seed):
        time.sleep(0.006)
        return zen_score(arch, objective.input_shape) + random.Random(seed).gauss(0, 1)
    return score

def but_one(objective, act):
    from nas.objective import candidate_seed
    special = candidate_seed(objective.seed, {POISON})
    inner = noisy(objective)
    def score(arch, seed):
        if seed == special:
            act()
        return inner(arch, seed)
    return score

def poisonous(objective):
    return but_one(objective, lambda: os._exit(1))

def spared(objective):
    def fail():
        raise SystemError("would have died")
    return but_one(objective, fail)

def hanging(objective):
    return but_one(objective, lambda: time.sleep(3600))

def raising(objective):
    def score(arch, seed):
        if seed % 9 == 0:
            raise LookupError("unlucky")
        return 1.0
    return score
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The current directory, with the scores above in it."""
    place = tmp_path_factory.mktemp("runners")
    (place / "runner_scores.py").write_text(SCORES)
    before = os.getcwd()
    os.chdir(place)
    yield place
    os.chdir(before)
    sys.modules.pop("runner_scores", None)


@pytest.fixture(scope="module")
def ray(folder):
    """One Ray for the module: the runners join it and leave it running."""
    with start_ray(workers=2) as cpus:
        yield cpus


def evolution():
    return Evolution(SPACES["zen-tiny"], seed=4, population=32, niches="depth", lookahead=64)


def table(path, score, make, n=220, search=None):
    objective = Objective(score, SHAPE, seed=4)
    runner = make(objective)
    try:
        with RunStore.open(path, writable=True) if path.exists() else RunStore.create(path, {}) as store:
            SearchLoop(search or evolution(), runner, store, GATES, Budget(n)).run()
            return list(store.results())
    finally:
        runner.close()


@pytest.fixture(scope="module")
def serial(folder):
    kept = {}

    def results(score):
        if score not in kept:
            kept[score] = table(folder / f"serial{len(kept)}" / FILE_NAME, score, SerialRunner)
        return kept[score]

    return results


@pytest.mark.usefixtures("ray")
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("score", ["zen", "runner_scores:noisy", "runner_scores:raising"])
def test_ray_gives_the_serial_run_file(tmp_path, serial, score, workers):
    got = table(tmp_path / FILE_NAME, score, lambda objective: RayRunner(objective, Terms(workers=workers)))
    assert got == serial(score)
    assert len(got) == 220


@pytest.mark.usefixtures("ray")
def test_proposals_of_a_process_of_their_own_survive_its_death(tmp_path, serial, monkeypatch):
    monkeypatch.setattr(elsewhere, "SPARE", 1)
    for name in ("LOOK_S", "MANY_A_SECOND"):
        monkeypatch.setattr(elsewhere, name, 0)
    monkeypatch.setattr(ProposingProcess, "is_there", lambda process: process._message(wait=True) is not None)
    score, proposals = "runner_scores:noisy", ProposalsElsewhere(evolution())

    def two(objective):
        return RayRunner(objective, Terms(workers=2))

    def kill_half_way():
        while not proposals.moved:
            time.sleep(0.01)
        time.sleep(0.2)
        proposals._process._process.kill()

    killer = threading.Thread(target=kill_half_way)
    killer.start()
    with pytest.raises(ProposerLost, match="has ended"):
        table(tmp_path / FILE_NAME, score, two, search=proposals)
    proposals.close()
    killer.join()
    with RunStore.open(tmp_path / FILE_NAME) as store:
        assert sum(store.outcomes().values()) < 220
    again = ProposalsElsewhere(evolution())
    try:
        assert table(tmp_path / FILE_NAME, score, two, search=again) == serial(score)
        assert again.moved
    finally:
        again.close()


@pytest.mark.usefixtures("ray")
def test_a_poison_candidate_costs_itself_and_nothing_else(tmp_path, serial):
    got = table(
        tmp_path / FILE_NAME, "runner_scores:poisonous", lambda objective: RayRunner(objective, Terms(workers=2))
    )
    expected = serial("runner_scores:spared")
    crashes = [result for result in got if isinstance(result, Failure) and result.kind == "crash"]
    assert [crash.candidate.id for crash in crashes] == [POISON]
    assert "\n" not in crashes[0].message
    assert expected[POISON].kind == "error"
    assert [r for r in got if r.candidate.id != POISON] == [r for r in expected if r.candidate.id != POISON]
    assert got[POISON].candidate == expected[POISON].candidate


@pytest.mark.slow
@pytest.mark.usefixtures("ray")
def test_a_candidate_that_hangs_costs_itself_and_nothing_else(tmp_path, serial):
    got = table(
        tmp_path / FILE_NAME,
        "runner_scores:hanging",
        lambda objective: RayRunner(objective, Terms(workers=2), candidate_seconds=5.0),
    )
    expected = serial("runner_scores:spared")
    assert got[POISON].kind == "crash"
    assert got[POISON].message == "its evaluation took longer than 5 s and was ended"
    assert [r for r in got if r.candidate.id != POISON] == [r for r in expected if r.candidate.id != POISON]


@pytest.mark.usefixtures("ray")
def test_workers_beyond_the_free_cpus_are_not_waited_for(caplog):
    designs = [SPACES["zen-tiny"].sample(np.random.default_rng(i)) for i in range(6)]
    with caplog.at_level(logging.WARNING, logger="nas.runners.crew"):
        runner = RayRunner(Objective("zen", SHAPE), Terms(workers=3, ready_seconds=20.0))
    try:
        assert (
            "asked for 3 workers of one CPU each, the cluster has 2 CPUs, 0 of them free; going on with 2"
            in caplog.text
        )
        with pytest.raises(
            RayUnavailable, match=r"no worker started within 1 s: asked for 1 workers .* 2 CPUs, 0"
        ) as e:
            RayRunner(Objective("zen", SHAPE), Terms(workers=1, ready_seconds=1.0))
        assert "\n" not in str(e.value)
        runner.submit([Candidate(i, arch) for i, arch in enumerate(designs)])
        got = []
        while runner.busy:
            got += runner.wait_any()
        assert sorted(result.candidate.id for result in got if isinstance(result, Success)) == list(range(6))
    finally:
        runner.close()


@pytest.mark.usefixtures("ray")
def test_losing_the_last_worker_for_good_is_one_line(monkeypatch):
    runner = RayRunner(Objective("zen", SHAPE), Terms(workers=1, ready_seconds=30.0))
    try:
        monkeypatch.setattr(runner._crew, "ready_seconds", 0.0)  # no replacement is that quick
        [process] = scoring_processes()
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        runner.submit([Candidate(0, SPACES["zen-tiny"].sample(np.random.default_rng(0)))])
        with pytest.raises(RayUnavailable, match="the last worker is lost and none can be started") as error:
            runner.wait_any()
        assert "\n" not in str(error.value)
    finally:
        runner.close()


@pytest.mark.usefixtures("ray")
def test_a_worker_that_only_seems_dead_is_ended():
    runner = RayRunner(Objective("runner_scores:hanging", SHAPE, seed=4), Terms(workers=1))
    try:
        runner.submit([Candidate(POISON, SPACES["zen-tiny"].sample(np.random.default_rng(0)))])
        [process] = scoring_processes()
        time.sleep(0.5)  # it hangs by now
        runner._bury(runner._crew.workers[0])
        process.wait(30)
        assert runner.busy
    finally:
        runner.close()


def scoring_processes():
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if "ScoringWorker" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.slow
@pytest.mark.usefixtures("ray")
def test_workers_killed_again_and_again_cost_nothing(tmp_path, serial):
    killed, done = [], threading.Event()

    def kill():
        while len(killed) < 3 and not done.wait(0.1):
            for process in scoring_processes()[:1]:
                process.send_signal(signal.SIGKILL)
                killed.append(process.pid)

    killer = threading.Thread(target=kill)

    def make(objective):
        runner = RayRunner(objective, Terms(workers=2))
        killer.start()
        return runner

    try:
        got = table(tmp_path / FILE_NAME, "runner_scores:noisy", make)
    finally:
        done.set()
        killer.join()
    assert killed
    assert got == serial("runner_scores:noisy")


@pytest.mark.usefixtures("ray")
def test_a_closed_runner_leaves_no_worker_and_takes_the_next():
    runner = RayRunner(Objective("zen", SHAPE), Terms(workers=2))
    assert runner.free_slots > 0
    assert not runner.busy
    assert len(scoring_processes()) == 2
    runner.close()
    end = time.monotonic() + 30
    while scoring_processes() and time.monotonic() < end:
        time.sleep(0.05)
    assert scoring_processes() == []


@pytest.mark.usefixtures("ray")
def test_a_wrong_score_fails_before_any_worker_starts():
    with pytest.raises(ValueError, match="score 'runner_scores:nothing'"):
        RayRunner(Objective("runner_scores:nothing", SHAPE), Terms(workers=1))
