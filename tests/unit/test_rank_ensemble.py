import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictors.rank import spearman
from predictors.rank_ensemble import InvalidEnsemble, Member, RankEnsemble, Scale, read_ensemble
from predictors.rank_weights import beats_chance, cross_validate, fit_weights

ENSEMBLE = RankEnsemble(
    (Member("zen", 0.75, Scale((1.0, 2.0, 4.0))), Member("mad", 0.25, Scale((5.0, 3.0)))), (1, 8, 8)
)


def test_a_scale_gives_normal_scores_at_its_references():
    scale = Scale((10.0, 30.0, 20.0))
    assert [scale(value) for value in (10.0, 20.0, 30.0)] == pytest.approx([-0.9674216, 0.0, 0.9674216])
    assert scale(25.0) == pytest.approx(0.4837108)
    tied = Scale((1.0, 1.0, 2.0, 3.0))
    assert tied(1.0) == pytest.approx(-0.6744898)  # mid-rank 1.5 of 4: a quarter
    assert Scale((7.0, 7.0))(9.0) == 0.0


@given(
    st.lists(st.integers(-50, 50).map(float), min_size=2, max_size=20).filter(lambda values: len(set(values)) > 1),
    st.lists(st.integers(-500, 500).map(lambda value: value / 4), min_size=2, max_size=10, unique=True),
)
def test_a_scale_rises_strictly_also_far_outside(references, scores):
    scale = Scale(tuple(references))
    found = [scale(score) for score in sorted(scores)]
    assert all(a < b for a, b in itertools.pairwise(found))


def test_an_ensemble_is_a_weighted_sum_and_survives_json():
    assert ENSEMBLE.combine([2.0, 4.0]) == pytest.approx(0.0)
    assert ENSEMBLE.combine([4.0, 5.0]) > ENSEMBLE.combine([4.0, 3.0]) > ENSEMBLE.combine([2.0, 3.0])
    again = RankEnsemble.from_dict(json.loads(json.dumps(ENSEMBLE.to_dict())))
    assert again.combine([3.3, 17.0]) == ENSEMBLE.combine([3.3, 17.0])
    assert again.input_shape == (1, 8, 8)


def test_a_file_or_its_folder_is_read(tmp_path):
    (tmp_path / "trust.json").write_text(json.dumps({"ensemble": ENSEMBLE.to_dict()}))
    assert read_ensemble(tmp_path).to_dict() == read_ensemble(tmp_path / "trust.json").to_dict() == ENSEMBLE.to_dict()


def members(text):
    return f'{{"ensemble": {{"members": [{text}], "input_shape": [1, 8, 8]}}}}'


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file"),
        ("{", "cannot be read as JSON"),
        ("[1]", "not a trust report"),
        ('{"networks": []}', "not a trust report"),
        ('{"ensemble": {"members": [], "reason": "no score beats chance"}}', "holds none: no score beats chance"),
        ('{"ensemble": 3}', "damaged"),
        (members('{"score": "zen"}'), "KeyError: 'weight'"),
        (members('{"score": "zen", "weight": 1, "reference": []}'), "without"),
        (members('{"score": "zen", "weight": -1, "reference": [1]}'), "none below"),
        (members('{"score": "zen", "weight": NaN, "reference": [1]}'), "finite"),
    ],
)
def test_a_broken_file_is_one_line(tmp_path, content, said):
    path = tmp_path / "trust.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InvalidEnsemble, match=said) as caught:
        read_ensemble(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def table(n, seed, *, noises=(0.3, 0.3, 50.0)):
    """Accuracies, and scores that see them through noise of these sizes."""
    rng = np.random.default_rng(seed)
    accuracy = rng.normal(size=n)
    return np.stack([accuracy + noise * rng.normal(size=n) for noise in noises], axis=1), accuracy


def test_weights_are_not_negative_sum_to_one_and_leave_out_what_is_chance():
    scores, accuracy = table(30, 0)
    found = fit_weights(np.column_stack([scores, -accuracy]), accuracy)
    assert found.weights.min() >= 0
    assert found.weights.sum() == pytest.approx(1)
    assert found.weights[:2].min() > 0.3
    assert found.weights[3] == 0  # ranks against the accuracy
    assert not beats_chance(-accuracy, accuracy)
    assert not beats_chance(np.zeros(30), accuracy)


def test_weights_do_not_depend_on_the_scale_of_a_score():
    scores, accuracy = table(30, 1)
    other = np.column_stack([np.exp(scores[:, 0]), 1e6 * scores[:, 1] - 7, scores[:, 2]])
    np.testing.assert_allclose(fit_weights(scores, accuracy).weights, fit_weights(other, accuracy).weights, atol=1e-9)


def test_no_score_that_beats_chance_gives_no_weights():
    rng = np.random.default_rng(0)
    assert not fit_weights(-np.arange(12.0)[:, None] + rng.normal(size=(12, 1)), np.arange(12.0)).weights.any()


def test_two_noisy_views_are_better_than_one_also_on_networks_left_out():
    gains = []
    for seed in range(8):
        scores, accuracy = table(40, seed, noises=(0.8, 0.8, 0.8))
        alone = max(spearman(scores[:, j], accuracy) for j in range(3))
        gains.append(spearman(cross_validate(scores, accuracy), accuracy) - alone)
    assert np.mean(gains) > 0.02


@pytest.mark.slow
def test_a_cross_validated_rho_does_not_flatter_scores_of_pure_chance():
    rng = np.random.default_rng(0)
    found = [spearman(cross_validate(rng.normal(size=(24, 8)), a), a) for a in rng.normal(size=(40, 24))]
    assert abs(np.mean(found)) < 0.12
