"""Evaluation: folds that keep networks together, statistics that pooling cannot spoil, baselines beside."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau, spearmanr
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LinearRegression

from predictors.conformal import ConformalRegressor
from predictors.evaluation import (
    InvalidLabels,
    TooFewRows,
    cross_validate,
    learning_curve,
    repeated_folds,
    report_data,
)
from predictors.evaluation.baseline import baseline_columns, choose_baseline
from predictors.evaluation.out_of_fold import InvalidPrediction
from predictors.evaluation.statistics import kendall_within, resampling
from predictors.models.linear import Ridge


def world(n, noise=1.0, seed=0, d=6):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    return x, x @ np.arange(1, d + 1) + noise * rng.normal(size=n)


def test_each_row_is_tested_once_a_repeat_and_sizes_are_even():
    splits = repeated_folds(23, 5, 3, seed=1)
    assert len(splits) == 15
    for repeat in range(3):
        tests = [test for _, test in splits[5 * repeat : 5 * repeat + 5]]
        np.testing.assert_array_equal(np.sort(np.concatenate(tests)), np.arange(23))
        assert {len(test) for test in tests} == {4, 5}
    for train, test in splits:
        assert not set(train) & set(test)
        assert len(train) + len(test) == 23


def test_folds_are_a_function_of_the_seed_and_repeats_differ():
    first, again, other = (repeated_folds(20, 4, 2, seed=seed) for seed in (0, 0, 1))
    assert all((a[1] == b[1]).all() for a, b in zip(first, again, strict=True))
    assert any((a[1] != b[1]).any() for a, b in zip(first, other, strict=True))
    assert any((a[1] != b[1]).any() for a, b in zip(first[:4], first[4:], strict=True))


def test_labels_of_one_network_stay_together_and_folds_stay_even():
    groups = np.repeat(["a", "b", "c", "d", "e", "f", "g"], [6, 1, 1, 1, 1, 1, 1])
    for train, test in repeated_folds(12, 2, 3, seed=0, groups=groups):
        assert not set(groups[train]) & set(groups[test])
        assert len(test) == 6


def test_fewer_networks_than_folds_are_refused():
    with pytest.raises(TooFewRows, match="4 labelled rows for 5 folds; give at least 5"):
        repeated_folds(4, 5, 1, seed=0)
    with pytest.raises(TooFewRows, match="2 labelled distinct networks for 3 folds"):
        repeated_folds(4, 3, 1, seed=0, groups=[0, 0, 1, 1])
    with pytest.raises(ValueError, match="at least 2 folds"):
        repeated_folds(4, 1, 1, seed=0)
    with pytest.raises(ValueError, match="one entry for each"):
        repeated_folds(4, 2, 1, seed=0, groups=[0, 1])


def test_a_predictor_of_the_mean_is_worth_nothing_not_less():
    x, y = world(31)
    found = cross_validate(DummyRegressor, x, y, folds=5, repeats=2)
    assert np.isnan(found.kendall.value)  # equal predictions in a fold have no order
    assert found.rmse.value == pytest.approx(np.std(y), rel=0.15)
    jitter = cross_validate(Jitter, x, y, folds=10, repeats=20)
    for estimate in (jitter.kendall, jitter.spearman, jitter.pearson):
        assert abs(estimate.value) < 0.2
    pooled = np.mean([spearmanr(row, y).statistic for row in jitter.out_of_fold.mean])
    assert pooled < -0.3  # what correlating the predictions of all folds would have given


class Jitter(DummyRegressor):
    """The mean, and a thousandth of a standard deviation that says nothing."""

    def predict(self, x):
        mean = super().predict(x)
        return mean + 1e-3 * np.random.default_rng(len(x)).normal(size=len(mean))


def test_what_pooling_would_spoil_is_not_given():
    x, y = world(40)
    found = cross_validate(Ridge, x, y, folds=13, repeats=2)
    assert np.isfinite([found.kendall.value, found.spearman.value, found.pearson.value]).all()
    assert np.isnan(found.top_k_regret.value)
    assert any("no regret" in note for note in found.notes)
    assert found.to_dict()["top_k_regret"]["value"] is None


@pytest.mark.slow
def test_rho_of_small_folds_is_that_of_many_networks():
    x, y = world(400, noise=8.0, seed=3)
    large = cross_validate(LinearRegression, x, y, folds=5, repeats=3)
    small = cross_validate(LinearRegression, x, y, folds=66, repeats=3)
    assert small.spearman.value == pytest.approx(large.spearman.value, abs=0.03)


def test_leave_one_out_is_refused():
    x, y = world(12)
    with pytest.raises(TooFewRows, match="at most 6 folds"):
        cross_validate(Ridge, x, y, folds=12)


def test_tau_is_the_mean_of_the_folds_and_large_folds_give_all_statistics():
    x, y = world(100, noise=4.0)
    found = cross_validate(LinearRegression, x, y, folds=5, repeats=1, seed=2)
    taus, rhos = [], []
    for train, test in repeated_folds(100, 5, 1, seed=2):
        predicted = LinearRegression().fit(x[train], y[train]).predict(x[test])
        taus.append(kendalltau(predicted, y[test]).statistic)
        rhos.append(pd.Series(predicted).corr(pd.Series(y[test]), method="spearman"))
    assert found.kendall.value == pytest.approx(np.mean(taus))
    assert found.spearman.value == pytest.approx(np.mean(rhos))
    for estimate in (found.kendall, found.spearman, found.pearson, found.rmse):
        assert estimate.low < estimate.value < estimate.high
    assert (found.k, found.rows, found.networks, found.folds, found.repeats) == (10, 100, 100, 5, 1)
    assert found.coverage is None  # nothing was stated
    assert found.ceiling is None


def test_the_same_call_gives_the_same_result():
    x, y = world(40)
    assert cross_validate(Ridge, x, y) == cross_validate(Ridge, x, y)
    assert cross_validate(Ridge, x, y) != cross_validate(Ridge, x, y, seed=1)


@pytest.mark.parametrize("kind", [np.asarray, pd.DataFrame, list])
def test_anything_with_rows_will_do(kind):
    x, y = world(30)
    expected = cross_validate(Ridge, x, y, costs=x[:, 0])
    found = cross_validate(Ridge, kind(x), y, costs=x[:, 0])
    assert (found.kendall, found.tau_in_bins, found.baseline) == (expected.kendall, expected.tau_in_bins, "cost")
    assert found.rmse.value == pytest.approx(expected.rmse.value)


def test_stated_intervals_are_checked_against_labels_that_were_not_seen():
    x, y = world(200)
    assert 0.84 < cross_validate(Ridge, x, y).coverage.value < 0.96
    assert 0.84 < cross_validate(lambda: ConformalRegressor(Ridge()), x, y, repeats=1).coverage.value < 0.96

    class Boastful(Ridge):
        def _estimate_with_std(self, features):
            mean, std = super()._estimate_with_std(features)
            return mean, std / 3

    assert cross_validate(Boastful, x, y).coverage.high < 0.6


def test_intervals_that_few_labels_cannot_state_are_left_out():
    x, y = world(10)
    assert cross_validate(lambda: ConformalRegressor(Ridge()), x, y).coverage is None


def test_the_baseline_is_chosen_on_the_training_rows_with_its_sign():
    x, y = world(80, noise=2.0)
    costs = pd.DataFrame({"params": x[:, 0], "macs": -x[:, 5], "constant": 1.0})
    found = cross_validate(Ridge, x, y, costs=costs)
    assert found.baseline == "macs"
    assert 0.3 < found.baseline_kendall.value < found.kendall.value
    assert found.kendall_gain.value == pytest.approx(found.kendall.value - found.baseline_kendall.value)
    assert found.kendall_gain.low > 0
    assert found.tau_in_bins.value > 0.5
    without = cross_validate(Ridge, x, y)
    assert without.baseline == "x5"
    assert without.tau_in_bins is None  # a choice is not a cost
    assert cross_validate(Ridge, list(map(tuple, x)), y, costs={"latency": x[:, 3]}).baseline == "latency"


def test_noise_has_no_baseline_by_luck():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 30)), rng.normal(size=60)
    found = cross_validate(Ridge, x, y, repeats=5)
    assert found.baseline_kendall.low < 0 < found.baseline_kendall.high


def test_columns_that_cannot_be_compared_are_left_out():
    table = pd.DataFrame({"op": ["a", "b", "a"], "depth": [1, 2, 3], "gap": [1, np.nan, 2], "same": [7, 7, 7]})
    assert list(baseline_columns(table)) == ["depth"]
    assert list(baseline_columns([("a", 1)] * 3)) == []
    assert list(baseline_columns(table, [3.0, 2.0, 5.0])) == ["cost"]
    assert choose_baseline({"flat": np.ones(3)}, [1, 2, 3], np.arange(3)) is None


def test_repeated_labels_give_a_ceiling_and_count_as_one_network():
    x, truth = world(60, noise=0.0)
    network = np.concatenate([np.arange(60), np.arange(20)])
    y = truth[network] + 2 * np.random.default_rng(2).normal(size=80)
    found = cross_validate(Ridge, x[network], y, groups=network)
    assert (found.rows, found.networks, found.ceiling.repeated) == (80, 60, 20)
    assert found.ceiling.noise_sd.low < 2 < found.ceiling.noise_sd.high
    assert found.kendall.value < found.ceiling.kendall.high


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1.0, np.nan, 2.0, np.inf], "2 of 4 are NaN or infinite, the first in row 1"),
        ([3.0, 3.0, 3.0, 3.0], "all 4 are equal"),
        ([1.0, 2.0], "one label a row"),
    ],
)
def test_labels_that_say_nothing_are_refused(labels, message):
    with pytest.raises(InvalidLabels, match=message):
        cross_validate(Ridge, np.eye(4), labels, folds=2)


def test_a_prediction_that_is_no_number_is_refused():
    class Broken(LinearRegression):
        def predict(self, x):
            return np.full(len(x), np.nan)

    x, y = world(20)
    with pytest.raises(InvalidPrediction, match="Broken predicted"):
        cross_validate(Broken, x, y)


def test_an_evaluation_is_json():
    x, y = world(40)
    data = json.loads(json.dumps(cross_validate(Ridge, x, y, costs=x[:, :2]).to_dict(), allow_nan=False))
    assert {"kendall", "spearman", "rmse", "baseline_kendall", "baseline"} <= set(data)
    assert set(data["kendall"]) == {"value", "low", "high"}


def test_pairs_of_different_cells_do_not_count():
    once = np.ones((1, 4))
    truth = np.array([1.0, 2.0, 3.0, 4.0])
    assert kendall_within(np.array([3.0, 4.0, 1.0, 2.0]), truth, np.array([0, 0, 1, 1]), once) == pytest.approx(1)
    assert np.isnan(kendall_within(truth, truth, np.arange(4), once)).all()


def test_repeats_that_differ_widen_the_interval():
    draws = resampling(50, 4, seed=0, resamples=400)
    same = draws.combine([1.0] * 4, [np.ones(400)] * 4)
    apart = draws.combine([0, 1, 2, 3], [np.full(400, float(i)) for i in range(4)])
    assert (same.low, same.high) == (1, 1)
    assert apart.value == 1.5
    assert apart.low < 0.8
    assert apart.high > 2.2


def test_a_learning_curve_rises_beside_a_baseline_that_does_not():
    x, y = world(200, noise=2.0, d=30)
    curve = learning_curve(Ridge, x, y, costs=x[:, -1], repeats=4)
    assert [point.size for point in curve] == [25, 50, 100, 150]
    assert curve[-1].kendall.value > curve[0].kendall.value + 0.1
    assert curve[-1].rmse.value < 0.6 * curve[0].rmse.value
    assert abs(curve[-1].baseline_kendall.value - curve[0].baseline_kendall.value) < 0.05
    assert all(point.kendall.low < point.kendall.value < point.kendall.high for point in curve)
    assert learning_curve(Ridge, x, y, costs=x[:, -1], repeats=4) == curve


def test_a_learning_curve_never_tests_a_network_that_it_has_learned():
    x, y = world(20)
    x, y, network = np.repeat(x, 3, axis=0), np.repeat(y, 3), np.repeat(np.arange(20), 3)

    class Memory:
        def fit(self, x, y):
            self.known = {row.tobytes() for row in x}

        def predict(self, x):
            assert not self.known & {row.tobytes() for row in x}
            return np.asarray(x)[:, 0]

    points = learning_curve(Memory, x, y, groups=network, sizes=[10, 5], repeats=2)
    assert [point.size for point in points] == [5, 10]
    assert points[0].baseline_kendall.value > 0.2


def test_sizes_that_cannot_be_are_refused():
    x, y = world(30)
    with pytest.raises(TooFewRows, match="2 to 20: 10 of the 30"):
        learning_curve(Ridge, x, y, sizes=[25])
    with pytest.raises(TooFewRows, match="at least 15"):
        learning_curve(Ridge, x[:14], y[:14])
    assert [point.size for point in learning_curve(Ridge, x, y, repeats=1)] == [20]


def test_a_report_holds_everything_as_json():
    x, y = world(60)
    table = pd.DataFrame(x, columns=list("abcdef")).assign(kernel=np.tile([3, 5, 7], 20), macs=x[:, 5])
    model = lambda: ConformalRegressor(Ridge())  # noqa: E731
    found = cross_validate(model, table, y, costs=table[["macs"]], repeats=2)
    curve = learning_curve(model, table, y, repeats=1)
    data = report_data(found, table, y, names=[f"net{i}" for i in range(60)], curve=curve)
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert data["summary"]["baseline"] == "macs"
    assert [row["name"] for row in data["parity"]] == [f"net{i}" for i in range(60)]
    assert data["parity"][7]["actual"] == y[7]
    assert all(row["low"] < row["high"] for row in data["parity"])
    assert [entry["stated"] for entry in data["calibration"]] == [0.5, 0.8, 0.9, 0.95]
    widths = [entry["width"] for entry in data["calibration"]]
    assert widths == sorted(widths)
    assert {entry["choice"] for entry in data["families"]} == {"kernel"}
    assert data["learning_curve"][-1]["size"] == 45


def test_a_report_says_which_choice_is_predicted_badly():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 3, (120, 5)).astype(float)
    y = x @ [1, 2, 1, 0, 1] + 4 * (x[:, 3] == 1) + 0.2 * rng.normal(size=120)  # a line cannot follow x3
    families = report_data(cross_validate(LinearRegression, x, y), x, y)["families"]
    worst = families[0]
    assert (worst["choice"], worst["level"], worst["suspect"]) == ("x3", 1.0, True)
    assert worst["bias"] < -2
    assert not any(entry["suspect"] for entry in families if entry["choice"] != "x3")
    assert sum(entry["networks"] for entry in families if entry["choice"] == "x3") == 120


def test_without_intervals_or_columns_a_report_leaves_them_out():
    x, y = world(30)
    data = report_data(cross_validate(LinearRegression, list(x), y), list(x), y)
    assert (data["calibration"], data["families"], data["learning_curve"]) == ([], [], [])
    assert data["parity"][0]["low"] is None


def test_no_correlation_is_said_to_be_above_1():
    x, y = world(40, noise=2.0)
    found = cross_validate(Ridge, x, y, folds=8, repeats=1)
    assert found.spearman.high == 1  # 1.002 uncut
    assert found.pearson.high <= 1
