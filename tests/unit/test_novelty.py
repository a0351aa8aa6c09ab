"""Novelty: silent on networks drawn as the training networks were, loud on others."""

import warnings

import numpy as np
import pytest

from predictors.novelty import InvalidFeatures, Novelty, NoveltyWarning


def one_hot(n, rng, odds=(1, 1, 1), places=15):
    """Networks of 15 places with three choices each."""
    shares = np.array(odds) / sum(odds)
    return np.eye(3)[rng.choice(3, size=(n, places), p=shares)].reshape(n, -1)


KINDS = {
    "choices": one_hot,
    "normal": lambda n, rng: rng.normal(size=(n, 8)),
    "heavy tails": lambda n, rng: rng.standard_t(3, size=(n, 4)),
    "few networks": lambda n, rng: rng.integers(0, 3, (n, 4)).astype(float),
    "rare choices": lambda n, rng: (rng.random((n, 30)) < 0.03).astype(float),
}


@pytest.mark.parametrize("kind", KINDS)
def test_networks_of_the_same_kind_raise_no_alarm(kind):
    unlike = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        novelty = Novelty().fit(KINDS[kind](40, rng))
        unlike.append(novelty.judge(KINDS[kind](60, rng)).unlike)
    assert sum(unlike) <= 2  # 1 % of 40; more than 2 happen once in 130


@pytest.mark.parametrize("kind", KINDS)
def test_p_values_of_the_same_kind_are_small_as_often_as_they_say(kind):
    small = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        small.append((Novelty().fit(KINDS[kind](60, rng)).score(KINDS[kind](100, rng)) <= 0.1).mean())
    assert np.mean(small) < 0.12


def test_networks_of_another_kind_are_named():
    rng = np.random.default_rng(0)
    novelty = Novelty().fit(one_hot(60, rng))
    with pytest.warns(NoveltyWarning, match="30 of 30 networks lie outside .*about 1 would"):
        verdict = novelty.warn(one_hot(30, rng) + 0.8)
    assert verdict.many
    assert verdict.unlike


def test_a_shifted_batch_is_seen_though_each_network_passes():
    rng = np.random.default_rng(1)
    novelty = Novelty().fit(one_hot(100, rng))
    with pytest.warns(NoveltyWarning, match="drawn from elsewhere"):
        verdict = novelty.warn(one_hot(50, rng, odds=(1, 1, 3)))
    assert verdict.shifted
    assert not verdict.many


def test_one_network_from_far_away_is_enough():
    rng = np.random.default_rng(2)
    novelty = Novelty().fit(rng.normal(size=(50, 4)))
    assert novelty.judge(np.full((1, 4), 20.0)).many
    batch = np.vstack([rng.normal(size=(19, 4)), np.full((1, 4), 1e3)])
    assert novelty.judge(batch).many
    assert novelty.score(batch)[-1] < 1e-4 < 1 / 51 <= novelty.score(batch)[:-1].min() * 51


def test_an_unseen_choice_makes_a_network_farther():
    rng = np.random.default_rng(3)
    known = one_hot(60, rng)
    known = known[known[:, 2] == 0]
    novelty = Novelty().fit(known)
    new = one_hot(40, rng)
    unseen = new[:, 2] == 1
    assert np.median(novelty.score(new[unseen])) < np.median(novelty.score(new[~unseen]))


def test_nothing_is_said_aloud_without_reason():
    rng = np.random.default_rng(4)
    novelty = Novelty().fit(rng.normal(size=(80, 5)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        verdict = novelty.warn(rng.normal(size=(500, 5)))
    assert (verdict.networks, verdict.unlike) == (500, False)
    assert verdict.expected == pytest.approx(500 * 4 / 81)


def test_training_networks_are_not_far_from_themselves():
    known = one_hot(30, np.random.default_rng(5))
    assert (Novelty().fit(known).score(known) > 0.3).all()


def test_the_scale_of_a_feature_does_not_matter():
    rng = np.random.default_rng(6)
    known, new, units = rng.normal(size=(40, 3)), rng.normal(size=(20, 3)), np.array([1e-6, 1.0, 1e9])
    np.testing.assert_allclose(
        Novelty().fit(known).score(new), Novelty().fit(known * units + 7).score(new * units + 7), rtol=1e-3
    )


def test_many_rows_are_scored_in_parts(monkeypatch):
    rng = np.random.default_rng(7)
    known, new = rng.normal(size=(2, 40, 3))
    whole = Novelty().fit(known).score(new)
    monkeypatch.setattr("predictors.novelty.CHUNK", 100)
    np.testing.assert_allclose(Novelty().fit(known).score(new), whole, rtol=1e-4)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ([[1.0, 2.0]], "at least 2"),
        ([[1.0, 2.0], [1.0, 2.0]], "at least 2"),
        ([1.0, 2.0], r"expected \(networks, features\)"),
        ([[1.0], [np.nan]], "finite"),
    ],
)
def test_what_says_nothing_of_the_usual_is_refused(features, message):
    with pytest.raises(InvalidFeatures, match=message):
        Novelty().fit(features)


def test_features_of_another_width_are_refused():
    novelty = Novelty().fit(np.eye(3))
    with pytest.raises(InvalidFeatures, match=r"expected \(networks, 3\)"):
        novelty.score(np.eye(2))
    with pytest.raises(InvalidFeatures, match="no network"):
        novelty.judge(np.empty((0, 3)))
