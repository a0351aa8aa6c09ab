import numpy as np
import pytest
import xgboost
from sklearn.base import clone
from sklearn.utils.estimator_checks import check_estimator

from predictors.models.stumps import BoostedStumps
from predictors.models.tree_arrays import Stumps, Trees
from predictors.rank import kendall
from predictors.saving import load

DRAWN = "folds, resamples and the rows of a tree are drawn by row, so a weight of 2 is not two rows"


def steps(count: int = 200, noise: float = 0.3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A sum of steps of numbers and choices."""
    rng = np.random.default_rng(seed)
    rows = np.hstack([rng.integers(0, 2, (count, 6)), rng.normal(size=(count, 2))]).astype(float)
    return rows, rows[:, :6] @ np.arange(6) + 3 * (rows[:, 6] > 0.5) + rng.normal(0, noise, count)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_flat_arrays_say_what_xgboost_says(depth):
    rows, labels = steps()
    settings = {"max_depth": depth, "eta": 0.1, "base_score": 0.0, "nthread": 1}
    grown = [xgboost.train(settings, xgboost.DMatrix(rows, labels + k), 30 + k) for k in range(3)]
    arrays = Stumps.of(grown) if depth == 1 else Trees.of(grown, depth)
    expected = np.stack([booster.predict(xgboost.DMatrix(rows)) for booster in grown], axis=1)
    np.testing.assert_allclose(arrays.predict(rows), expected, atol=1e-4)
    np.testing.assert_allclose(arrays.first.predict(rows)[:, 0], expected[:, 0], atol=1e-4)
    assert arrays.predict(rows[:0]).shape == (0, 3)


@pytest.mark.slow  # the contract has the default depth
@pytest.mark.parametrize("depth", [1, 2])
def test_it_is_a_regressor_of_scikit_learn(depth):
    failing = {f"check_sample_weight_equivalence_on_{kind}_data": DRAWN for kind in ("dense", "sparse")}
    model = BoostedStumps(depth, rounds=60, bag=2)
    check_estimator(model, expected_failed_checks=failing, on_skip=None)


def test_it_learns_steps_and_says_how_sure_it_is():
    rows, labels = steps()
    unseen, truth = steps(seed=1)
    model = BoostedStumps().fit(rows, labels)
    means, deviations = model.predict(unseen, return_std=True)
    assert kendall(means, truth) > 0.9
    assert 0.2 < model.noise_ < 0.6
    assert 0.8 < np.mean(np.abs(means - truth) < 1.645 * deviations) < 0.99
    assert model.rounds_ < model.most_rounds


def test_deeper_trees_learn_interactions():
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 2, (400, 5)).astype(float)
    labels = (rows[:, 0] != rows[:, 1]) + 0.1 * rng.normal(size=400)
    alone, pairs = (BoostedStumps(depth, rounds=100).fit(rows[:200], labels[:200]) for depth in (1, 2))
    assert pairs.score(rows[200:], labels[200:]) > 0.8 > alone.score(rows[200:], labels[200:]) + 0.5


def test_contributions_add_up_to_the_prediction():
    rows, labels = steps()
    model = BoostedStumps(rounds=50).fit(rows, labels)
    added = model.contributions(rows)
    assert added.shape == rows.shape
    np.testing.assert_allclose(added.sum(axis=1) + model.predict(rows).mean(), model.predict(rows))
    assert added[:, 5].std() > 5 * added[:, 0].std()  # its step is 5, that of the other is 0


def test_the_same_seed_gives_the_same_model_and_a_file_keeps_it(tmp_path):
    rows, labels = steps()
    model = BoostedStumps(rounds=40).fit(rows, labels)
    again = clone(model).fit(rows, labels)
    model.save(tmp_path / "stumps")
    for other in (again, load(tmp_path / "stumps")):
        np.testing.assert_array_equal(other.predict(rows, return_std=True), model.predict(rows, return_std=True))


def test_few_rows_and_equal_labels_are_no_obstacle():
    rows, labels = steps(5)
    means, deviations = BoostedStumps().fit(rows, labels).predict(rows, return_std=True)
    assert np.isfinite(means).all()
    assert (deviations > 0).all()
    np.testing.assert_allclose(BoostedStumps(rounds=5).fit(rows, np.full(5, 2.0)).predict(rows), 2.0)


@pytest.mark.parametrize("wrong", [{"depth": 4}, {"bag": 1}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        BoostedStumps(**wrong).fit(*steps(20))
