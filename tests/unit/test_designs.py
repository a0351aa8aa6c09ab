"""Designs: determinants no random choice reaches, spread, and what is chosen is a function of the arguments."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictors.designs import InvalidDesign, d_optimal, diverse, v_optimal

DESIGNS = [d_optimal, v_optimal, diverse]


def candidates(m=300, d=6, seed=0):
    return np.random.default_rng(seed).normal(size=(m, d))


def log_det(features, rows, ridge=1.0):
    points = (features - features.mean(axis=0)) / features.std(axis=0)
    points = np.hstack([points, np.ones((len(points), 1))])[rows]
    return np.linalg.slogdet(ridge * np.eye(points.shape[1]) + points.T @ points)[1]


@pytest.mark.parametrize("design", DESIGNS)
@given(seed=st.integers(0, 99), n=st.integers(1, 12), started=st.integers(0, 5))
@settings(max_examples=20, deadline=None)
def test_a_design_is_distinct_new_and_repeatable(design, seed, n, started):
    features = candidates(20, seed=seed)
    start = list(range(started))
    chosen = design(features, n, seed=seed, start=start)
    assert len(set(chosen.tolist()) - set(start)) == n == len(chosen)
    np.testing.assert_array_equal(design(features, n, seed=seed, start=start), chosen)


def mean_variance(features, rows, ridge=1.0):
    points = (features - features.mean(axis=0)) / features.std(axis=0)
    points = np.hstack([points, np.ones((len(points), 1))])
    unknown = ridge * np.eye(points.shape[1]) + points[rows].T @ points[rows]
    return np.trace(points @ np.linalg.inv(unknown) @ points.T) / len(points)


def test_no_random_choice_and_no_exchange_predicts_more_precisely():
    features = candidates()
    chosen = v_optimal(features, 12, seed=0)
    reached = mean_variance(features, chosen)
    rng = np.random.default_rng(1)
    assert reached < 0.9 * min(mean_variance(features, rng.choice(300, 12, replace=False)) for _ in range(300))
    for place in range(12):
        others = np.setdiff1d(np.arange(300), chosen)
        swapped = [mean_variance(features, np.append(np.delete(chosen, place), other)) for other in others]
        assert min(swapped) >= reached * (1 - 1e-5)


def test_no_random_choice_and_no_exchange_has_a_larger_determinant():
    features = candidates()
    chosen = d_optimal(features, 12, seed=0)
    reached = log_det(features, chosen)
    rng = np.random.default_rng(1)
    assert reached > 1 + max(log_det(features, rng.choice(300, 12, replace=False)) for _ in range(300))
    for place in range(12):
        others = np.setdiff1d(np.arange(300), chosen)
        swapped = [log_det(features, np.append(np.delete(chosen, place), other)) for other in others]
        assert max(swapped) <= reached + 1e-5


def test_what_has_a_label_is_not_learned_again():
    features = candidates()
    start = d_optimal(features, 6, seed=0)
    more = d_optimal(features, 6, seed=0, start=start)
    precise = mean_variance(features, np.concatenate([start, v_optimal(features, 6, seed=0, start=start)]))
    both = np.concatenate([start, more])
    rng = np.random.default_rng(2)
    free = np.setdiff1d(np.arange(300), start)
    others = [np.concatenate([start, rng.choice(free, 6, replace=False)]) for _ in range(200)]
    assert log_det(features, both) > max(log_det(features, rows) for rows in others)
    assert precise < min(mean_variance(features, rows) for rows in others)


def test_a_diverse_choice_leaves_no_candidate_far_from_all():
    features = candidates(500, d=2)
    chosen = diverse(features, 20, seed=0)

    def radius(rows):
        return np.linalg.norm(features[:, None] - features[rows][None], axis=2).min(axis=1).max()

    rng = np.random.default_rng(0)
    assert radius(chosen) < min(radius(rng.choice(500, 20, replace=False)) for _ in range(100))
    centre = (features - features.mean(axis=0)) / features.std(axis=0)
    assert chosen[0] == np.argmin((centre**2).sum(axis=1))


@pytest.mark.parametrize("design", DESIGNS)
def test_units_and_constant_features_do_not_matter(design):
    features = candidates()
    other = np.hstack([features * [1e-3, 1, 1, 1, 1, 1e6] + 5, np.ones((300, 1))])
    np.testing.assert_array_equal(design(features, 10, seed=0), design(other, 10, seed=0))


@pytest.mark.parametrize("design", DESIGNS)
def test_equal_candidates_are_told_apart_by_the_seed_alone(design):
    features = np.repeat(np.eye(3), 50, axis=0)
    chosen = design(features, 3, seed=0)
    assert set(chosen // 50) == {0, 1, 2}
    assert any((design(features, 3, seed=seed) != chosen).any() for seed in range(1, 5))
    assert len(set(design(np.ones((9, 2)), 4, seed=0).tolist())) == 4


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize(
    ("features", "n", "start", "message"),
    [
        (np.eye(4), 5, (), "1 to the 4 candidates"),
        (np.eye(4), 0, (), "1 to the 4"),
        (np.eye(4), 3, (0, 1), "1 to the 2"),
        (np.eye(4), 1, (4,), "rows of the 4"),
        (np.eye(4), 1, (-1,), "rows of the 4"),
        (np.ones(4), 1, (), "table of finite numbers"),
        (np.full((4, 2), np.nan), 1, (), "table of finite numbers"),
    ],
)
def test_designs_that_cannot_be_are_refused(design, features, n, start, message):
    with pytest.raises(InvalidDesign, match=message):
        design(features, n, seed=0, start=start)


def test_a_ridge_of_nothing_is_refused():
    with pytest.raises(InvalidDesign, match="ridge=0"):
        d_optimal(np.eye(3), 1, seed=0, ridge=0)
