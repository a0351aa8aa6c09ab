"""Sorting, crowding and selection of NSGA-II, and that it finds a front."""

from itertools import pairwise
from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.counts import count
from nas.algorithms.nsga2 import NSGA2, _Member, _select, crowding_distance, fronts
from nas.algorithms.random import RandomSearch
from nas.pareto import pareto_front
from nas.records import Candidate, Failure, Success
from predictors.proxies import zen_score
from search_spaces import SPACES

SPACE = SPACES["zen-tiny"]
rows = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=30)


@given(rows)
def test_every_front_is_dominated_by_the_one_before_and_not_by_itself(costs):
    costs = np.array(costs, dtype=np.float64)
    found = fronts(costs)
    assert sorted(np.concatenate(found)) == list(range(len(costs)))

    def beats(a, b):
        return (costs[a] <= costs[b]).all() and (costs[a] < costs[b]).any()

    for front in found:
        assert not any(beats(a, b) for a in front for b in front)
    for better, worse in pairwise(found):
        assert all(any(beats(a, b) for a in better) for b in worse)


def test_crowding_is_the_box_between_the_neighbours():
    costs = np.array([[0.0, 4.0], [1.0, 2.0], [4.0, 0.0], [2.0, 1.0]])
    np.testing.assert_allclose(crowding_distance(costs), [inf, 2 / 4 + 3 / 4, inf, 3 / 4 + 2 / 4])
    np.testing.assert_allclose(crowding_distance(np.zeros((3, 2))), [inf, 0, inf])


def member(number, costs, violation=0.0):
    return _Member(Candidate(number, SPACE.seed), costs, violation)


def test_feasible_comes_before_infeasible_and_the_ends_of_a_front_before_its_middle():
    members = [
        member(0, (), 0.1),
        member(1, (5.0, 5.0)),  # dominated by all of the front
        member(2, (0.0, 3.0)),
        member(3, (1.0, 2.0)),
        member(4, (3.0, 0.0)),
        member(5, (), 0.05),
    ]
    assert [m.candidate.id for m in _select(members, 5)] == [2, 4, 3, 1, 5]


def outcome(candidate):
    costs = count(candidate.arch, (1, 8, 8), 10)
    metrics = {"params": costs.params, "macs": costs.macs, "score": zen_score(candidate.arch, (1, 8, 8))}
    if costs.params > 300_000:
        return Failure(candidate, "rejected", "params", costs.params / 300_000 - 1)
    return Success(candidate, metrics)


def hypervolume(search, n=1500):
    """Area that the front covers, up to 3 MMACs and down from a score of 0."""
    points = []
    while len(points) < n:
        for candidate in search.ask(1):
            result = outcome(candidate)
            search.tell(result)
            success = isinstance(result, Success)
            points.append((result.metrics["macs"] / 3e6, -result.metrics["score"] / 100) if success else (1.0, 0.0))
    costs = np.minimum(np.array(points), [1.0, 0.0])
    front = costs[pareto_front(costs)]
    return float(((np.append(front[1:, 0], 1.0) - front[:, 0]) * -front[:, 1]).sum())


@pytest.mark.slow
def test_its_front_covers_more_than_that_of_random_search():
    ours = hypervolume(NSGA2(SPACE, seed=0, population=50, lookahead=1))
    assert ours > 1.05 * hypervolume(RandomSearch(SPACE, seed=0, lookahead=1))


@pytest.mark.parametrize("objectives", [("score",), ("score", "score"), ("score", "speed")])
def test_wrong_objectives_are_refused(objectives):
    with pytest.raises(ValueError, match="expected two or more different ones of"):
        NSGA2(SPACE, seed=0, objectives=objectives)


def test_an_objective_that_no_candidate_has_is_named():
    search = NSGA2(SPACE, seed=0, objectives=("score", "latency_ms"), lookahead=1)
    search.tell(outcome(search.ask(1)[0]))
    with pytest.raises(ValueError, match="objective 'latency_ms': candidates have only"):
        search.ask(1)
