"""Training of supernets: which networks a step has, what its gradients are, exact resume, files, refusals."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from nas.train.checkpoint import InvalidCheckpoint
from nas.train.data import load_dataset
from nas.train.distill import soft_loss
from nas.train.fit import TrainingDiverged
from nas.train.images import Dataset, Split
from nas.train.recipe import InvalidRecipe
from nas.train.supernet.file import FACTS, WEIGHTS, InvalidSupernet, load_supernet, save_supernet
from nas.train.supernet.losses import rank_penalties
from nas.train.supernet.parallel import train_supernet_in_parallel
from nas.train.supernet.recipe import SupernetRecipe
from nas.train.supernet.samplers import StepSampler
from nas.train.supernet.shrinking import sort_hidden_channels_
from nas.train.supernet.subnet import evaluate_subnet, extract_subnet
from nas.train.supernet.training import SupernetTraining, train_supernet
from search_spaces import SPACES
from search_spaces.extremes import largest, smallest
from search_spaces.sharing import Sharing
from search_spaces.space import GridSpace
from search_spaces.supernet import Supernet

SMALL: dict[str, Any] = {"epochs": 3, "batch_size": 16, "teacher_epochs": 1, "warmup_epochs": 0, "subnets": 3}
MODES: tuple[dict[str, Any], ...] = (
    {},
    {"sampler": "uniform", "distillation": "none"},
    {"sampler": "fair", "distillation": "none"},
    {"sampler": "fair-sandwich", "prior": "macs"},
    {"distillation": "fixed"},
    {"progressive": "narrow"},
    {"progressive": "shrinking"},
    {"resolutions": (8, 12)},
)
FAST = ({}, {"distillation": "fixed"}, {"progressive": "shrinking"})


def grid(name: str) -> GridSpace:
    space = SPACES[name]
    assert isinstance(space, GridSpace)
    return space


def net(name: str = "vit-tiny", **more: Any) -> Supernet:
    return Supernet(grid(name), num_classes=10, in_channels=1, **more)


@pytest.fixture(scope="module")
def few() -> Dataset:
    """32 training images of digits."""
    whole = load_dataset("digits")

    def cut(split: Split) -> Split:
        return Split(split.images[:32], split.labels[:32])

    return Dataset("few", cut(whole.train), cut(whole.validation), cut(whole.test), whole.classes)


def steps(recipe: SupernetRecipe, space: str = "resnet20-channels", epoch: int = 0, count: int = 8) -> list[list[Any]]:
    return list(StepSampler(grid(space), recipe, seed=3).steps(epoch, count))


def test_a_sandwich_is_the_largest_the_smallest_and_random_ones() -> None:
    space = grid("resnet20-channels")
    for sampler in ("sandwich", "fair-sandwich"):
        found = steps(SupernetRecipe(sampler=sampler, subnets=5))
        assert all(len(archs) == 5 for archs in found)
        assert all(archs[:2] == [largest(space), smallest(space)] for archs in found)
        assert len({arch.digest for archs in found for arch in archs[2:]}) == 24
        assert found == steps(SupernetRecipe(sampler=sampler, subnets=5))
        assert found != steps(SupernetRecipe(sampler=sampler, subnets=5), epoch=1)


def test_fair_sampling_deals_every_choice_equally_often() -> None:
    space = grid("resnet20-channels")
    recipe = SupernetRecipe(sampler="fair", distillation="none", subnets=4)
    archs = [space.values_of(arch) for step in steps(recipe, count=12) for arch in step]  # 48 networks
    sizes = {len(knob.choices) for knob in space.knobs}
    assert len(sizes) > 1  # knobs with few choices go on from packs of their own
    for knob in space.knobs:
        counts = Counter(values[knob.name] for values in archs)
        assert set(counts) == set(knob.choices)
        assert max(counts.values()) - min(counts.values()) <= (0 if 48 % len(knob.choices) == 0 else 1)
        pack = [values[knob.name] for values in archs[: len(knob.choices)]]
        assert len(set(pack)) == len(knob.choices)  # without replacement from the first on
    uniform = steps(SupernetRecipe(sampler="uniform", distillation="none", subnets=4), count=12)
    first = Counter(space.values_of(arch)[space.knobs[0].name] for step in uniform for arch in step)
    assert len(set(first.values())) > 1


def test_narrow_choices_open_one_after_the_other() -> None:
    space = grid("resnet20-channels")
    sampler = StepSampler(space, SupernetRecipe(epochs=20, progressive="narrow"), seed=0)
    wide = space.values_of(largest(space))
    assert sampler.opening.choices(0) == {name: (value,) for name, value in wide.items()}
    before: dict[str, Any] = {}
    for epoch in range(20):
        now = sampler.opening.choices(epoch)
        for name, known in before.items():
            assert set(known) <= set(now[name])
        before = now
    assert before == sampler.opening.choices(10) == {knob.name: knob.choices for knob in space.knobs}
    assert next(sampler.steps(0, 1))[1] == largest(space)  # the smallest of what is open


def test_shrinking_opens_kernels_then_depths_then_the_rest() -> None:
    space = grid("mobilenetv3-tiny-images")
    recipe = SupernetRecipe(epochs=13, teacher_epochs=1, progressive="shrinking")
    sampler = StepSampler(space, recipe, seed=0)
    assert all(step == [largest(space)] for step in sampler.steps(0, 3))
    opened: dict[str, int] = {}
    for epoch in range(13):
        for name, known in sampler.opening.choices(epoch).items():
            if len(known) > 1:
                opened.setdefault(name.rpartition(".")[2], epoch)
    assert opened["kernel"] < opened["depth"] < opened["expansion"]
    assert sampler.opening.choices(12) == {knob.name: knob.choices for knob in space.knobs}


def test_a_step_sums_the_gradients_of_its_networks(few: Dataset) -> None:
    recipe = SupernetRecipe(**SMALL | {"clip_norm": 0.0, "augment": "none", "label_smoothing": 0.1})
    training = SupernetTraining(net(), few, recipe, seed=0)
    archs = next(training.sampler.steps(0, 1))
    x, y = torch.randn(8, 1, 8, 8), torch.arange(8)
    training.supernet.train()
    training._step.gradients(archs, [x] * len(archs), y, 0.0)
    found = {name: p.grad.clone() for name, p in training.supernet.named_parameters() if p.grad is not None}
    twin = net().train()
    outputs = [twin(x, arch) for arch in archs]
    loss = F.cross_entropy(outputs[0], y, label_smoothing=0.1)
    loss = loss + sum(soft_loss(output, outputs[0].detach()) for output in outputs[1:])
    loss.backward()  # type: ignore[no-untyped-call]
    for name, parameter in twin.named_parameters():
        if parameter.grad is None:
            assert name not in found
        else:
            torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-6)


def test_fixed_distillation_learns_from_the_frozen_teacher(few: Dataset) -> None:
    training = SupernetTraining(net(), few, SupernetRecipe(**SMALL | {"distillation": "fixed"}), seed=0)
    training.train_epoch()
    kept = {name: value.clone() for name, value in training.supernet.state_dict().items()}
    training.train_epoch()
    assert training._teacher_state is not None
    assert all(torch.equal(kept[name], value) for name, value in training._teacher_state.items())
    x, y, archs = torch.randn(8, 1, 8, 8), torch.arange(8), [largest(grid("vit-tiny"))]
    training.optimiser.zero_grad()
    training._step.gradients(archs, [x], y, 0.0)
    found = {name: p.grad.clone() for name, p in training.supernet.named_parameters() if p.grad is not None}
    training.optimiser.zero_grad()
    F.cross_entropy(training.supernet(x, archs[0]), y).backward()  # type: ignore[no-untyped-call]
    differs = [
        name
        for name, p in training.supernet.named_parameters()
        if p.grad is not None and not torch.allclose(found[name], p.grad)
    ]
    assert differs  # the soft labels count


def test_the_prior_penalises_pairs_out_of_its_order() -> None:
    losses = [torch.tensor(value) for value in (1.0, 3.0, 2.0)]
    assert float(rank_penalties(losses, [3.0, 1.0, 2.0])) == 0.0
    penalty = rank_penalties(losses, [1.0, 3.0, 2.0])  # the second should be best: 3 - 1, 3 - 2, 2 - 1
    assert float(penalty) == pytest.approx((2 + 1 + 1) / 3)
    assert float(rank_penalties(losses[:2], [1.0, 1.0])) == 0.0


@pytest.mark.parametrize(
    "mode",
    [pytest.param(mode, marks=() if mode in FAST else pytest.mark.slow) for mode in MODES],
    ids=[" ".join(map(str, mode.values())) or "default" for mode in MODES],
)
def test_a_training_goes_on_bit_for_bit_after_every_epoch(mode: dict[str, Any], few: Dataset, tmp_path: Path) -> None:
    recipe = SupernetRecipe(**SMALL | mode)
    whole = SupernetTraining(net(), few, recipe, seed=5)
    for epoch in range(recipe.epochs):
        if epoch:
            whole.save(tmp_path / f"{epoch}.pt")
        whole.train_epoch()
    for epoch in range(1, recipe.epochs):
        again = SupernetTraining(net(seed=9), few, recipe, seed=5)
        again.load(tmp_path / f"{epoch}.pt")
        assert again.epoch == epoch
        while again.epoch < recipe.epochs:
            again.train_epoch()
        assert again.curve == whole.curve
        for (name, value), other in zip(
            again.supernet.state_dict().items(), whole.supernet.state_dict().values(), strict=True
        ):
            assert torch.equal(value, other), name


def test_statistics_of_norms_come_back_with_a_checkpoint(few: Dataset, tmp_path: Path) -> None:
    recipe = SupernetRecipe(**SMALL | {"epochs": 2, "progressive": "narrow"})
    results = []
    for stop in (False, True):
        training = SupernetTraining(net("mobilenetv3-tiny-images"), few, recipe, seed=1)
        training.train_epoch()
        if stop:
            training.save(tmp_path / "c.pt")
            training = SupernetTraining(net("mobilenetv3-tiny-images", seed=4), few, recipe, seed=1)
            training.load(tmp_path / "c.pt")
        training.train_epoch()
        results.append(training.supernet.state_dict())
    assert any(name.endswith("running_var") for name in results[0])
    assert all(torch.equal(value, results[1][name]) for name, value in results[0].items())


def test_checkpoints_of_other_trainings_are_refused(few: Dataset, tmp_path: Path) -> None:
    recipe = SupernetRecipe(**SMALL)
    SupernetTraining(net(), few, recipe, seed=0).save(tmp_path / "c.pt")
    for other, words in (
        (SupernetTraining(net("mobilenetv3-tiny-images"), few, recipe, seed=0), "space is vit-tiny"),
        (SupernetTraining(net(sharing=Sharing(norms="width")), few, recipe, seed=0), "supernet is"),
        (SupernetTraining(net(), few, SupernetRecipe(**SMALL | {"subnets": 5}), seed=0), "recipe is"),
        (SupernetTraining(net(), few, recipe, seed=1), "seed is 0"),
    ):
        with pytest.raises(InvalidCheckpoint, match=words):
            other.load(tmp_path / "c.pt")


def test_sorting_hidden_channels_keeps_what_the_largest_network_computes() -> None:
    for name, side in (("mobilenetv3-tiny-images", 8), ("genet-tiny", 12), ("vit-tiny", 8)):
        supernet = net(name)
        x, top = torch.randn(4, 1, side, side), largest(supernet.space)
        supernet.train()
        supernet(x, top)  # statistics of its own
        supernet.eval()
        with torch.no_grad():
            for parameter in supernet.parameters():  # no channel is like another
                parameter.add_(0.1 * torch.randn(parameter.shape))
            before, weights = supernet(x, top), {n: p.clone() for n, p in supernet.named_parameters()}
            groups = sort_hidden_channels_(supernet)
            torch.testing.assert_close(supernet(x, top), before, rtol=1e-3, atol=1e-4)
        moved = [n for n, p in supernet.named_parameters() if not torch.equal(weights[n], p)]
        assert bool(groups) == bool(moved)
        assert groups


def test_a_supernet_travels_as_a_folder(few: Dataset, tmp_path: Path) -> None:
    supernet, recipe = net(sharing=Sharing("apart")), SupernetRecipe(**SMALL | {"epochs": 2})
    curve = train_supernet(supernet, few, recipe, seed=2)
    written = save_supernet(
        tmp_path / "s", supernet, recipe, few.task, space="vit-tiny", data="digits", seed=2, curve=curve
    )
    loaded, facts = load_supernet(tmp_path / "s")
    assert facts == written
    assert facts.curve == curve
    assert (facts.num_classes, facts.input_shape, facts.data) == (10, (1, 8, 8), "digits")
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in supernet.state_dict().items())
    content = json.loads((tmp_path / "s" / FACTS).read_text())
    for change, words in (
        ({"space": "mobilenetv3-tiny-images"}, "other knobs, choices or sharing"),
        ({"space": "zen-tiny"}, "no fixed places"),
        ({"digest": "0" * 20}, "with digest 0000"),
        ({"curve": [{}]}, "damaged"),
        ({"recipe": {"epochs": "many"}}, "damaged"),
        ({"schema_version": 7}, "schema version 7"),
        ({"format": "bert"}, "not the facts of a supernet"),
        ({"weights_sha256": "1" * 64}, "damaged"),
    ):
        (tmp_path / "s" / FACTS).write_text(json.dumps(content | change))
        with pytest.raises(InvalidSupernet, match=words):
            load_supernet(tmp_path / "s")
    (tmp_path / "s" / FACTS).write_text(json.dumps(content))
    (tmp_path / "s" / WEIGHTS).write_bytes((tmp_path / "s" / WEIGHTS).read_bytes()[:-9])
    with pytest.raises(InvalidSupernet, match="safetensors"):
        load_supernet(tmp_path / "s")
    with pytest.raises(InvalidSupernet, match="expected a folder"):
        load_supernet(tmp_path / "nowhere")


def test_a_network_is_judged_as_what_is_extracted(few: Dataset) -> None:
    from nas.train.evaluate import Normaliser, evaluate, to_tensors

    supernet = net("mobilenetv3-tiny-images")
    supernet.train()
    arch = supernet.space.sample(np.random.default_rng(0))
    found = evaluate_subnet(supernet, arch, few)
    network, difference = extract_subnet(supernet, arch, few)
    alone = evaluate(network, *to_tensors(few.validation), normalise=Normaliser(few))
    assert difference <= 1e-5
    assert found.top1 == alone.top1
    assert found.loss == pytest.approx(alone.loss, rel=1e-5)
    assert 0 < found.loss_error < found.loss


def test_a_training_that_diverges_or_collapses_says_so(few: Dataset) -> None:
    wild = SupernetRecipe(**SMALL | {"learning_rate": 1e6, "clip_norm": 0.0})
    with pytest.raises(TrainingDiverged, match="lower learning_rate"):
        train_supernet(net("mobilenetv3-tiny-images"), few, wild, seed=0)


def test_what_does_not_go_together_is_refused() -> None:
    assert SupernetRecipe().weight_decay == 0
    assert SupernetRecipe.from_dict(SupernetRecipe(resolutions=(8, 16)).to_dict()).resolutions == (8, 16)
    for settings, words in (
        ({"sampler": "uniform"}, "no largest network"),
        ({"sampler": "fair"}, "distillation=none"),
        ({"subnets": 1}, "at least 2"),
        ({"sampler": "greedy"}, "expected one of sandwich"),
        ({"prior": "luck"}, "expected one of none, macs"),
        ({"resolutions": (2,)}, "sides of 4"),
        ({"distillation": "fixed", "epochs": 5, "teacher_epochs": 5}, "expected fewer"),
        ({"sampler": "uniform", "distillation": "none", "subnets": 1, "prior": "macs"}, "to compare"),
        ({"learning_rate": 0.0}, "more than 0"),
    ):
        with pytest.raises(InvalidRecipe, match=words):
            SupernetRecipe(**settings)
    for data, words in (({"layers": 3}, "unknown setting"), ({"resolutions": ["x"]}, "whole numbers")):
        with pytest.raises(InvalidRecipe, match=words):
            SupernetRecipe.from_dict(data)


def test_a_batch_that_workers_cannot_share_is_refused(few: Dataset) -> None:
    with pytest.raises(InvalidRecipe, match="for 3 workers"):
        train_supernet_in_parallel(net(), few, SupernetRecipe(**SMALL), seed=0, workers=3)
