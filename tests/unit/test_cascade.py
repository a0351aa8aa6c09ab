"""Cascade bagging: real regressors, no look at labels they were not given, weak labels brought to the true level."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.svm import NuSVR
from sklearn.utils.estimator_checks import check_estimator
from thinning import thinned

from predictors.models.cascade import (
    CascadeBagging,
    InvalidWeakLabels,
    WeakCascade,
    WeakShift,
    WeakShiftRidge,
    calibrate_labels,
)
from predictors.models.cascade.base_learners import UnknownLearner, base_learners
from predictors.models.cascade.first_level import FirstDraw, fit_first_level
from predictors.models.cascade.judges import KernelRidgeJudge, NuSvrJudge
from predictors.models.cascade.noise import with_noisy_copy
from predictors.models.cascade.second_level import SecondDraw, fit_second_level
from predictors.models.linear import BayesianRidge
from predictors.rank import kendall
from predictors.saving import load, save

SMALL = {
    "estimators": 4,
    "second_estimators": 3,
    "folds": 2,
    "learner": "bayesian-ridge",
    "second_learner": "bayesian-ridge",
}
QUICK = CascadeBagging(estimators=4, second_estimators=0, folds=2, learner="bayesian-ridge")
WEIGHTS = "a weight is the chance that a row is drawn, so a row of weight 2 and two rows draw different samples"
UNEQUAL = {
    "check_sample_weight_equivalence_on_dense_data": WEIGHTS,
    "check_sample_weight_equivalence_on_sparse_data": WEIGHTS,
}


def world(seed, true=20, weak=80, width=6, noise=0.1):
    """Weak labels lie 2 below the true ones and are noisy."""
    rng = np.random.default_rng(seed)
    slopes = rng.normal(size=width)
    features = rng.choice([3 / 7, 5 / 7, 1.0], size=(true + weak, width))
    labels = features @ slopes + noise * rng.normal(size=true + weak)
    return features[:true], labels[:true], features[true:], labels[true:] - 2


@pytest.mark.parametrize(
    ("regressor", "expected"),
    [
        (CascadeBagging(**SMALL), UNEQUAL),
        (CascadeBagging(**SMALL | {"learner": "xgboost", "second_estimators": 0}), UNEQUAL),
        (WeakCascade(regressor=CascadeBagging(**SMALL)), UNEQUAL),
        (WeakShift(), {}),
        (WeakShiftRidge(), {}),
    ],
    ids=["cascade", "one level", "weak cascade", "weak shift", "weak shift ridge"],
)
def test_scikit_learn_takes_them_as_its_own(regressor, expected):
    check_estimator(regressor, expected_failed_checks=expected, on_skip=None)


@pytest.mark.parametrize("learner", thinned(base_learners(), 3))
def test_every_base_learner_ranks_and_is_saved_exactly(learner, tmp_path):
    x, y, _, _ = world(0, true=60)
    model = CascadeBagging(**SMALL | {"learner": learner, "second_learner": learner}).fit(x[:40], y[:40])
    assert np.corrcoef(model.predict(x[40:]), y[40:])[0, 1] > 0.4
    save(model, tmp_path / "cascade")
    np.testing.assert_array_equal(load(tmp_path / "cascade").predict(x), model.predict(x))


def test_several_base_learners_are_used_in_turn():
    x, y, _, _ = world(0)
    model = CascadeBagging(**SMALL | {"learner": ("ridge", "extra-trees", "knn")}).fit(x, y)
    assert len({type(one) for one in model._first.models}) == 3
    np.testing.assert_array_equal(clone(model).fit(x, y).predict(x), model.predict(x))


def test_the_noisy_copy_has_the_ratio_asked_for_and_the_same_labels():
    rng = np.random.default_rng(0)
    features = rng.normal(5, [1.0, 100.0, 0.0], (20_000, 3))
    doubled, labels = with_noisy_copy(features, np.arange(20_000.0), 1.0, rng)
    np.testing.assert_array_equal(doubled[:20_000], features)
    np.testing.assert_array_equal(labels[20_000:], labels[:20_000])
    ratio = (doubled[20_000:] - features).var(axis=0)[:2] / features.var(axis=0)[:2]
    np.testing.assert_allclose(10 * np.log10(1 / ratio), 1.0, atol=0.1)
    assert not (doubled[20_000:] - features)[:, 2].any()


def test_what_the_second_level_learns_from_has_not_seen_the_label():
    x, y, _, _ = world(0)
    draw = FirstDraw(models=4, rows=30, share=1.0, snr_db=None, folds=2)
    maker = [base_learners()["xgboost"]]

    def unseen(labels):
        return fit_first_level(x, labels, np.ones(len(y)), maker, draw, np.random.default_rng(0))[1]

    before = unseen(y)
    for row in range(5):
        changed = y.copy()
        changed[row] += 100
        after = unseen(changed)
        np.testing.assert_array_equal(after[row], before[row])
        assert (after != before).any()


class Recorder:
    """Remembers what it was fitted on."""

    def __init__(self, rows, seed):
        self.asked = rows

    def fit(self, x, y):
        self.x, self.y = x, y
        return self

    def predict(self, x):
        return np.zeros(len(x))


def test_first_level_models_draw_rows_and_features_and_leave_a_fold_out():
    x = np.arange(20.0)[:, None] + np.zeros((20, 6))
    draw = FirstDraw(models=9, rows=70, share=0.5, snr_db=1.0, folds=5)
    level, unseen = fit_first_level(x, x[:, 0], np.ones(20), [Recorder], draw, np.random.default_rng(0))
    assert unseen.shape == (20, 2)
    assert len(level.models) == 10  # 9 rounded up to whole columns
    assert len({tuple(chosen) for chosen in level.chosen}) > 3
    for column in (level.models[:5], level.models[5:]):
        left_out = [set(range(20)) - set(model.y.astype(int)) for model in column]
        assert all(len(rows) >= 4 for rows in left_out)
        assert set.union(*left_out) == set(range(20))
    for model in level.models:
        assert model.x.shape == (140, 3) == (model.asked, 3)
        np.testing.assert_array_equal(model.x[:70, 0], model.y[:70])
        assert not np.isin(model.x[70:], x).any()


def test_second_level_models_see_part_of_the_outputs_and_the_components():
    rng = np.random.default_rng(0)
    outputs, x = rng.normal(size=(30, 8)), rng.normal(size=(30, 4)) * [9, 1, 1, 0.1]
    draw = SecondDraw(models=6, share=0.25, components=3)
    level, unseen = fit_second_level(outputs, x - x.mean(axis=0), x[:, 0], np.ones(30), [Recorder], draw, rng)
    assert [model.x.shape for model in level.models] == [(30, 5)] * 6
    assert len({tuple(chosen) for chosen in level.chosen}) > 2
    assert abs(level.directions[0, 0]) > 0.99
    assert np.isfinite(unseen).sum() > 20


def test_weights_are_chances():
    x, y, _, _ = world(0, true=40)
    y[:20] += 10
    light, heavy = np.where(np.arange(40) < 20, 1e-9, 1.0), np.where(np.arange(40) < 20, 1.0, 1e-9)
    model = CascadeBagging(**SMALL)
    assert model.fit(x, y, sample_weight=heavy).predict(x).mean() > 8
    assert clone(model).fit(x, y, sample_weight=light).predict(x).mean() < 2


def test_standard_deviations_are_those_of_new_labels():
    x, y, _, _ = world(3, true=300, noise=0.3)
    model = CascadeBagging(**SMALL)
    means, deviations = model.fit(x[:150], y[:150]).predict(x[150:], return_std=True)
    assert 0.8 < np.sqrt(np.mean((y[150:] - means) ** 2)) / deviations.mean() < 1.2
    assert np.all(deviations >= model.noise_)
    assert model.oob_prediction_.shape == (150,)


@pytest.mark.parametrize("judge", ["nu-svr", "kernel-ridge"])
def test_calibration_brings_weak_labels_to_the_true_level_and_keeps_their_order(judge):
    x, y, weak_x, weak_y = world(1, weak=30)
    found = calibrate_labels(weak_x, weak_y, x, y, judge=judge, bag=QUICK)
    np.testing.assert_allclose(found.shifts, 2, atol=0.3)
    assert np.corrcoef(found.labels, weak_y)[0, 1] > 0.9
    assert set(np.round(found.kept * 10).astype(int)) <= set(range(11))
    assert found.kept.min() < 1
    np.testing.assert_array_equal(np.bincount(found.group), [10, 10, 10])


def test_steps_of_the_calibration_build_on_each_other():
    x, y, weak_x, weak_y = world(2)
    y, weak_y = y + (y > np.median(y)), weak_y + 0.2 * (weak_y > np.median(weak_y))
    shift, groups = (calibrate_labels(weak_x, weak_y, x, y, steps=steps) for steps in ("shift", "groups"))
    np.testing.assert_allclose(shift.labels - weak_y, shift.shifts[0])
    assert groups.shifts[2] > groups.shifts[0] + 0.1
    np.testing.assert_allclose(groups.labels, weak_y + groups.shifts[groups.group])


def test_a_judge_gives_the_error_of_its_model():
    x, y, weak_x, weak_y = world(4)
    points = (weak_x - weak_x.mean(axis=0)) / weak_x.std(axis=0)
    asked = (x - weak_x.mean(axis=0)) / weak_x.std(axis=0)
    middle, unit = weak_y.mean(), weak_y.std()
    tried, changed = np.array([weak_y[3], weak_y[3] + 1]), weak_y.copy()
    said = NuSvrJudge(weak_x, weak_y, x, y).of(weak_y, 3, tried)
    fast = KernelRidgeJudge(weak_x, weak_y, x, y)
    for value, error in zip(tried, said, strict=True):
        changed[3] = value
        by_hand = NuSVR(tol=5e-3).fit(points, (changed - middle) / unit).predict(asked)
        assert error == pytest.approx(np.mean((by_hand - (y - middle) / unit) ** 2), rel=1e-6)
    np.testing.assert_allclose(fast.of(weak_y, 3, tried)[1], fast.of(changed, 3, tried)[1])


def test_cross_validation_calibrates_without_the_labels_held_out():
    x, y, weak_x, weak_y = world(5)
    model = WeakCascade(weak_x, weak_y, CascadeBagging(**SMALL), judge="kernel-ridge", calibration_bag=QUICK)
    before = cross_val_predict(model, x, y, cv=5)
    changed = y.copy()
    changed[:4] += 50  # one fold
    after = cross_val_predict(model, x, changed, cv=5)
    np.testing.assert_array_equal(after[:4], before[:4])
    assert np.all(after[4:] != before[4:])


@pytest.mark.parametrize("kind", [WeakCascade, WeakShiftRidge])
def test_weak_labels_help_where_true_ones_are_few(kind):
    settings = {"regressor": CascadeBagging(**SMALL), "steps": "groups"} if kind is WeakCascade else {}
    gains = []
    for seed in range(5):
        x, y, weak_x, weak_y = world(seed, true=110)
        alone, both = (kind(*weak, **settings).fit(x[:10], y[:10]) for weak in ((None, None), (weak_x, weak_y)))
        error, less = (np.sqrt(np.mean((y[10:] - model.predict(x[10:])) ** 2)) for model in (alone, both))
        gains.append(error - less)
    assert np.mean(gains) > 0


def test_weak_regressors_are_saved_exactly_and_say_how_sure_they_are(tmp_path):
    x, y, weak_x, weak_y = world(6)
    bagged = WeakCascade(weak_x, weak_y, CascadeBagging(**SMALL), judge="kernel-ridge", calibration_bag=QUICK)
    for number, model in enumerate((bagged, WeakShiftRidge(weak_x, weak_y), WeakShift(weak_x, weak_y, NuSVR()))):
        means, deviations = model.fit(x, y).predict(x, return_std=True)
        assert np.all((deviations > 0.05) & (deviations < 2))
        save(model, tmp_path / str(number))
        np.testing.assert_array_equal(load(tmp_path / str(number)).predict(x), means)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"learner": "xgbost"}, UnknownLearner, "base learner 'xgbost', expected one or several of xgboost, forest"),
        ({"learner": ()}, UnknownLearner, "base learner none"),
        ({"folds": 1}, ValueError, "folds=1, expected 2 or more"),
        ({"estimators": 0}, ValueError, "estimators=0, expected 1 or more"),
        ({"draws": 0}, ValueError, "draws=0, expected 1 or more"),
        ({"feature_share": 0.0}, ValueError, "feature_share=0.0, expected above 0, at most 1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, error, message):
    x, y, _, _ = world(0)
    with pytest.raises(error, match=message):
        CascadeBagging(**SMALL | settings).fit(x, y)


@pytest.mark.parametrize(
    ("weak", "message"),
    [
        ((np.ones((5, 6)), None), "weak_X is given, weak_y is not"),
        ((np.ones((5, 4)), np.arange(5.0)), "weak networks have 4 features, the true ones 6"),
        ((np.ones((5, 6)), np.arange(4.0)), "weak labels: 5 networks and 4 finite labels"),
        ((np.ones((3, 6)), np.array([1, np.nan, 2])), "weak labels: 3 networks and 2 finite labels"),
        ((np.ones((2, 6)), np.arange(2.0)), "groups=3, expected 1 to the number of weak labels, 2"),
        ((np.full((5, 6), np.nan), np.arange(5.0)), "weak or true labels: Input contains NaN"),
    ],
)
def test_weak_rows_that_do_not_fit_are_refused(weak, message):
    x, y, _, _ = world(0)
    with pytest.raises(InvalidWeakLabels, match=message):
        WeakCascade(*weak, regressor=CascadeBagging(**SMALL)).fit(x, y)


@pytest.mark.parametrize(("name", "value"), [("steps", "half"), ("judge", "me"), ("true_share", 1.0)])
def test_unknown_choices_of_the_weak_cascade_are_refused(name, value):
    x, y, weak_x, weak_y = world(0)
    with pytest.raises(ValueError, match=f"{name}={value!r}, expected"):
        WeakCascade(weak_x, weak_y, CascadeBagging(**SMALL), calibration_bag=QUICK, **{name: value}).fit(x, y)


def track_2():
    """31 trained networks and 200 with weak labels, in points: kernel / 7 and expansion / 6 of 16 layers."""
    folder = Path(os.environ.get("NETWRIGHT_DATA") or Path(__file__).parents[3] / "shared" / "data") / "cvpr2021_track2"
    if not folder.is_dir():
        pytest.skip(f"no {folder}; set NETWRIGHT_DATA")
    tables = []
    for name in ("trained_31", "weak_200"):
        table = pd.read_csv(folder / f"{name}.csv.gz")
        codes = np.array([[int(part) - 1 for part in arch.split("-")] for arch in table["arch"]])
        pairs = np.stack([np.array([3, 5, 7])[codes // 2] / 7, np.array([3, 6])[codes % 2] / 6], axis=2)
        tables += [pairs.reshape(len(table), -1), 100 * table["accuracy"].to_numpy()]
    return tables


@pytest.mark.slow
def test_labels_calibrated_outside_the_folds_look_better_than_they_are():
    x, y, weak_x, weak_y = track_2()
    leaky = calibrate_labels(weak_x, weak_y, x, y, judge="kernel-ridge").labels
    inside = WeakCascade(weak_x, weak_y, BayesianRidge(), judge="kernel-ridge", calibration_bag=QUICK)
    outside = WeakShiftRidge(weak_x, leaky)
    taus = {"inside": [], "outside": []}
    for seed in range(5):
        folds = KFold(5, shuffle=True, random_state=seed)
        for name, model in (("inside", inside), ("outside", outside)):
            taus[name].append(kendall(cross_val_predict(model, x, y, cv=folds), y))
    assert np.mean(taus["outside"]) > np.mean(taus["inside"]) + 0.1
