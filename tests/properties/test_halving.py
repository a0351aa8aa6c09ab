"""The outcome of a race depends on the accuracies alone, never on who trains faster or first."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.train.halving import Halving


def race(halving, accuracies, broken, rng, workers):
    """Train with ``workers`` at random speeds; returns epochs trained by each candidate."""
    n = halving.candidates
    curves = {}
    failed = set()
    active = list(rng.permutation(n))
    running = []
    for _ in range(10_000):
        ready = [c for c in active if c not in running and decide(halving, c, curves, failed) == "continue"]
        rng.shuffle(ready)
        running += ready[: workers - len(running)]
        if not running:
            break
        candidate = running.pop(rng.integers(len(running)))
        epoch = len(curves.get(candidate, ()))
        if broken.get(candidate) == epoch:
            failed.add(candidate)
        else:
            curves[candidate] = (*curves.get(candidate, ()), accuracies[candidate][epoch])
    else:
        raise AssertionError("the race does not end")
    undecided = [c for c in range(n) if decide(halving, c, curves, failed) != "stop"]
    assert not undecided, f"waiting for ever: {undecided}"
    return [len(curves.get(c, ())) for c in range(n)]


def decide(halving, candidate, curves, failed):
    return halving.verdict(candidate, curves, frozenset(failed))


@settings(deadline=None)
@given(
    n=st.integers(1, 14),
    max_epochs=st.integers(1, 12),
    eta=st.integers(2, 4),
    seed=st.integers(0, 2**32),
    data=st.data(),
)
def test_survivors_do_not_depend_on_timing_workers_ties_or_failures(n, max_epochs, eta, seed, data):
    rng = np.random.default_rng(seed)
    accuracies = rng.integers(0, 4, (n, max_epochs)) / 4  # coarse, so that ties are common
    broken = data.draw(st.dictionaries(st.integers(0, n - 1), st.integers(0, max_epochs - 1), max_size=n))
    halving = Halving(n, max_epochs, eta)
    outcomes = {
        tuple(race(halving, accuracies, broken, rng, workers)) for workers in (1, 2, 3, n + 1) for _ in range(3)
    }
    assert len(outcomes) == 1


@settings(deadline=None)
@given(n=st.integers(1, 14), max_epochs=st.integers(1, 40), seed=st.integers(0, 2**32))
def test_the_survivors_are_those_of_synchronous_halving(n, max_epochs, seed):
    rng = np.random.default_rng(seed)
    accuracies = rng.random((n, max_epochs))
    halving = Halving(n, max_epochs)
    epochs = race(halving, accuracies, {}, rng, workers=3)
    alive = list(range(n))
    for rung, epoch in enumerate(halving.rungs):
        alive.sort(key=lambda c: -accuracies[c][epoch - 1])
        assert all(epochs[c] == epoch for c in alive[halving.places(rung) :])
        alive = alive[: halving.places(rung)]
    assert all(epochs[c] == max_epochs for c in alive)
    assert sum(epochs) == halving.total_epochs


def test_rungs_and_places():
    assert Halving(9, 27).rungs == (3, 9)
    assert [Halving(9, 27).places(k) for k in (0, 1)] == [3, 1]
    assert Halving(1, 27).rungs == ()
    assert Halving(3, 10).rungs == (3,)
    assert Halving(20, 2).rungs == ()  # too short to compare anything on the way
    assert Halving(10, 9).rungs == (1, 3)
    assert Halving(9, 27).total_epochs == 9 * 3 + 3 * 6 + 18


def test_a_verdict_falls_as_soon_as_it_is_certain():
    halving = Halving(3, 9)  # one of three goes on after 3 epochs
    assert halving.verdict(0, {0: (0.1, 0.1, 0.9)}) == "wait"
    assert halving.verdict(0, {0: (0.1, 0.1, 0.9), 1: (0, 0, 0.5)}) == "wait"
    assert halving.verdict(1, {0: (0.1, 0.1, 0.9), 1: (0, 0, 0.5)}) == "stop"
    assert halving.verdict(0, {0: (0.1, 0.1, 0.9), 1: (0, 0, 0.5)}, frozenset({2})) == "continue"
    assert halving.verdict(0, {0: (0.9,) * 9}) == "stop"  # finished


@pytest.mark.parametrize("n", range(2, 30))
def test_few_candidates_leave_one(n):
    halving = Halving(n, 1000)
    assert halving.places(len(halving.rungs) - 1) == 1
    assert len(halving.rungs) == math.ceil(math.log(n, 3) - 1e-9)
