import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from nas.pareto import pareto_front

tables = st.tuples(st.integers(0, 30), st.integers(1, 3)).flatmap(
    lambda shape: arrays.arrays(np.float64, shape, elements=st.integers(0, 6).map(float))
)


def brute_force(costs):
    """Rows that no row beats; of equal rows the first."""
    kept = []
    for i, row in enumerate(costs):
        beaten = any((other <= row).all() and (other < row).any() for other in costs)
        repeated = any((other == row).all() for other in costs[:i])
        if not beaten and not repeated:
            kept.append(i)
    return kept


@settings(max_examples=300, deadline=None)
@given(tables)
def test_it_is_what_brute_force_finds_sorted_by_cost(costs):
    found = pareto_front(costs)
    assert sorted(found) == brute_force(costs)
    rows = [tuple(costs[i]) for i in found]
    assert rows == sorted(rows)


@given(tables, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_change_the_front(costs, rng):
    order = list(range(len(costs)))
    rng.shuffle(order)
    assert [tuple(costs[i]) for i in pareto_front(costs)] == [
        tuple(costs[order][i]) for i in pareto_front(costs[order])
    ]


@pytest.mark.parametrize("costs", [[[np.nan, 1.0]], [[np.inf, 1.0]], [1.0, 2.0], [[[1.0]]]])
def test_what_is_not_a_finite_table_is_refused(costs):
    with pytest.raises(ValueError, match="expected a finite"):
        pareto_front(np.array(costs))
