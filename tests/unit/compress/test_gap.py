"""C-GaP and P-GaP: masks at every step, resuming from every epoch, and equal bits on Ray."""

import copy
from dataclasses import replace

import pytest
import torch
from pruning_example import (
    RECIPE,
    SETTINGS,
    assert_equal_states,
    finish,
    make_dataset,
    make_model,
    prunable,
    reweighted,
    start,
)
from torch import nn

from nas.compress.gap import GapSettings, InvalidPruning, gap
from nas.compress.gap.selection import uniform_counts
from nas.compress.gap.workers import Here
from nas.compress.magnitude import GradualSettings, gradual_magnitude
from nas.train.checkpoint import InvalidCheckpoint
from nas.train.distill import Distillation


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("method", ["cyclic", "parallel"])
@pytest.mark.parametrize("distribution", ["uniform", "global"])
@pytest.mark.parametrize("partitioning", ["contiguous", "random"])
def test_masks_hold_at_every_epoch(method, distribution, partitioning):
    settings = replace(SETTINGS, method=method, distribution=distribution, partitioning=partitioning)
    pruning = start(settings)
    sizes = prunable().sizes
    counts = uniform_counts(sizes, 0.8)
    grown_per_round = []
    while pruning.epoch < pruning.epochs:
        before, stage = pruning.masks, pruning.stage
        fine = stage == len(pruning._stages) - 1
        dense = pruning._stages[stage].dense
        for names, masks in zip(dense, pruning.stage_masks(), strict=True):
            assert fine == (not names)
            assert all(bool(masks[name].all()) == (name in names) for name in masks)
        grown_per_round += [names for names in dense if names]
        pruning.train_epoch()
        if pruning.trained is not None:  # in the middle of a step: nothing but the weights has changed
            assert pruning.masks is before
            for training, masks in zip(pruning.trained.trainings, pruning.stage_masks(), strict=True):
                for network in (training.model, training.final):
                    tensors = dict(network.named_parameters())
                    assert all(not tensors[name][~mask].any() for name, mask in masks.items())
                    assert all(
                        tensors[name].count_nonzero() > counts[name] for n in dense for name in n if masks[name].all()
                    )
            continue
        kept = {name: int(mask.sum()) for name, mask in pruning.masks.items()}
        assert sum(kept.values()) == sum(counts.values())
        if distribution == "uniform":
            assert kept == counts
            others = set(sizes) - {name for names in dense for name in names}
            assert all(torch.equal(pruning.masks[name], before[name]) for name in others)
        assert all(not pruning.weights[name][~mask].any() for name, mask in pruning.masks.items())
    assert sorted(name for names in set(grown_per_round) for name in names if partitioning == "contiguous") in (
        [],
        sorted(sizes),
    )
    result = pruning.result()
    assert result.masks.kept == sum(counts.values())
    assert not result.network.training


def test_grown_weights_start_from_zero_and_learn():
    pruning = start()
    for _ in range(2):
        pruning.train_epoch()
    name = pruning._stages[1].dense[0][0]
    gone = ~pruning.masks[name]
    assert not pruning.weights[name][gone].any()
    pruning.train_epoch()
    assert pruning.trained.trainings[0].model.state_dict()[name][gone].count_nonzero() > 0.9 * gone.sum()


def test_layers_that_grow_first_keep_their_given_weights_unless_the_start_is_random():
    given = make_model().state_dict()
    total = sum(uniform_counts(prunable().sizes, 0.8).values())
    for method in ("cyclic", "parallel"):
        pruning = start(replace(SETTINGS, method=method))
        assert_equal_states(pruning.weights, given)
        assert pruning.masks.kept == total
    pruning = start(replace(SETTINGS, start="random"))
    assert pruning.masks.kept == total
    assert all(not pruning.weights[name][~mask].any() for name, mask in pruning.masks.items())
    assert all(torch.equal(pruning.weights[name][mask], given[name][mask]) for name, mask in pruning.masks.items())


def test_every_step_starts_optimiser_and_schedule_anew():
    result = finish(start(replace(SETTINGS, epochs_per_step=3)))
    rates = [epoch.reports[0].learning_rate for epoch in result.curve]
    assert rates[:3] == rates[3:6] == rates[6:9]
    assert [epoch.stage for epoch in result.curve[::3]] == [
        "round 1, partition 1",
        "round 1, partition 2",
        "round 2, partition 1",
        "round 2, partition 2",
        "fine-tuning",
    ]


@pytest.mark.parametrize("method", ["cyclic", "parallel"])
def test_resuming_from_every_epoch_gives_the_same_bits(method, tmp_path):
    settings = replace(SETTINGS, method=method, rounds=1 if method == "cyclic" else 2)
    whole, paths = start(settings), []
    while whole.epoch < whole.epochs:
        paths.append(tmp_path / f"{whole.epoch}.pt")
        whole.save(paths[-1])
        whole.train_epoch()
    expected = whole.result()
    for path in paths:
        again = start(settings)
        again.load(path)
        found = finish(again)
        assert found.curve == expected.curve
        assert_equal_states(found.masks, expected.masks)
        assert_equal_states(found.network.state_dict(), expected.network.state_dict())


def test_a_killed_call_goes_on_from_its_checkpoint(tmp_path):
    class Killed(Exception):
        pass

    def kill(epoch):
        if epoch.epoch == 5:
            raise Killed

    path = tmp_path / "gap.pt"
    arguments = {"settings": SETTINGS, "seed": 1}
    with pytest.raises(Killed):
        gap(make_model(), make_dataset(), RECIPE, checkpoint=path, on_epoch=kill, **arguments)
    seen = []
    again = gap(
        make_model(), make_dataset(), RECIPE, checkpoint=path, on_epoch=lambda e: seen.append(e.epoch), **arguments
    )
    assert seen == [6, 7, 8, 9]
    whole = gap(make_model(), make_dataset(), RECIPE, **arguments)
    assert again.curve == whole.curve
    assert_equal_states(again.network.state_dict(), whole.network.state_dict())


