"""Conformal intervals: exact ranks, honest refusals, and a regressor like any other."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

from predictors.conformal import (
    ConformalRegressor,
    InvalidCoverage,
    TooFewLabels,
    conformal_quantile,
    rank_needed,
)
from predictors.models.linear import Ridge
from predictors.saving import load

pytestmark = pytest.mark.filterwarnings("ignore:Skipping check")


@parametrize_with_checks(
    [ConformalRegressor(), ConformalRegressor(LinearRegression(), folds=3), ConformalRegressor(method="split")]
)
def test_it_is_a_scikit_learn_regressor(estimator, check):
    check(estimator)  # scikit-learn asserts


def world(n, seed=0, d=5):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    return x, x @ np.arange(1, d + 1) + rng.normal(size=n)


def test_the_quantile_is_an_order_statistic():
    scores = np.arange(1, 20)[::-1]  # 19 scores
    assert conformal_quantile(scores, 0.9) == 18
    assert conformal_quantile(scores, 0.95) == 19
    assert conformal_quantile(scores, 0.5) == 10
    assert rank_needed(9, 0.9) == 9  # rounding of 10 * 0.9 does not ask for the tenth
    assert rank_needed(5, 1e-9) == 1


def test_too_few_labels_are_refused_with_the_number_needed():
    with pytest.raises(TooFewLabels, match=r"needs at least 19; .* at most 0\.923"):
        conformal_quantile(np.ones(12), 0.95)
    x, y = world(12)
    model = ConformalRegressor(Ridge()).fit(x, y)
    model.predict_interval(x, 0.9)
    with pytest.raises(TooFewLabels, match="at least 99"):
        model.predict_interval(x, 0.99)
    with pytest.raises(TooFewLabels, match="at least 2"):
        ConformalRegressor().fit(np.ones((3, 2)), [1.0, 2.0, 3.0])


@pytest.mark.parametrize("coverage", [0, 1, -0.5, 90, float("nan")])
def test_what_is_no_coverage_is_refused(coverage):
    with pytest.raises(InvalidCoverage, match="between 0 and 1"):
        conformal_quantile(np.ones(500), coverage)


@pytest.mark.parametrize("settings", [{"method": "jackknife"}, {"folds": 1}, {"method": "split", "held_out": 1.0}])
def test_settings_that_mean_nothing_are_refused(settings):
    with pytest.raises(ValueError, match="expected"):
        ConformalRegressor(**settings).fit(*world(20))


def test_with_one_model_it_is_split_conformal_by_hand():
    x, y = world(60)
    model = ConformalRegressor(LinearRegression(), method="split", held_out=0.5).fit(x, y)
    assert len(model.scores_) == 30
    radius = conformal_quantile(np.abs(model.scores_), 0.8)
    low, high = model.predict_interval(x, 0.8)
    np.testing.assert_allclose(low, model.predict(x) - radius)
    np.testing.assert_allclose(high, model.predict(x) + radius)


def test_cross_conformal_intervals_are_the_jackknife_plus_by_hand():
    x, y = world(25)
    asked, _ = world(3, seed=1)
    model = ConformalRegressor(LinearRegression(), folds=25).fit(x, y)
    below, above = [], []
    for i in range(25):
        others = np.delete(np.arange(25), i)
        left_out = LinearRegression().fit(x[others], y[others])
        radius = abs(y[i] - left_out.predict(x[i : i + 1])[0])
        below.append(left_out.predict(asked) - radius)
        above.append(left_out.predict(asked) + radius)
    low, high = model.predict_interval(asked, 0.9)
    np.testing.assert_allclose(low, -np.sort(-np.array(below), axis=0)[23])  # ceil(26 * 0.9) = 24
    np.testing.assert_allclose(high, np.sort(above, axis=0)[23])


def test_intervals_are_nested_and_one_sided_bounds_lie_inside():
    x, y = world(80)
    asked, _ = world(20, seed=3)
    model = ConformalRegressor(Ridge()).fit(x, y)
    wide, narrow = model.predict_interval(asked, 0.95), model.predict_interval(asked, 0.5)
    assert (wide[0] <= narrow[0]).all()
    assert (narrow[1] <= wide[1]).all()
    assert (model.lower(asked, 0.9) >= wide[0]).all()
    assert (model.lower(asked, 0.95) <= model.lower(asked, 0.6)).all()


def test_a_stated_spread_makes_intervals_follow_it():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, size=(400, 1))

    class Known(LinearRegression):
        def predict(self, x, return_std=False):
            mean = super().predict(x)
            return (mean, np.where(x[:, 0] > 0, 3.0, 0.3)) if return_std else mean

    y = x[:, 0] + np.where(x[:, 0] > 0, 3.0, 0.3) * rng.normal(size=400)
    model = ConformalRegressor(Known()).fit(x, y)
    low, high = model.predict_interval([[-0.5], [0.5]], 0.9)
    assert (high - low)[1] > 5 * (high - low)[0]
    _, std = model.predict([[-0.5], [0.5]], return_std=True)
    np.testing.assert_allclose(std, [0.3, 3.0], rtol=0.15)  # scores were near standard normal
    _, plain = ConformalRegressor(LinearRegression()).fit(x, y).predict([[-0.5], [0.5]], return_std=True)
    assert plain[0] == pytest.approx(plain[1])


def test_rows_of_one_network_share_a_fold():
    x, y = world(15)
    x, y = np.repeat(x, 4, axis=0), np.repeat(y, 4)
    model = ConformalRegressor(RandomForestRegressor(n_estimators=20, random_state=0), folds=5).fit(x, y)
    assert np.median(np.abs(model.scores_)) > 0.5  # 0 if a network's other rows had been seen


def test_a_saved_one_states_the_same_intervals(tmp_path):
    x, y = world(40)
    model = ConformalRegressor(Ridge()).fit(x, y)
    model.save(tmp_path / "model.skops")
    again = load(tmp_path / "model.skops")
    for ours, theirs in zip(model.predict_interval(x), again.predict_interval(x), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(clone(model).fit(x, y).lower(x), model.lower(x))


def test_many_rows_are_predicted_in_parts(monkeypatch):
    x, y = world(30)
    model = ConformalRegressor(Ridge()).fit(x, y)
    whole = model.predict_interval(x)
    monkeypatch.setattr("predictors.conformal.CHUNK", 100)
    for ours, theirs in zip(model.predict_interval(x), whole, strict=True):
        np.testing.assert_allclose(ours, theirs)
