"""DiSparse: densities of layers, masks that change, and trainings that resume bit for bit."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import pytest
import torch
from disparse_example import RECIPE, patterns, sample_network
from torch import nn

from nas.compress.disparse import BASELINES, MODES, DisparseResult, DisparseSettings, disparse
from nas.compress.disparse.densities import erk_counts, random_masks
from nas.compress.disparse.dynamic import Rewiring, Schedule, largest
from nas.compress.disparse.tasks import Ownership, find_ownership
from nas.compress.disparse.training import SparseTraining
from nas.compress.errors import BudgetUnreachable, CannotCompress
from nas.train.advance import advance
from nas.train.checkpoint import InvalidCheckpoint
from nas.train.distill import Distillation, InvalidDistillation
from nas.train.multitask.labels import CATEGORY, with_rotation
from nas.train.multitask.optimiser_state import forget_, named_state, restore_state
from nas.train.multitask.recipe import MultitaskRecipe
from nas.train.multitask.tasks import MultitaskData
from nas.train.multitask.training import evaluate_tasks, fit_multitask


@pytest.fixture(scope="module")
def data() -> MultitaskData:
    return with_rotation(patterns())


@pytest.fixture(scope="module")
def ownership(data: MultitaskData) -> Ownership:
    return find_ownership(sample_network(), data)


# densities of layers


@pytest.mark.parametrize("power", [0.0, 0.9, 1.0])
@pytest.mark.parametrize("density", [0.03, 0.1, 0.6, 1.0])
def test_erk_counts_sum_to_the_total(power: float, density: float) -> None:
    shapes = {"a": (16, 3, 3, 3), "b": (32, 16, 3, 3), "c": (10, 32)}
    counts = erk_counts(shapes, density, power)
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    assert sum(counts.values()) == round(density * sum(sizes.values()))
    assert all(1 <= counts[name] <= sizes[name] for name in shapes)
    if density < 1 and power:
        assert counts["a"] / sizes["a"] > counts["b"] / sizes["b"]
    masks = random_masks(shapes, counts, torch.Generator().manual_seed(0))
    assert {name: int(mask.sum()) for name, mask in masks.items()} == counts


def test_erk_density_is_the_published_one() -> None:
    shapes = {"a": (64, 32, 3, 3), "b": (128, 64, 3, 3)}
    counts = erk_counts(shapes, 0.1, 1.0)
    shares = [counts[name] / math.prod(shapes[name]) for name in shapes]
    wanted = (64 + 32 + 3 + 3) / (64 * 32 * 9) / ((128 + 64 + 3 + 3) / (128 * 64 * 9))
    assert shares[0] / shares[1] == pytest.approx(wanted, rel=1e-3)


def test_too_few_weights_for_the_layers_are_refused() -> None:
    with pytest.raises(BudgetUnreachable, match="at least one each"):
        erk_counts({"a": (10, 10), "b": (10, 10)}, 0.005, 0.9)


# changing masks


def test_a_change_drops_small_weights_and_grows_large_gradients_of_each_task() -> None:
    ownership = Ownership(("a", "b"), {"w": ("a", "b"), "head": ("b",)})
    masks = {name: torch.tensor([1, 1, 1, 1, 0, 0, 0, 0]).bool() for name in ("w", "head")}
    weights = {name: torch.tensor([4.0, -3.0, 0.2, 0.1, 0, 0, 0, 0]) for name in ("w", "head")}
    a = {"w": torch.tensor([9.0, 9, 0, 0, -8, 7, 0, 0])}
    b = {"w": torch.tensor([9.0, 9, 1, 0, -8, 0, 5, 0]), "head": torch.tensor([0.0, 0, 9, 0, 0, 0, 0, 8])}
    rewiring = Rewiring(masks, ownership)
    new = rewiring.change(weights, {"a": a, "b": b}, 0.5)
    assert rewiring.masks["w"].tolist() == [True, True, False, False, True, True, True, False]
    assert rewiring.masks["head"].tolist() == [True, True, True, False, False, False, False, True]
    assert new["w"].nonzero().flatten().tolist() == [4, 5, 6]
    assert new["head"].nonzero().flatten().tolist() == [7]  # entry 2 was never away, so it goes on from its value
    layer = rewiring.overlap.layers[0]
    assert (layer.name, layer.common, layer.either) == ("w", 1, 3)
    rewiring.finish({"w": torch.tensor([4.0, 3, 0, 0, 2, 1, 0.5, 0]), "head": weights["head"]})
    assert rewiring.masks["w"].nonzero().flatten().tolist() == [0, 1, 4, 5]
    assert {int(mask.sum()) for mask in rewiring.masks.values()} == {4}


def test_largest_never_takes_what_is_not_offered() -> None:
    values, among = torch.tensor([5.0, 4.0, 0.0]), torch.tensor([False, True, True])
    assert largest(values, among, 1).tolist() == [False, True, False]
    assert largest(values, among, 9).tolist() == [False, True, True]


def test_the_drop_rate_falls_along_a_half_cosine() -> None:
    schedule = Schedule.of(DisparseSettings(mode="dynamic", drop=0.4, interval=10, end=0.5), 200)
    assert schedule.last == 99
    assert schedule.share_at(0) == pytest.approx(0.4)
    assert schedule.share_at(49.5) == pytest.approx(0.2)
    assert schedule.share_at(99) == pytest.approx(0.0)
    assert [step for step in range(200) if schedule.changes_at(step)] == [*range(9, 99, 10)]


# whole trainings


def _settings(mode: str) -> DisparseSettings:
    return DisparseSettings(mode=mode, density=0.2, batches=3, interval=2, end=0.75)


def _train(
    network: nn.Module,
    data: MultitaskData,
    ownership: Ownership,
    mode: str,
    *,
    recipe: MultitaskRecipe = RECIPE,
    checkpoint: Path | None = None,
    epochs: int | None = None,
) -> DisparseResult:
    training = SparseTraining(network, data, recipe, settings=_settings(mode), ownership=ownership, seed=1)
    advance(training, epochs or recipe.epochs, checkpoint)
    return training.result()


def _equal(a: DisparseResult, b: DisparseResult) -> bool:
    weights = zip(a.network.state_dict().values(), b.network.state_dict().values(), strict=True)
    same_masks = all(torch.equal(a.masks[name], mask) for name, mask in b.masks.items())
    return all(torch.equal(x, y) for x, y in weights) and same_masks and (a.curve, a.overlap) == (b.curve, b.overlap)


@pytest.mark.parametrize(
    ("mode", "optimiser"), [*((mode, "sgd") for mode in (*MODES, "rigl")), ("static", "adamw"), ("dynamic", "adamw")]
)
def test_a_killed_training_resumes_bit_for_bit(
    data: MultitaskData, ownership: Ownership, tmp_path: Path, mode: str, optimiser: str
) -> None:
    recipe = MultitaskRecipe(**{**RECIPE.to_dict(), "optimiser": optimiser})
    whole = _train(sample_network(), data, ownership, mode, recipe=recipe)
    path = tmp_path / "training.pt"
    _train(sample_network(), data, ownership, mode, recipe=recipe, checkpoint=path, epochs=1)
    with pytest.raises(InvalidCheckpoint, match="initial_weights is"):
        _train(sample_network(seed=9), data, ownership, mode, recipe=recipe, checkpoint=path)
    resumed = _train(sample_network(), data, ownership, mode, recipe=recipe, checkpoint=path)
    assert _equal(whole, resumed)
    assert resumed.masks.density == pytest.approx(0.2, abs=1e-3)


def test_one_call_goes_on_from_its_checkpoint(data: MultitaskData, tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def kill(_: object) -> None:
        raise Killed

    path, settings = tmp_path / "training.pt", _settings("static")
    whole = disparse(sample_network(), data, RECIPE, settings=settings, seed=1)
    with pytest.raises(Killed):
        disparse(sample_network(), data, RECIPE, settings=settings, seed=1, checkpoint=path, on_epoch=kill)
    assert _equal(whole, disparse(sample_network(), data, RECIPE, settings=settings, seed=1, checkpoint=path))
    assert not _equal(whole, disparse(sample_network(), data, RECIPE, settings=settings, seed=2))


@pytest.mark.parametrize("mode", [*MODES, *BASELINES])
def test_the_result_is_as_sparse_as_asked_and_the_input_is_untouched(data: MultitaskData, mode: str) -> None:
    network = sample_network()
    before = copy.deepcopy(network.state_dict())
    result = disparse(network, data, RECIPE, settings=_settings(mode), seed=0)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert abs(result.masks.density - 0.2) <= 0.001
    result.masks.check_fits(result.network)
    tensors = dict(result.network.named_parameters())
    assert all(not bool(tensors[name].detach()[~mask].any()) for name, mask in result.masks.items())
    kept = sum(int((tensors[name] != 0).sum()) for name in result.masks)
    assert kept >= 0.9 * result.masks.kept  # what remains is trained
    assert (result.overlap is None) == (mode in BASELINES)
    assert result.empty == tuple(name for name, mask in result.masks.items() if not bool(mask.any()))
    assert not result.network.training


def test_dynamic_masks_change_and_end_with_the_density_of_every_layer(data: MultitaskData) -> None:
    found = {end: disparse(sample_network(), data, RECIPE, settings=_dynamic(end), seed=0) for end in (0.1, 0.9)}
    sizes = {name: int(mask.sum()) for name, mask in found[0.1].masks.items()}
    assert sizes == {name: int(mask.sum()) for name, mask in found[0.9].masks.items()}
    assert any(not torch.equal(mask, found[0.1].masks[name]) for name, mask in found[0.9].masks.items())
    assert found[0.9].overlap is not None
    assert all(layer.either > 0 for layer in found[0.9].overlap.layers)


def _dynamic(end: float) -> DisparseSettings:
    return DisparseSettings(mode="dynamic", density=0.2, interval=2, end=end)


def test_a_checkpoint_of_other_settings_is_refused(data: MultitaskData, tmp_path: Path) -> None:
    path = tmp_path / "training.pt"
    recipe = MultitaskRecipe(epochs=1, batch_size=48)
    disparse(sample_network(), data, recipe, settings=_settings("static"), seed=0, checkpoint=path)
    with pytest.raises(InvalidCheckpoint, match="settings"):
        disparse(sample_network(), data, recipe, settings=_settings("snip"), seed=0, checkpoint=path)


def test_a_trained_network_is_pruned_to_something_that_still_works(data: MultitaskData) -> None:
    network = sample_network()
    fit_multitask(network, data, MultitaskRecipe(epochs=20, batch_size=8, learning_rate=0.1, ema_decay=0.9), seed=0)
    dense = evaluate_tasks(network, data, data.validation)
    settings = DisparseSettings(mode="pretrained", density=0.5, batches=6)
    result = disparse(network, data, MultitaskRecipe(epochs=4, batch_size=8, ema_decay=0.9), settings=settings, seed=0)
    scores = result.curve[-1].scores
    assert scores is not None
    assert dense[CATEGORY] > 0.8
    assert scores[CATEGORY] > 0.7


def test_teachers_of_single_tasks_change_the_training(data: MultitaskData) -> None:
    teacher = sample_network(seed=5).eval()
    distillation = {CATEGORY: Distillation(lambda images: teacher(images)[CATEGORY], weight=0.5)}
    settings, recipe = _settings("static"), MultitaskRecipe(epochs=1, batch_size=16)
    plain = disparse(sample_network(), data, recipe, settings=settings, seed=0)
    taught = disparse(sample_network(), data, recipe, settings=settings, seed=0, distillation=distillation)
    assert all(torch.equal(plain.masks[name], mask) for name, mask in taught.masks.items())
    assert not _equal(plain, taught)
    with pytest.raises(InvalidDistillation, match="no task 'depth'"):
        disparse(
            sample_network(), data, recipe, settings=settings, seed=0, distillation={"depth": distillation[CATEGORY]}
        )


@pytest.mark.parametrize(
    "change", [{"mode": "lottery"}, {"density": 0.0}, {"density": 1.5}, {"score": "x"}, {"end": 0.0}, {"interval": 0}]
)
def test_settings_out_of_range_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(CannotCompress, match=f"disparse: {next(iter(change))}="):
        DisparseSettings(**change)


# the optimiser's memory


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_the_optimisers_memory_goes_by_name_and_is_forgotten_by_entry(kind: str) -> None:
    def made() -> tuple[nn.Module, torch.optim.Optimizer]:
        model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
        parameters = model.parameters()
        made = torch.optim.SGD(parameters, 0.1, momentum=0.9) if kind == "sgd" else torch.optim.AdamW(parameters, 0.1)
        return model, made

    (model, optimiser), (other, fresh) = made(), made()
    model(torch.ones(4, 3)).sum().backward()
    optimiser.step()
    state = named_state(optimiser, model)
    restore_state(fresh, other, dict(reversed(list(state.items()))))
    key = "momentum_buffer" if kind == "sgd" else "exp_avg"
    assert torch.equal(fresh.state[other[0].weight][key], optimiser.state[model[0].weight][key])
    entries = torch.zeros(2, 3, dtype=torch.bool)
    entries[0, 1] = True
    forget_(optimiser, model[0].weight, entries)
    memory = optimiser.state[model[0].weight][key]
    assert not bool(memory[entries].any())
    assert bool((memory[~entries] != 0).all())
