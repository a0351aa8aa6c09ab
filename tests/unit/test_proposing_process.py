"""Proposals by a process of their own: the same sequence as here, whichever the search, whenever it moves."""

import os
import pickle
import resource
import signal
import subprocess
import sys
from contextlib import ExitStack

import numpy as np
import pytest
from thinning import thinned

from nas.algorithms import elsewhere, proposing_process
from nas.algorithms.elsewhere import ProposalsElsewhere
from nas.algorithms.evolution import Evolution
from nas.algorithms.local import LocalSearch
from nas.algorithms.nsga2 import NSGA2
from nas.algorithms.proposing_process import PORTION, ProposerLost, ProposingProcess
from nas.algorithms.random import RandomSearch
from nas.algorithms.regularized import RegularizedEvolution
from nas.gates import Gates
from nas.loop import SearchLoop
from nas.records import Budget, Candidate, Constraint, Failure, InvalidObjectives, Success
from nas.runners.simulated import SimulatedRunner
from nas.store import RunStore
from nas.store.row_process import RowProcess
from search_spaces import SPACES
from search_spaces.arch import Architecture

GATES = Gates((3, 32, 32), 10, (Constraint("params", 1e6), Constraint("macs", 60e6)))
SEARCHES = {
    "evolution": lambda space, lookahead: Evolution(space, seed=3, niches="depth", lookahead=lookahead),
    "regularised": lambda space, lookahead: RegularizedEvolution(space, seed=3, lookahead=lookahead),
    "local": lambda space, lookahead: LocalSearch(space, seed=3, lookahead=lookahead),
    "nsga2": lambda space, lookahead: NSGA2(space, seed=3, objectives=("score", "params"), lookahead=lookahead),
    "random": lambda space, lookahead: RandomSearch(space, seed=3, lookahead=lookahead),
}


def evaluated(candidate):
    """Some are outside the limits, some break."""
    checked = GATES.check(candidate)
    if isinstance(checked, Failure):
        return checked
    if candidate.id % 29 == 7:
        return Failure(checked, "error", "boom")
    return Success(checked, {**checked.metrics, "score": checked.metrics["macs"] ** 0.5 * (candidate.id * 7919 % 101)})


def rows(search, tmp_path, name, evaluations=2_000):
    runner = SimulatedRunner(evaluated, workers=40, work_seconds=0.05)
    with RunStore.create(tmp_path / f"{name}.sqlite", {}) as store:
        SearchLoop(search, runner, store, None, Budget(evaluations)).run()
        found = list(store.results())
    assert len(found) == evaluations
    return found


def moving(search, monkeypatch, after):
    """It moves at the first request after so many candidates."""
    monkeypatch.setattr(elsewhere, "SPARE", 1)
    monkeypatch.setattr(elsewhere, "LOOK_S", 0.0)
    monkeypatch.setattr(elsewhere, "MANY_A_SECOND", 0)
    monkeypatch.setattr(ProposingProcess, "is_there", lambda process: process._message(wait=True) is not None)
    proposals = ProposalsElsewhere(search)
    move = proposals._move
    monkeypatch.setattr(proposals, "_move", lambda: move() if search.asked >= after else None)
    return proposals


@pytest.mark.parametrize("after", thinned([1_000, 1], 2))
@pytest.mark.parametrize("name", SEARCHES)
def test_the_sequence_is_the_same(name, after, tmp_path, monkeypatch):
    space = SPACES["nas-bench-201-tiny" if name == "local" else "zen-tiny"]
    here = rows(SEARCHES[name](space, 400), tmp_path, "here")
    proposals = moving(SEARCHES[name](space, 400), monkeypatch, after)
    try:
        there = rows(proposals, tmp_path, "there")
        assert proposals.moved
    finally:
        proposals.close()
    assert there == here


def test_designs_that_were_labelled_come_in_their_place(monkeypatch, tmp_path):
    given = [SPACES["zen-tiny"].sample(np.random.default_rng(i)) for i in range(200)]
    first, second = (SEARCHES["evolution"](SPACES["zen-tiny"], 64) for _ in range(2))
    for search in (first, second):
        search.begin_with(given)
    proposals = moving(second, monkeypatch, 1)
    try:
        assert rows(proposals, tmp_path, "there", 500) == rows(first, tmp_path, "here", 500)
        assert proposals.moved
    finally:
        proposals.close()


def test_few_proposals_and_spaces_of_others_stay_here(monkeypatch, tmp_path):
    monkeypatch.setattr(elsewhere, "SPARE", 1)
    monkeypatch.setattr(elsewhere, "MANY_A_SECOND", 1 << 30)
    slow = ProposalsElsewhere(SEARCHES["evolution"](SPACES["zen-tiny"], 400))
    rows(slow, tmp_path, "slow", 500)
    assert not slow.moved

    class Own(type(SPACES["zen-tiny"])):
        pass

    Own.__module__ = "mine"
    space = object.__new__(Own)
    space.__dict__.update(SPACES["zen-tiny"].__dict__)
    own = moving(SEARCHES["evolution"](space, 400), monkeypatch, 1)
    rows(own, tmp_path, "own", 500)
    assert not own.moved


@pytest.fixture
def process():
    opened = started(SEARCHES["evolution"](SPACES["zen-tiny"], 100_000))
    yield opened
    opened.close()


