"""Acquisition: known values, limits at no uncertainty, and the curse that the bound is against."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from predictors.acquisition import (
    InvalidEstimates,
    caution,
    expected_improvement,
    log_expected_improvement,
    lower_confidence_bound,
    probability_of_improvement,
    thompson_draws,
    winners_curse,
)


@given(st.floats(-30, 8), st.floats(0.01, 100), st.floats(-5, 5))
def test_the_expected_improvement_is_the_integral_in_closed_form(z, std, best):
    mean = best + z * std
    found = expected_improvement([mean], [std], best)[0]
    z = (mean - best) / std
    assert found == pytest.approx((mean - best) * norm.cdf(z) + std * norm.pdf(z), rel=1e-6, abs=1e-14 * std)


def test_the_expected_improvement_is_the_mean_gain_of_many_draws():
    draws = np.maximum(0.3 + 2 * np.random.default_rng(0).normal(size=1_000_000) - 1, 0)
    assert expected_improvement([0.3], [2.0], 1.0)[0] == pytest.approx(draws.mean(), rel=0.01)


def test_far_candidates_keep_their_order():
    mean = -np.array([30.0, 50.0, 999.0, 1001.0, 1e5, 1e8])
    logs = log_expected_improvement(mean, np.ones(6), 0.0)
    assert np.isfinite(logs).all()
    assert (np.diff(logs) < 0).all()
    np.testing.assert_allclose(logs, norm.logpdf(mean) - 2 * np.log(-mean), rtol=1e-4, atol=1e-2)


def test_without_uncertainty_nothing_is_left_to_luck():
    mean, std = [1.0, 0.0, -1.0], np.zeros(3)
    np.testing.assert_array_equal(expected_improvement(mean, std, 0.0), [1, 0, 0])
    np.testing.assert_array_equal(probability_of_improvement(mean, std, 0.0), [1, 0, 0])
    np.testing.assert_array_equal(lower_confidence_bound(mean, std), mean)
    np.testing.assert_array_equal(thompson_draws(mean, std, 2), [mean, mean])
    assert winners_curse(mean, std) == 0
    np.testing.assert_allclose(expected_improvement([1.0, -1.0], [1e-300, 1e-300], 0.0), [1, 0])


def test_the_probability_of_improvement_is_that_of_the_normal_distribution():
    np.testing.assert_allclose(probability_of_improvement([0, 1], [1, 2], 1.0), [norm.cdf(-1), 0.5])


def test_caution_is_the_median_of_the_greatest_error():
    rng = np.random.default_rng(0)
    for count in (1, 10, 300):
        greatest = rng.normal(size=(20_000, count)).max(axis=1)
        assert caution(count) == pytest.approx(np.median(greatest), abs=0.03)
        assert np.mean(greatest <= caution(count, 0.9)) == pytest.approx(0.9, abs=0.01)
    assert caution(10**12) < np.sqrt(2 * np.log(10**12))


def test_the_bound_of_the_chosen_one_holds_where_its_mean_does_not():
    """100 networks of equal truth, predicted with errors: the best prediction is too high, the bound hardly ever."""
    rng = np.random.default_rng(1)
    std, too_high, above = np.ones(100), [], []
    for _ in range(300):
        mean = rng.normal(size=100)
        too_high.append(mean.max())
        above.append(lower_confidence_bound(mean, std).max() > 0)
    assert np.mean(above) == pytest.approx(0.5, abs=0.1)  # what caution promises
    assert np.mean(too_high) == pytest.approx(winners_curse(np.zeros(100), std), abs=0.1)


def test_the_bound_takes_the_number_of_candidates_or_a_factor():
    mean, std = np.zeros(5), np.ones(5)
    np.testing.assert_allclose(lower_confidence_bound(mean, std), -caution(5))
    np.testing.assert_allclose(lower_confidence_bound(mean, std, candidates=10_000), -caution(10_000))
    np.testing.assert_allclose(lower_confidence_bound(mean, std, 2.0), -2)
    np.testing.assert_allclose(lower_confidence_bound(mean, std, -2.0), 2)


def test_the_curse_grows_with_candidates_and_vanishes_for_a_clear_winner():
    curses = [winners_curse(np.zeros(count), np.ones(count)) for count in (1, 10, 1000)]
    assert abs(curses[0]) < 0.1
    assert curses[1] == pytest.approx(1.54, abs=0.1)
    assert curses[2] == pytest.approx(3.24, abs=0.1)
    assert abs(winners_curse(np.array([100.0, 0, 0]), np.ones(3))) < 0.1


def test_the_curse_of_hopeless_candidates_is_not_played():
    few = winners_curse(np.zeros(20), np.ones(20), seed=3)
    many = winners_curse(np.append(np.zeros(20), np.full(5000, -50.0)), np.ones(5020), seed=3)
    assert many == few


def test_draws_choose_networks_as_often_as_they_may_be_best():
    best = thompson_draws([0.0, 1.0], [1.0, 1.0], 20_000, seed=1).argmax(axis=1)
    assert best.mean() == pytest.approx(norm.cdf(1 / np.sqrt(2)), abs=0.02)
    np.testing.assert_array_equal(thompson_draws([0.0], [1.0], 3, seed=1), thompson_draws([0.0], [1.0], 3, seed=1))


@pytest.mark.parametrize(
    ("mean", "std"), [([1.0, 2.0], [1.0]), ([1.0], [-1.0]), ([np.nan], [1.0]), ([1.0], [np.inf]), ([[1.0]], [[1.0]])]
)
def test_what_are_no_estimates_is_refused(mean, std):
    for of in (expected_improvement, probability_of_improvement):
        with pytest.raises(InvalidEstimates):
            of(mean, std, 0.0)
    for of in (lower_confidence_bound, winners_curse):
        with pytest.raises(InvalidEstimates):
            of(mean, std)


def test_no_candidates_have_no_best():
    with pytest.raises(InvalidEstimates, match="at least 1"):
        winners_curse([], [])
    with pytest.raises(InvalidEstimates, match="at least 1 candidate"):
        caution(0)