def test_a_checkpoint_of_another_pruning_is_refused(tmp_path):
    pruning = start()
    pruning.save(tmp_path / "a.pt")
    for other in (start(replace(SETTINGS, sparsity=0.7)), start(seed=1), start(recipe=replace(RECIPE, momentum=0.5))):
        with pytest.raises(InvalidCheckpoint, match=r"settings|seed|recipe"):
            other.load(tmp_path / "a.pt")


def deeper(model):
    """The same tensors, another design."""
    model[3].dilation, model[3].padding = (2, 2), (2, 2)
    return model


@pytest.mark.parametrize(("other", "name"), [(reweighted, "initial_weights"), (deeper, "architecture")])
@pytest.mark.parametrize(
    ("prune", "settings"),
    [(gap, SETTINGS), (gradual_magnitude, GradualSettings(sparsity=0.5, epochs=2))],
    ids=["gap", "gradual"],
)
def test_a_checkpoint_of_another_network_is_refused(tmp_path, other, name, prune, settings):
    path, arguments = tmp_path / "a.pt", {"settings": settings, "seed": 0}
    prune(make_model(), make_dataset(), RECIPE, checkpoint=path, **arguments)
    with pytest.raises(InvalidCheckpoint, match=rf"a\.pt: {name} is .+, this training has .+; delete it or") as caught:
        prune(other(make_model()), make_dataset(), RECIPE, checkpoint=path, **arguments)
    assert "\n" not in str(caught.value)


def test_with_one_partition_cyclic_and_parallel_are_one():
    settings = replace(SETTINGS, partitions=1)
    cyclic, parallel = finish(start(settings)), finish(start(replace(settings, method="parallel")))
    assert_equal_states(cyclic.masks, parallel.masks)
    assert_equal_states(cyclic.network.state_dict(), parallel.network.state_dict())
    assert cyclic.training_macs == parallel.training_macs


def test_copies_are_put_together_by_owner_and_norms_recalibrated():
    norms_before = []
    pruning = start(replace(SETTINGS, method="parallel", epochs_per_step=1))
    stage = pruning._stages[0]
    here = Here(pruning._job, one_thread=True)
    pruning._running = pruning._several = here
    pruning._running = pruning._begin()
    pruning.train_epoch()
    copies = here.weights()
    for name, value in pruning.weights.items():
        if "running" in name or "num_batches" in name:
            norms_before.append(torch.equal(value, copies[stage.owner[name]][name]))
            continue
        mask = pruning.masks.get(name, torch.ones_like(value, dtype=torch.bool))
        assert torch.equal(value[mask], copies[stage.owner[name]][name][mask])
    assert not any(norms_before)
    assert {0, 1} == set(stage.owner.values())


def test_costs_are_those_of_the_formula():
    layers = prunable()
    result = finish(start())
    counts = uniform_counts(layers.sizes, 0.8)
    sparse = layers.macs(counts)
    images = 96
    by_hand = 3 * images * sparse  # fine-tuning
    for stage in start()._stages[:-1]:
        grown = sum(
            layer.positions * (layer.weights - counts[layer.name])
            for layer in layers.layers
            if layer.name in stage.dense[0]
        )
        by_hand += 2 * 3 * images * (sparse + grown)
    assert result.training_macs == by_hand
    assert result.epochs == 9
    assert result.dense_epoch_macs == 3 * images * layers.dense_macs
    parallel = finish(start(replace(SETTINGS, method="parallel")))
    assert parallel.training_macs == by_hand
    assert parallel.epochs == 9
    assert len(parallel.curve) == 5


def test_the_given_network_is_not_changed_and_a_teacher_counts():
    model = make_model()
    before = copy.deepcopy(model.state_dict())
    plain = gap(model, make_dataset(), RECIPE, settings=SETTINGS, seed=0)
    teacher = make_model().eval()
    taught = gap(model, make_dataset(), RECIPE, settings=SETTINGS, seed=0, distillation=Distillation(teacher))
    assert_equal_states(model.state_dict(), before)
    assert model.training
    assert not torch.equal(plain.network[3].weight, taught.network[3].weight)


def test_without_fine_tuning_the_last_prune_recalibrates_norms():
    result = gap(make_model(), make_dataset(), RECIPE, settings=replace(SETTINGS, fine_tune_epochs=0), seed=0)
    norms = [module for module in result.network if isinstance(module, nn.BatchNorm2d)]
    assert all(norm.num_batches_tracked == 1 for norm in norms)  # 96 images in one batch of calibration
    assert result.epochs == 8


def test_gap_learns():
    settings = GapSettings(sparsity=0.7, partitions=2, epochs_per_step=3, rounds=2, fine_tune_epochs=6)
    result = gap(make_model(), make_dataset(), RECIPE, settings=settings, seed=0)
    assert result.top1 > 0.8


@pytest.mark.parametrize(("method", "workers"), [("cyclic", 2), ("parallel", 0)])
def test_workers_that_cannot_be_used_are_refused(method, workers):
    with pytest.raises(InvalidPruning, match=rf"workers={workers}"):
        gap(make_model(), make_dataset(), RECIPE, settings=replace(SETTINGS, method=method), seed=0, workers=workers)
