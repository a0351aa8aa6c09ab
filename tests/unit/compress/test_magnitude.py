"""Gradual and one-shot magnitude pruning, and training under random masks."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pruning_example import RECIPE, assert_equal_states, make_dataset, make_model, prunable

from nas.compress.gap import InvalidPruning
from nas.compress.gap.selection import uniform_counts
from nas.compress.gap.workers import Job
from nas.compress.magnitude import (
    GradualPruning,
    GradualSettings,
    OneShotSettings,
    cubic_sparsity,
    gradual_magnitude,
    one_shot_magnitude,
    pruning_steps,
)
from nas.compress.static_masks import StaticSettings, static_masks

GRADUAL = GradualSettings(sparsity=0.8, epochs=6, begin=0.2, end=0.7, prunings=5)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def gradual(settings=GRADUAL):
    model, dataset = make_model(), make_dataset()
    return GradualPruning(Job(model, dataset, RECIPE, "cpu"), prunable(), settings, 0)


def test_the_cubic_schedule_is_the_published_one():
    assert cubic_sparsity(0, 0.1, 0.9) == pytest.approx(0.1)
    assert cubic_sparsity(0.5, 0.0, 0.8) == pytest.approx(0.8 * (1 - 0.125))
    assert cubic_sparsity(1, 0.1, 0.9) == 0.9


def test_prunings_are_evenly_spread_and_end_at_the_sparsity():
    steps = pruning_steps(replace(GRADUAL, prunings=10, begin=0.1, end=0.6), 1000)
    assert list(steps) == list(range(100, 601, 50))
    assert steps[100] == 0.0
    assert steps[600] == 0.8
    assert np.all(np.diff(list(steps.values())) > 0)
    assert pruning_steps(replace(GRADUAL, begin=0.0, end=1.0, prunings=100), 3) == {
        1: 0.0,
        2: pytest.approx(0.7),
        3: 0.8,
    }
    assert pruning_steps(GRADUAL, 1) == {1: 0.8}


@pytest.mark.parametrize("distribution", ["uniform", "global"])
def test_gradual_pruning_never_regrows_and_ends_exactly(distribution):
    pruning = gradual(replace(GRADUAL, distribution=distribution))
    total = sum(uniform_counts(prunable().sizes, 0.8).values())
    kept = []
    while pruning.epoch < 6:
        before = pruning.masks
        pruning.train_epoch()
        assert all(not (pruning.masks[name] & ~before[name]).any() for name in before)
        for network in (pruning._training.model, pruning._training.final):
            tensors = dict(network.named_parameters())
            assert all(not tensors[name][~mask].any() for name, mask in pruning.masks.items())
        kept.append(pruning.masks.kept)
    assert kept == sorted(kept, reverse=True)
    assert kept[0] > kept[2] > kept[4] == kept[5] == total
    result = pruning.result()
    assert result.masks.kept == total
    assert 6 * result.dense_epoch_macs > result.training_macs > 0


def test_gradual_pruning_resumes_from_every_epoch(tmp_path):
    whole = gradual()
    for epoch in range(6):
        whole.save(tmp_path / f"{epoch}.pt")
        whole.train_epoch()
    expected = whole.result()
    for epoch in range(6):
        again = gradual()
        again.load(tmp_path / f"{epoch}.pt")
        while again.epoch < 6:
            again.train_epoch()
        found = again.result()
        assert found.curve == expected.curve
        assert_equal_states(found.masks, expected.masks)
        assert_equal_states(found.network.state_dict(), expected.network.state_dict())


def test_gradual_in_one_call_is_the_same_and_leaves_the_model_alone(tmp_path):
    model = make_model()
    before = make_model().state_dict()
    result = gradual_magnitude(model, make_dataset(), RECIPE, settings=GRADUAL, seed=0, checkpoint=tmp_path / "g.pt")
    assert_equal_states(model.state_dict(), before)
    direct = gradual()
    while direct.epoch < 6:
        direct.train_epoch()
    assert_equal_states(result.network.state_dict(), direct.result().network.state_dict())
    assert result.top1 == result.curve[-1].reports[0].validation_top1


def test_one_shot_trains_all_then_prunes_once():
    settings = OneShotSettings(sparsity=0.8, train_epochs=3, fine_tune_epochs=2)
    result = one_shot_magnitude(make_model(), make_dataset(), RECIPE, settings=settings, seed=0)
    layers = prunable()
    counts = uniform_counts(layers.sizes, 0.8)
    total = sum(layers.sizes.values())
    assert [epoch.kept for epoch in result.curve] == [(total,)] * 3 + [(sum(counts.values()),)] * 2
    assert {name: int(mask.sum()) for name, mask in result.masks.items()} == counts
    assert result.training_macs == 3 * 96 * (3 * layers.dense_macs + 2 * layers.macs(counts))
    again = one_shot_magnitude(make_model(), make_dataset(), RECIPE, settings=settings, seed=0)
    assert again.curve == result.curve


def test_one_shot_of_a_trained_network_prunes_its_largest_weights():
    model = make_model()
    settings = OneShotSettings(sparsity=0.5, train_epochs=0, fine_tune_epochs=1)
    result = one_shot_magnitude(model, make_dataset(), RECIPE, settings=settings, seed=0)
    for name, mask in result.masks.items():
        magnitudes = model.state_dict()[name].abs()
        assert magnitudes[mask].min() >= magnitudes[~mask].max()


def test_static_masks_stay_and_differ_by_seed():
    settings = StaticSettings(sparsity=0.8, epochs=2)
    a, b = (static_masks(make_model(), make_dataset(), RECIPE, settings=settings, seed=seed) for seed in (0, 1))
    assert a.masks.kept == b.masks.kept == a.curve[0].kept[0]
    assert any(not torch.equal(a.masks[name], b.masks[name]) for name in a.masks)
    tensors = dict(a.network.named_parameters())
    assert all(not tensors[name][~mask].any() for name, mask in a.masks.items())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: GradualSettings(sparsity=0.5, begin=0.8, end=0.2), r"settings\.begin=0\.8"),
        (lambda: GradualSettings(sparsity=0.5, initial_sparsity=0.6), r"settings\.initial_sparsity=0\.6"),
        (lambda: GradualSettings(sparsity=0.5, epochs=0), r"settings\.epochs=0"),
        (lambda: GradualSettings(sparsity=0.5, prunings=0), r"settings\.prunings=0"),
        (lambda: OneShotSettings(sparsity=0.5, train_epochs=0, fine_tune_epochs=0), "at least one epoch"),
        (lambda: StaticSettings(sparsity=0.5, distribution="global"), "expected 'uniform'"),
    ],
)
def test_settings_out_of_range_are_named(make, words):
    with pytest.raises(InvalidPruning, match=words):
        make()
