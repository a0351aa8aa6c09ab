import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal, norm, rankdata
from sklearn.base import clone

from predictors.fidelity import (
    CoKriging,
    CurveFeatures,
    InvalidCurve,
    InvalidPairs,
    rank_preserving,
    sum_of_training_losses,
)
from predictors.fidelity.difference import tuned_difference
from predictors.fidelity.level import Process
from predictors.models.gaussian_process import GaussianProcess
from predictors.rank import kendall
from predictors.saving import load

DATA = Path(os.environ.get("NETWRIGHT_DATA") or Path(__file__).parents[3] / "shared" / "data")
TABLE = DATA / "nasbench201" / "nb201_cifar10.csv.gz"
OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
SHAPES = ("isotonic", "scores", "line")


def two_levels(weak: int = 200, real: int = 25, seed: int = 0):
    """Cheap labels of a smooth function, real ones of half of it and something slower."""
    rng = np.random.default_rng(seed)
    cheap_rows, rows, unseen = (rng.normal(size=(count, 3)) for count in (weak, real, 300))

    def cheap(x):
        return np.sin(2 * x[:, 0]) + x[:, 1] ** 2 + x[:, 2]

    def true(x):
        return 90 + 0.5 * cheap(x) + 0.2 * x[:, 0]

    weak_y = 10 * (cheap(cheap_rows) + rng.normal(0, 0.1, weak))
    return cheap_rows, weak_y, rows, true(rows) + rng.normal(0, 0.02, real), unseen, true(unseen)


def normal_scores(labels):
    return norm.ppf((rankdata(labels) - 0.375) / (len(labels) + 0.25))


@pytest.mark.parametrize("shape", SHAPES)
def test_calibration_keeps_the_order_strictly(shape):
    rng = np.random.default_rng(0)
    weak = rng.normal(size=60)
    real = 93 + np.tanh(weak) + rng.normal(0, 0.3, 60)
    calibrated = rank_preserving(weak, real, shape=shape)
    everywhere = np.sort(np.concatenate([weak, rng.uniform(-9, 9, 300)]))
    assert (np.diff(calibrated(everywhere)) > 0).all()
    assert np.sqrt(np.mean((calibrated(weak) - 93 - np.tanh(weak)) ** 2)) < 0.3
    assert calibrated(weak.reshape(6, 10)).shape == (6, 10)


@pytest.mark.parametrize("shape", SHAPES)
def test_real_labels_that_contradict_leave_the_order_as_it_is(shape):
    weak = np.arange(10.0)
    assert (np.diff(rank_preserving(weak, -weak, shape=shape)(np.linspace(-5, 15, 99))) > 0).all()


def test_isotonic_calibration_takes_equal_cheap_labels_together():
    calibrated = rank_preserving([1.0, 1.0, 2.0, 3.0], [0.0, 2.0, 5.0, 6.0])
    np.testing.assert_allclose(calibrated([1.0, 2.0, 3.0]), [1.0, 5.0, 6.0])


def test_scores_use_the_ranks_of_the_population():
    rng = np.random.default_rng(0)
    score = rng.normal(size=2_000)
    strange = np.exp(3 * score)
    calibrated = rank_preserving(strange[:30], 90 + score[:30], population=strange, shape="scores")
    assert np.median(np.abs(calibrated(strange) - 90 - score)) < 0.05


@pytest.mark.parametrize(
    ("weak", "real", "message"),
    [
        ([1.0], [1.0, 2.0], "one length"),
        ([1.0, np.nan], [1.0, 2.0], "leave those networks out"),
        ([1.0, 1.0], [1.0, 2.0], "1 different cheap labels in 2 pairs"),
    ],
)
def test_pairs_that_say_nothing_are_refused(weak, real, message):
    with pytest.raises(InvalidPairs, match=message):
        rank_preserving(weak, real)


