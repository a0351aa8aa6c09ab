import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau, spearmanr

from predictors.rank import (
    InvalidSample,
    draw,
    interval,
    kendall,
    kendall_of,
    spearman,
    spearman_of,
    top_k_regret,
)

LISTS = st.integers(3, 12).flatmap(
    lambda n: st.tuples(*(st.lists(st.integers(-3, 3), min_size=n, max_size=n) for _ in range(2)))
)


def test_known_answers():
    assert spearman([1, 2, 3, 4, 5], [10, 20, 30, 40, 1000]) == pytest.approx(1)
    assert kendall([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    assert spearman([1, 2, 3, 4, 5], [5, 6, 7, 8, 7]) == pytest.approx(0.8207826816681233)  # scipy's documentation
    assert kendall([12, 2, 1, 12, 2], [1, 4, 7, 1, 0]) == pytest.approx(-0.47140452079103173)  # the same


@given(LISTS)
def test_ties_are_treated_as_scipy_does(lists):
    a, b = (np.array(values, dtype=float) for values in lists)
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        assert np.isnan(spearman(a, b))
        assert np.isnan(kendall(a, b))
        return
    assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic, abs=1e-9)
    assert kendall(a, b) == pytest.approx(kendalltau(a, b).statistic, abs=1e-9)


@given(LISTS, st.integers(0, 99))
@settings(max_examples=30)
def test_a_resample_by_counts_is_the_resample_itself(lists, seed):
    a, b = (np.array(values, dtype=float) for values in lists)
    counts = draw(len(a), resamples=3, seed=seed)
    for i, row in enumerate(counts):
        picked = np.repeat(np.arange(len(a)), row.astype(int))
        assert spearman_of(a, b, counts)[i] == pytest.approx(spearman(a[picked], b[picked]), nan_ok=True)
        assert kendall_of(a, b, counts)[i] == pytest.approx(kendall(a[picked], b[picked]), nan_ok=True)


def test_an_order_does_not_depend_on_the_order_of_the_items_nor_on_the_scale():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 20))
    mixed = rng.permutation(20)
    for of in (spearman, kendall):
        assert of(a[mixed], b[mixed]) == pytest.approx(of(a, b))
        assert of(np.exp(a), 7 * b - 3) == pytest.approx(of(a, b))
        assert of(-a, b) == pytest.approx(-of(a, b))


def test_draws_are_resamples_and_functions_of_the_seed():
    counts = draw(9, resamples=50, seed=3)
    assert counts.shape == (50, 9)
    assert (counts.sum(axis=1) == 9).all()
    assert (draw(9, resamples=50, seed=3) == counts).all()
    assert (draw(9, resamples=50, seed=4) != counts).any()


def test_an_interval_holds_its_estimate_and_shrinks_with_the_sample():
    rng = np.random.default_rng(1)
    widths = []
    for n in (20, 320):
        a = rng.normal(size=n)
        b = a + rng.normal(size=n)
        found = interval(lambda counts, a=a, b=b: spearman_of(a, b, counts), draw(n))
        assert found.low < found.value < found.high
        widths.append(found.high - found.low)
    assert widths[1] < 0.5 * widths[0]


def test_a_statistic_that_is_never_defined_has_no_interval():
    found = interval(lambda counts: spearman_of([1, 1, 1], [1, 2, 3], counts), draw(3))
    assert np.isnan([found.value, found.low, found.high]).all()


@pytest.mark.slow
@pytest.mark.parametrize("strength", [0.0, 1.0, 3.0])
def test_intervals_hold_the_true_rho_about_as_often_as_they_say(strength):
    """Percentile intervals of 24 items; the truth from a sample of 100,000."""
    rng = np.random.default_rng(5)

    def sample(n):
        a = rng.normal(size=n)
        return a, strength * a + rng.normal(size=n)

    a, b = sample(100_000)
    truth, hits = spearmanr(a, b).statistic, 0
    for i in range(400):
        a, b = sample(24)
        counts = draw(24, resamples=500, seed=i)
        found = interval(lambda counts, a=a, b=b: spearman_of(a, b, counts), counts)
        hits += found.low <= truth <= found.high
    assert 0.88 <= hits / 400 <= 0.985


def test_regret_is_what_the_best_would_have_given():
    scores, truth = [3, 2, 1, 0], [0.5, 0.9, 0.7, 1.0]
    assert top_k_regret(scores, truth, 1) == pytest.approx(0.5)
    assert top_k_regret(scores, truth, 2) == pytest.approx(0.1)
    assert top_k_regret(scores, truth, 4) == 0
    assert top_k_regret([1, 1, 1, 1], truth, 1) == pytest.approx(0.5)  # the least lucky of equals


@pytest.mark.parametrize(("a", "b"), [([1], [1]), ([1, 2], [1, 2, 3]), ([1, np.nan], [1, 2]), ([1, 2], [np.inf, 2])])
def test_what_has_no_order_is_refused(a, b):
    with pytest.raises(InvalidSample, match="expected"):
        spearman(a, b)
    with pytest.raises(InvalidSample):
        kendall(a, b)


@pytest.mark.parametrize("k", [0, 3])
def test_a_regret_of_no_item_is_refused(k):
    with pytest.raises(InvalidSample, match="expected 1 to"):
        top_k_regret([1, 2], [1, 2], k)
