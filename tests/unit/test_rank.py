import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau, spearmanr

from predictors.rank import (
    InvalidSample,
    coverage_of,
    draw,
    interval,
    kendall,
    kendall_of,
    noise_ceiling,
    pearson_of,
    rmse,
    rmse_of,
    spearman,
    spearman_of,
    tau_in_bins,
    tau_in_bins_of,
    top_k_regret,
    top_k_regret_of,
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


def test_correlations_without_the_matrix_of_pairs_are_the_same(monkeypatch):
    rng = np.random.default_rng(3)
    a, b = rng.integers(0, 9, (2, 60)).astype(float)
    counts = draw(60, resamples=20, seed=1)
    with_matrix = kendall_of(a, b, counts)
    monkeypatch.setattr("predictors.rank.MATRIX", 10)
    np.testing.assert_allclose(kendall_of(a, b, counts), with_matrix)


def test_twenty_thousand_items_have_a_tau():
    rng = np.random.default_rng(0)
    a = rng.normal(size=20_000)
    b = a + rng.normal(size=20_000)
    assert kendall(a, b) == pytest.approx(0.5, abs=0.01)
    assert spearman(a, b) == pytest.approx(0.69, abs=0.01)


def test_pearson_and_errors_of_resamples_are_those_of_the_drawn_items():
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(2, 12)) + 1e6
    counts = draw(12, resamples=4)
    for i, row in enumerate(counts):
        picked = np.repeat(np.arange(12), row.astype(int))
        assert pearson_of(a, b, counts)[i] == pytest.approx(np.corrcoef(a[picked], b[picked])[0, 1], abs=1e-6)
        assert rmse_of(a, b, counts)[i] == pytest.approx(np.sqrt(np.mean((a[picked] - b[picked]) ** 2)))
        assert coverage_of(a - 1, a + 1, b, counts)[i] == pytest.approx(np.mean(np.abs(a[picked] - b[picked]) <= 1))
        assert top_k_regret_of(a, b, 2, counts)[i] == top_k_regret(a[np.unique(picked)], b[np.unique(picked)], 2)
    assert rmse([1, 2], [1, 4]) == pytest.approx(np.sqrt(2))
    assert np.isnan(pearson_of([5.0, 5.0], [1, 2], counts[:1, :2] * 0 + 1)).all()


def test_infinite_intervals_cover_and_nan_ones_are_refused():
    once = np.ones((1, 2))
    assert coverage_of([-np.inf, 1], [np.inf, 2], [5, 5], once) == pytest.approx(0.5)
    with pytest.raises(InvalidSample, match="NaN"):
        coverage_of([np.nan, 1], [1, 2], [5, 5], once)
    with pytest.raises(InvalidSample, match="one length"):
        coverage_of([1], [1, 2], [5, 5], once)


def test_tau_in_bins_does_not_reward_knowing_the_cost():
    rng = np.random.default_rng(4)
    cost = rng.uniform(size=500)
    own = rng.normal(size=500)
    truth = 10 * cost + own
    assert kendall(cost, truth) > 0.7
    assert tau_in_bins(cost, truth, cost, bins=50) < 0.2
    assert tau_in_bins(own, truth, cost, bins=50) > 0.8
    assert tau_in_bins(own, truth, np.zeros(500)) == pytest.approx(kendall(own, truth))
    counts = draw(500, resamples=50)
    found = interval(lambda c: tau_in_bins_of(own, truth, cost, c), counts)
    assert found.low < found.value < found.high


def test_tau_in_bins_weighs_bins_by_their_items_and_refuses_too_many():
    cost, truth = [1, 1, 1, 2, 2], [1, 2, 3, 1, 2]
    assert tau_in_bins([1, 2, 3, 2, 1], truth, cost, bins=2) == pytest.approx((3 - 2) / 5)
    with pytest.raises(InvalidSample, match="1 to half"):
        tau_in_bins(cost, truth, cost, bins=3)


def test_the_noise_of_repeats_sets_the_ceiling():
    rng = np.random.default_rng(5)
    truth, networks = rng.normal(size=300), np.repeat(np.arange(300), 2)
    for noise, least, most in ((0.01, 0.98, 1.0), (1.0, 0.55, 0.7)):  # two labels halve the variance
        labels = truth[networks] + noise * rng.normal(size=600)
        found = noise_ceiling(labels, networks)
        assert found.networks == found.repeated == 300
        assert found.noise_sd.low < noise < found.noise_sd.high
        assert least < found.kendall.value < most
        means = labels.reshape(300, 2).mean(axis=1)
        assert found.kendall.low < kendall(truth, means) < found.kendall.high
        assert found.spearman.low < spearman(truth, means) < found.spearman.high


def test_labels_that_are_all_noise_have_a_ceiling_near_nothing():
    found = [
        noise_ceiling(np.random.default_rng(seed).normal(size=80), np.arange(80) // 2).kendall for seed in range(6)
    ]
    assert np.mean([one.value for one in found]) < 0.35
    assert all(one.low <= 0.05 for one in found)


def test_without_repeats_there_is_no_ceiling():
    assert noise_ceiling([1, 2, 3], ["a", "b", "c"]) is None
    assert noise_ceiling([1, 2], ["a", "a"]) is None
    with pytest.raises(InvalidSample, match="one network a label"):
        noise_ceiling([1, 2, 3], ["a", "b"])


def test_a_resample_without_items_has_no_statistic():
    nothing = np.zeros((1, 3))
    values = ([1.0, 2.0, 3.0], [1.0, 3.0, 2.0])
    for of in (spearman_of, kendall_of, pearson_of, rmse_of):
        assert np.isnan(of(*values, nothing)).all()
    assert np.isnan(coverage_of(*values, [1.0, 2.0, 2.5], nothing)).all()