def test_two_levels_beat_each_level_alone():
    weak_x, weak_y, rows, labels, unseen, truth = two_levels()
    both = CoKriging().fit(rows, labels, weak_X=weak_x, weak_y=weak_y)
    means, deviations = both.predict(unseen, return_std=True)
    alone = CoKriging().fit(rows, labels).predict(unseen)
    cheap = CoKriging().fit(weak_x, weak_y).predict(unseen)
    assert kendall(means, truth) > max(kendall(alone, truth), kendall(cheap, truth)) + 0.01
    assert np.mean((means - truth) ** 2) < 0.3 * np.mean((alone - truth) ** 2)
    assert np.mean(np.abs(means - truth) < 2 * deviations) > 0.9
    assert both.ratio_ == pytest.approx(0.05, rel=0.2)
    assert both.weak_noise_ == pytest.approx(1.0, rel=0.3)


def test_one_level_after_the_other_is_the_joint_process():
    weak_x, weak_y, rows, labels, unseen, _ = two_levels(40, 10)
    model = CoKriging().fit(rows, labels, weak_X=weak_x, weak_y=weak_y)
    low, above = model._low, model._above
    cheap, real, new = weak_x - model._shift, rows - model._shift, unseen[:5] - model._shift
    every = np.vstack([cheap, real, new])
    share = np.concatenate([np.ones(40), np.full(15, model._ratio)])
    joint = np.outer(share, share) * low.process.covariance(every, every)
    joint[40:, 40:] += above.covariance(every[40:], every[40:])
    noise = np.concatenate([np.full(40, low.noise), np.full(10, model._noise)])
    told = np.concatenate([(weak_y - weak_y.mean()) / weak_y.std(), (labels - model._middle) / model._unit])
    bearing = np.linalg.solve(joint[:50, :50] + np.diag(noise), joint[:50, 50:])
    means, deviations = model.predict(unseen[:5], return_std=True)
    np.testing.assert_allclose(means, told @ bearing * model._unit + model._middle, rtol=1e-6)
    variance = np.diag(joint[50:, 50:] - joint[50:, :50] @ bearing) + model._noise
    np.testing.assert_allclose(deviations, np.sqrt(variance) * model._unit, rtol=1e-4)


def test_the_difference_is_found_where_the_cheap_function_is_exact():
    rng = np.random.default_rng(0)
    points, cheap = rng.normal(size=(60, 2)), Process("rbf", 1.0, 1.0, 1.0)
    known = rng.multivariate_normal(np.zeros(60), cheap.covariance(points, points) + 1e-9 * np.eye(60))
    slow = Process("rbf", 2.0, 0.1, 0.0).covariance(points, points) + 0.01 * np.eye(60)
    labels = 0.8 * known + rng.multivariate_normal(np.zeros(60), slow)
    ratio, _, noise = tuned_difference(points, labels, np.ones(60), known, np.zeros((60, 60)), cheap)
    assert ratio == pytest.approx(0.8, abs=0.1)
    assert noise == pytest.approx(0.01, rel=0.7)
    assert np.isfinite(multivariate_normal(np.zeros(60), slow).logpdf(labels - ratio * known))


def test_without_cheap_labels_it_is_one_gaussian_process():
    _, _, rows, labels, unseen, _ = two_levels(real=60)
    alone, process = CoKriging().fit(rows, labels), GaussianProcess().fit(rows, labels)
    assert kendall(alone.predict(unseen), process.predict(unseen)) > 0.97
    assert alone.ratio_ == 0
    assert np.isnan(alone.weak_noise_)
    empty = CoKriging().fit(rows, labels, weak_X=np.zeros((0, 3)), weak_y=[])
    np.testing.assert_array_equal(empty.predict(unseen), alone.predict(unseen))


def test_a_file_keeps_both_levels_and_a_copy_finds_them_again(tmp_path):
    weak_x, weak_y, rows, labels, unseen, _ = two_levels()
    model = CoKriging(most_weak=100, most_tuned=50).fit(rows, labels, weak_X=weak_x, weak_y=weak_y)
    again = clone(model).fit(rows, labels, weak_X=weak_x, weak_y=weak_y)
    model.save(tmp_path / "two levels")
    for other in (again, load(tmp_path / "two levels")):
        np.testing.assert_array_equal(other.predict(unseen, return_std=True), model.predict(unseen, return_std=True))


