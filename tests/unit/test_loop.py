"""The loop with real parts: searches, gates, stores, and a runner that answers in any order."""

import math
import os
import sys

import numpy as np
import pytest

from nas.algorithms.evolution import Evolution
from nas.algorithms.random import RandomSearch
from nas.gates import Gates
from nas.loop import COMING_SECONDS, FAILURE_LEAST, Diverged, SearchFailing, SearchLoop
from nas.objective import Objective
from nas.records import Budget, Constraint, Failure, Success
from nas.runners.evaluate import evaluate
from nas.runners.serial import SerialRunner
from nas.store import FILE_NAME, RunStore
from search_spaces import SPACES
from search_spaces.arch import Architecture, Block
from search_spaces.space import GridSpace, Knob

SPACE = SPACES["zen-tiny"]
OBJECTIVE = Objective("zen", (1, 8, 8), seed=2)
GATES = Gates((1, 8, 8), 10, (Constraint("params", 60_000.0), Constraint("macs", 1e6)))


class Shuffled:
    """Evaluates like the others, but answers in random order and takes many at a time."""

    def __init__(self, objective, slots, seed):
        self._scorer, self._seed, self._slots = objective.scorer(), objective.seed, slots
        self._rng, self._queue = np.random.default_rng(seed), []

    @property
    def free_slots(self):
        return self._slots - len(self._queue)

    @property
    def busy(self):
        return bool(self._queue)

    def submit(self, candidates):
        self._queue.extend(candidates)

    def wait_any(self):
        at = [self._queue.pop(self._rng.integers(len(self._queue))) for _ in range(min(3, len(self._queue)))]
        return evaluate(self._scorer, at, self._seed)

    def close(self):
        pass


def search(**more):
    return Evolution(SPACE, seed=5, population=32, **{"niches": "depth", "lookahead": 32, **more})


@pytest.fixture
def store(tmp_path):
    with RunStore.create(tmp_path / FILE_NAME, {}) as opened:
        yield opened


def run(store, *, runner=None, budget=None, found=None, gates=GATES, **more):
    loop = SearchLoop(found or search(), runner or SerialRunner(OBJECTIVE), store, gates, budget or Budget(200), **more)
    return loop, loop.run()


def reference(tmp_path, n=200, **more):
    with RunStore.create(tmp_path / "reference.sqlite", {}) as opened:
        run(opened, budget=Budget(n), **more)
        return list(opened.results())


def test_every_candidate_is_a_row_in_order(store):
    _, progress = run(store)
    results = list(store.results())
    assert [result.candidate.id for result in results] == list(range(200))
    assert progress.asked == 200
    kinds = [result.kind if isinstance(result, Failure) else "scored" for result in results]
    assert kinds.count("scored") == progress.scored > 50
    assert kinds.count("rejected") == progress.rejected > 10
    assert progress.best_score == max(r.metrics["score"] for r in results if isinstance(r, Success))


@pytest.mark.parametrize(("slots", "seed"), [(1, 0), (7, 1), (100, 2)])
def test_the_file_does_not_depend_on_the_order_of_answers(store, tmp_path, slots, seed):
    run(store, runner=Shuffled(OBJECTIVE, slots, seed))
    assert list(store.results()) == reference(tmp_path)


class Stopping(Shuffled):
    """Dies after so many answers."""

    def __init__(self, *args, after):
        super().__init__(*args)
        self.after = after

    def wait_any(self):
        self.after -= 1
        if self.after < 0:
            raise KeyboardInterrupt
        return super().wait_any()


