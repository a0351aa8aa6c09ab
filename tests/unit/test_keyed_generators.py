"""Generators keyed by (seed, number) draw what NumPy's would, whatever is asked of them and in whatever order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.algorithms.keyed import BLOCK, HELD, KeyedGenerators

SEEDS = [0, 7, 2**32 - 1, 2**32, 2**63 - 1]
NUMBERS = [0, 1, BLOCK - 1, BLOCK, 5, 2**32 - 1, 2**32]
DRAWS = st.one_of(
    st.tuples(st.just("integers"), st.tuples(st.sampled_from([1, 2, 3, 9, 1000, 2**31 + 5, 2**32 - 1, 2**32, 2**40]))),
    st.tuples(st.just("integers"), st.tuples(st.integers(-5, 0), st.integers(1, 12))),
    st.tuples(st.just("integers"), st.tuples(st.just(9), st.none(), st.just(3))),
    st.tuples(st.just("random"), st.just(())),
    st.tuples(st.just("random"), st.tuples(st.just(2))),
    st.tuples(st.just("uniform"), st.tuples(st.floats(-4, 0), st.floats(0, 4))),
    st.tuples(st.just("permutation"), st.tuples(st.integers(1, 6))),
    st.tuples(st.just("normal"), st.just(())),
)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("number", NUMBERS)
def test_single_draws_are_those_of_numpy_far_beyond_the_words_held(seed, number):
    got, expected = KeyedGenerators(seed).at(number), np.random.default_rng((seed, number))
    for i in range(3 * HELD):
        choices = 2 + 37 * i
        assert got.integers(choices) == expected.integers(choices)
        assert got.random() == expected.random()


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(SEEDS), st.sampled_from(NUMBERS), st.lists(DRAWS, max_size=40))
def test_any_draws_in_any_order_are_those_of_numpy(seed, number, draws):
    got, expected = KeyedGenerators(seed).at(number), np.random.default_rng((seed, number))
    for name, args in draws:
        assert np.array_equal(getattr(got, name)(*args), getattr(expected, name)(*args))
    states = got.bit_generator.state, expected.bit_generator.state
    assert states[0]["state"] == states[1]["state"]
    assert states[0]["has_uint32"] == states[1]["has_uint32"]


def test_a_number_is_drawn_again_where_the_choices_do_not_divide_the_words():
    choices = 3 * 2**30  # a quarter of all words is unfair
    got, expected = KeyedGenerators(1).at(2), np.random.default_rng((1, 2))
    assert [got.integers(choices) for _ in range(20)] == [int(expected.integers(choices)) for _ in range(20)]


@pytest.mark.parametrize("args", [(0,), (3, 3), (-1,), (2.5,)])
def test_what_numpy_refuses_is_refused(args):
    got, expected = KeyedGenerators(0).at(0), np.random.default_rng((0, 0))
    outcomes = []
    for generator in (got, expected):
        try:
            outcomes.append(int(generator.integers(*args)))
        except ValueError as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]


def test_generators_do_not_disturb_each_other():
    keyed = KeyedGenerators(3)
    first = [keyed.at(4).integers(100) for _ in range(3)]
    keyed.at(9).permutation(5)
    assert first == [keyed.at(4).integers(100)] * 3