@pytest.mark.parametrize(
    ("weak_x", "weak_y", "message"),
    [
        (np.zeros((2, 3)), None, "together or not at all"),
        (np.zeros((2, 4)), [1.0, 2.0], "4 columns, expected 3 as in X"),
        (np.zeros((2, 3)), [1.0, np.nan], "NaN"),
    ],
)
def test_bad_cheap_labels_are_refused(weak_x, weak_y, message):
    with pytest.raises(ValueError, match=message):
        CoKriging().fit(np.eye(3), [1.0, 2.0, 3.0], weak_X=weak_x, weak_y=weak_y)


def test_sums_of_training_losses():
    curves = np.array([[2.0, 1.0, 0.5], [2.0, 1.5, 1.0]])
    assert sum_of_training_losses(curves[0]) == -3.5
    np.testing.assert_allclose(sum_of_training_losses(curves, last=1), [-0.5, -1.0])
    with pytest.raises(InvalidCurve, match="expected 1 to the 3 epochs"):
        sum_of_training_losses(curves, last=4)


def test_features_of_learning_curves():
    features = CurveFeatures(last=2)
    losses, accuracies = [[2.0, 1.0, 0.5], [2.0, 1.5, 1.25]], [[0.2, 0.6, 0.5], [0.1, 0.2, 0.4]]
    table = features.table(losses=losses, accuracies=accuracies)
    assert table.shape == (2, len(features.names()))
    first = dict(zip(features.names(), table[0], strict=True))
    assert first == pytest.approx(
        {
            "sotl": -3.5, "sotl_last_2": -1.5, "loss_last": 0.5, "loss_slope": -0.5,
            "accuracy_last": 0.5, "accuracy_best": 0.6, "accuracy_slope": -0.1, "accuracy_area": 1.3 / 3,
        }
    )  # fmt: skip
    assert features.names(losses=False) == features.names()[4:]
    np.testing.assert_array_equal(features.table(accuracies=accuracies), table[:, 4:])


@pytest.mark.parametrize(
    ("curves", "message"),
    [
        ({}, "neither losses nor accuracies"),
        ({"losses": [[1.0, 2.0], [1.0]]}, "different lengths"),
        ({"losses": [[1.0, np.inf]]}, "diverged"),
        ({"losses": [1.0, 2.0]}, "expected .networks, epochs."),
        ({"losses": [[]]}, "at least 1 epoch"),
        ({"losses": [[1.0]], "accuracies": [[1.0], [2.0]]}, "losses of 1 networks, accuracies of 2"),
    ],
)
def test_bad_curves_are_refused(curves, message):
    with pytest.raises(InvalidCurve, match=message):
        CurveFeatures().table(**curves)


@pytest.mark.slow
@pytest.mark.skipif(not TABLE.exists(), reason="set NETWRIGHT_DATA to the folder with nasbench201")
def test_short_trainings_help_on_nas_bench_201():
    table = pd.read_csv(TABLE)
    rows = np.array([[float(f"{name}~" in edge) for edge in arch.strip("|").replace("+", "").split("|") if edge
                      for name in OPERATIONS] for arch in table["arch"]])  # fmt: skip
    cheap, real = (normal_scores(table[column]) for column in ("c10_val12", "c10_test200_mean"))
    gains = []
    for seed in range(100, 112):
        order = np.random.default_rng(seed).permutation(len(rows))
        known, weak, asked = order[:50], order[50:850], order[850:1850]
        alone = CoKriging().fit(rows[known], real[known])
        both = CoKriging().fit(rows[known], real[known], weak_X=rows[weak], weak_y=cheap[weak])
        own = kendall(cheap[asked], real[asked])
        gains.append(kendall(both.predict(rows[asked]), real[asked]))
        gains[-1] -= max(own, kendall(alone.predict(rows[asked]), real[asked]))
    assert np.mean(gains) - 2 * np.std(gains, ddof=1) / len(gains) ** 0.5 > 0  # over the better of both, draw by draw