@pytest.mark.parametrize("after", [0, 1, 9, 20])
def test_an_interrupted_loop_stores_a_prefix_and_goes_on(tmp_path, store, after):
    expected = reference(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run(store, runner=Stopping(OBJECTIVE, 20, after, after=after))
    stored = list(store.results())
    assert stored == expected[: len(stored)]
    assert len(stored) < 200
    run(store, runner=Shuffled(OBJECTIVE, 9, 1))
    assert list(store.results()) == expected


def test_stop_ends_after_what_is_under_way(tmp_path, store):
    loops = []

    class Nudging(SerialRunner):
        def wait_any(self):
            loops[0].stop()
            return super().wait_any()

    loops.append(SearchLoop(search(), Nudging(OBJECTIVE), store, GATES, Budget(200)))
    loops[0].run()
    stored = list(store.results())
    assert 0 < len(stored) < 200
    assert stored == reference(tmp_path)[: len(stored)]


@pytest.mark.parametrize("n", [1, 5, 31, 32, 33])
def test_budgets_around_the_lookahead_are_met_exactly(store, n):
    _, progress = run(store, budget=Budget(n))
    assert progress.asked == len(list(store.results())) == n


def test_going_on_with_a_larger_budget_is_the_larger_run(tmp_path, store):
    run(store, budget=Budget(90))
    run(store, budget=Budget(200))
    assert list(store.results()) == reference(tmp_path)


def test_going_on_after_the_end_does_nothing(store):
    run(store)
    before = list(store.results())
    _, progress = run(store)
    assert list(store.results()) == before
    assert progress.asked == 200


def test_seconds_end_a_search_without_evaluations(store):
    _, progress = run(store, budget=Budget(seconds=0.05))
    assert 0 < progress.asked == len(list(store.results()))
    _, progress = run(store, budget=Budget(seconds=0.0))
    assert progress.asked == len(list(store.results()))


@pytest.mark.parametrize(
    "other",
    [
        search(lookahead=31),
        Evolution(SPACES["zen"], seed=5),
        Evolution(SPACE, seed=6, niches="depth", lookahead=32),
        RandomSearch(SPACE, seed=5),
    ],
    ids=["lookahead", "space", "seed", "algorithm"],
)
def test_another_search_is_refused(store, other):
    run(store)
    before = list(store.results())
    with pytest.raises(Diverged, match=r"candidate \d+ of the run file is not the one") as caught:
        run(store, found=other)
    assert "\n" not in str(caught.value)
    assert list(store.results()) == before


class Four(GridSpace):
    name = "four"
    knobs = (Knob("width", (8, 16, 24, 32)),)

    def decode(self, values):
        return Architecture((Block("conv", int(values["width"])),))

    def values_of(self, arch):
        return {"width": arch.blocks[0].channels}


def test_a_space_of_four_ends_with_duplicates(store):
    _, progress = run(store, found=Evolution(Four(), seed=0, lookahead=3), budget=Budget(40), gates=Gates((1, 8, 8), 2))
    assert (progress.scored, progress.duplicates) == (4, 36)
    duplicate = next(r for r in store.results() if isinstance(r, Failure))
    assert duplicate.kind == "duplicate"
    assert "same design as candidate" in duplicate.message


def test_everything_rejected_ends_too(store):
    _, progress = run(store, gates=Gates((1, 8, 8), 10, (Constraint("params", 1.0),)))
    assert (progress.scored, progress.rejected + progress.duplicates, progress.best_score) == (0, 200, None)


class Broken(Four):
    """Its mutation breaks after a while, as a user's own may."""

    calls = 0

    def mutate(self, arch, rng):
        self.calls += 1
        if self.calls > 30:
            raise ZeroDivisionError("the user's mistake")
        return super().mutate(arch, rng)


def test_a_space_that_breaks_leaves_a_run_that_can_be_read(store):
    with pytest.raises(ZeroDivisionError, match="the user's mistake"):
        run(store, found=Evolution(Broken(), seed=0, initial=2, lookahead=1), gates=Gates((1, 8, 8), 2))
    assert len(list(store.results())) >= 4


SCORES = """
import os
import sys
import time

def failing(objective):
    def score(arch, seed):
        if seed % 10 < {tenths}:
            raise KeyError("no luck\\nsecond line")
        return 1.0
    return score

def nan(objective):
    return lambda arch, seed: float("nan") if seed % 10 < 1 else 1.0

def text(objective):
    return lambda arch, seed: "high"

def leaving(objective):
    return lambda arch, seed: sys.exit(3)

def slow(objective):
    return lambda arch, seed: time.sleep(0.2) or 1.0
"""


@pytest.fixture
def scores(tmp_path, monkeypatch):
    def write(tenths):
        (tmp_path / "my_scores.py").write_text(SCORES.format(tenths=tenths))
        monkeypatch.chdir(tmp_path)
        sys.modules.pop("my_scores", None)

    yield write
    sys.modules.pop("my_scores", None)


def test_a_score_that_raises_is_a_failure_with_one_line(store, scores):
    scores(1)
    _, progress = run(store, runner=SerialRunner(Objective("my_scores:failing", (1, 8, 8), 2)))
    failures = [r for r in store.results() if isinstance(r, Failure) and r.kind == "error"]
    assert len(failures) == progress.failed >= 3
    assert failures[0].message == "KeyError: 'no luck\\nsecond line'"
    assert progress.scored > 3 * progress.failed


def test_seconds_end_a_search_with_a_slow_score_after_the_one_under_way(store, scores):
    scores(0)
    _, progress = run(store, runner=SerialRunner(Objective("my_scores:slow", (1, 8, 8), 2)), budget=Budget(seconds=0.5))
    assert 1 <= progress.scored <= 4  # 0.2 s each; the queue held 64


def test_a_search_whose_scores_fail_stops_and_says_so(store, scores):
    scores(5)
    with pytest.raises(SearchFailing, match=r"\d+ of \d+ evaluations failed; the last: KeyError") as caught:
        run(store, runner=SerialRunner(Objective("my_scores:failing", (1, 8, 8), 2)), budget=Budget(2_000))
    assert "\n" not in str(caught.value)
    stored = list(store.results())
    evaluated = [r for r in stored if isinstance(r, Success) or r.kind == "error"]
    assert FAILURE_LEAST - 5 <= len(evaluated) <= FAILURE_LEAST + 5


@pytest.mark.parametrize(
    ("score", "message"), [("nan", "the score is nan"), ("text", "ValueError"), ("leaving", "SystemExit: 3")]
)
def test_no_bad_score_becomes_a_value(store, scores, score, message):
    scores(0)
    with RunStore.open(store.path) as reader:
        _, progress = run(store, runner=SerialRunner(Objective(f"my_scores:{score}", (1, 8, 8), 2)), budget=Budget(45))
        failures = [r for r in reader.results() if isinstance(r, Failure) and r.kind == "error"]
    assert failures
    assert all(failure.message.startswith(message) for failure in failures)
    assert len(failures) == progress.failed


def test_a_full_store_ends_the_search_with_its_error(tmp_path):
    class Full:
        def results(self):
            return iter(())

        def append(self, results):
            pass

        def commit(self):
            raise OSError(28, os.strerror(28))

    with pytest.raises(OSError, match="No space left"):
        run(Full())


def test_progress_is_told_at_the_end(store):
    told = []
    run(store, on_progress=lambda progress: told.append((progress.asked, progress.scored)))
    assert told[-1][0] == 200
    assert told[-1][1] > 0


class Slow:
    """A search whose proposals are on their way every other time it is asked, if results can come meanwhile."""

    def __init__(self):
        self._inner, self._turn, self.coming = search(), 0, False

    def ask(self, n):
        self._turn += 1
        self.coming = self._turn % 2 == 0 and self._inner.under_way > 0
        return [] if self.coming else self._inner.ask(min(n, 5))

    def tell(self, result):
        self._inner.tell(result)


def test_the_loop_looks_again_soon_for_proposals_on_their_way(store, tmp_path):
    waits = []

    class Waiting(Shuffled):
        def wait_any(self, at_most_s=None):
            waits.append(at_most_s)
            return [] if at_most_s and len(waits) % 3 else super().wait_any()

    run(store, runner=Waiting(OBJECTIVE, 20, 0), found=Slow())
    assert list(store.results()) == reference(tmp_path)
    assert waits.count(COMING_SECONDS) > 10
    assert set(waits) <= {COMING_SECONDS, math.inf, None}


def test_the_loop_does_not_look_for_proposals_that_it_has_no_room_for(store):
    waits = []

    class Full(Shuffled):
        free_slots = property(lambda self: 20 - len(self._queue))

        def wait_any(self, at_most_s=None):
            waits.append((self.free_slots, at_most_s))
            return super().wait_any()

    class Ahead:
        coming = True

        def __init__(self):
            self._inner = search(lookahead=64)
            self.ask, self.tell = self._inner.ask, self._inner.tell

    run(store, runner=Full(OBJECTIVE, 20, 0), found=Ahead())
    assert {at_most for free, at_most in waits if not free} <= {math.inf, None}
    assert (0, math.inf) in waits
    assert waits[-1][1] is None  # nothing more will be asked for