def started(search):
    process = ProposingProcess()
    assert process._message(wait=True)
    process.take(search)
    return process


def scored(candidate):
    return Success(candidate, {"score": 1.0, "convs": 3.0})


def test_a_busy_driver_does_not_wait_for_proposals(process):
    asked = process.ask(PORTION)
    assert [candidate.id for candidate in asked] == list(range(PORTION))
    os.kill(process._process.pid, signal.SIGSTOP)
    while more := process.ask(PORTION):  # what is there already
        asked += more
    assert process.coming
    os.kill(process._process.pid, signal.SIGCONT)
    for candidate in asked:
        process.tell(scored(candidate))
    assert [candidate.id for candidate in process.ask(1)] == [len(asked)]  # nothing is under way: it waits


def test_it_goes_no_further_ahead_than_it_may(monkeypatch, process):
    monkeypatch.setattr(proposing_process, "AHEAD", 600)
    assert len(process.ask(1)) == 1
    while process._waits_after < process._sent:
        process._take(wait=True)
    assert len(process._ready) == 599
    assert len(process.ask(1_000)) == 599


def test_a_process_that_is_killed_is_one_line(process):
    assert [candidate.id for candidate in process.ask(5)] == [0, 1, 2, 3, 4]
    os.kill(process._process.pid, signal.SIGKILL)
    process._process.wait()
    with pytest.raises(ProposerLost, match="the process that makes proposals has ended"):
        list(iter(lambda: process.ask(1_000), None))


def test_a_process_that_does_not_read_is_one_line(monkeypatch, process):
    monkeypatch.setattr(proposing_process, "PATIENCE_S", 0.5)
    asked = process.ask(PORTION)
    os.kill(process._process.pid, signal.SIGSTOP)
    for _ in range(100):
        for candidate in asked:
            process.tell(scored(candidate))
    with pytest.raises(ProposerLost, match=r"has not answered for 0\.5 s"):
        process.ask(1)


def test_what_the_search_raises_is_raised_here(monkeypatch):
    wrong = NSGA2(SPACES["zen-tiny"], seed=3, objectives=("score", "latency_ms"), population=4, lookahead=8)
    process = started(wrong)
    try:
        asked = [candidate for _ in range(8) for candidate in process.ask(1)]
        for candidate in asked:
            process.tell(scored(candidate))
        with pytest.raises(InvalidObjectives, match="candidates have only convs, score"):
            process.ask(1)
    finally:
        process.close()


@pytest.mark.parametrize("fault", ["start", "copy", "death"])
def test_a_search_stays_where_no_process_comes_to_work(monkeypatch, tmp_path, fault):
    search = SEARCHES["evolution"](SPACES["zen-tiny"], 400)
    proposals = moving(search, monkeypatch, 1)
    if fault == "start":
        monkeypatch.setattr(proposing_process.sys, "executable", "/no/such/python")
    elif fault == "copy":
        search.uncopied = lambda: None
    else:
        monkeypatch.setattr(proposing_process, "_PROGRAM", "import sys; sys.exit(1)")
    found = rows(proposals, tmp_path, "here", 500)
    assert not proposals.moved
    assert found == rows(SEARCHES["evolution"](SPACES["zen-tiny"], 400), tmp_path, "there", 500)


def test_a_module_of_the_user_in_the_folder_is_not_taken_for_pythons(tmp_path):
    (tmp_path / "queue.py").write_text("raise SystemExit(1)")
    program = (
        "import time\nfrom nas.algorithms.proposing_process import ProposingProcess\n"
        "process = ProposingProcess()\nwhile not process.is_there():\n    time.sleep(0.05)\nprocess.close()\n"
    )
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "program.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "elsewhere/program.py"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_a_design_that_is_known_by_its_text_is_that_design():
    arch = SPACES["zen-tiny"].seed
    known = Architecture.written(arch.to_json(), arch.digest)
    assert (known.to_json(), known.digest) == (arch.to_json(), arch.digest)
    assert known == arch
    assert hash(known) == hash(arch)
    assert known.blocks == arch.blocks
    again = pickle.loads(pickle.dumps(Architecture.written(arch.to_json(), arch.digest)))
    assert again == arch
    with pytest.raises(AttributeError, match="no attribute 'block'"):
        known.block  # noqa: B018 - that is what is tested
    assert Candidate(0, Architecture.written(arch.to_json(), arch.digest)) == Candidate(0, arch)


def test_pipes_work_where_more_files_are_open_than_select_knows(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limits[1] < 2_000:
        pytest.skip("no process may open so many files here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limits[0], 2_000), limits[1]))
    with ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        while stack.enter_context(open(os.devnull)).fileno() <= 1_024:
            pass
        process = started(SEARCHES["evolution"](SPACES["zen-tiny"], 1_000))
        stack.callback(process.close)
        assert process._to.fileno() > 1_024
        assert len(process.ask(PORTION)) == PORTION
        with RunStore.create(tmp_path / "run.sqlite", {}) as store:
            lock = os.open(tmp_path / "lock", os.O_CREAT)
            stack.callback(os.close, lock)
            rows = RowProcess(store.path, "", lock)
            stack.callback(rows.close)
            rows.write([])
            rows.settle()
