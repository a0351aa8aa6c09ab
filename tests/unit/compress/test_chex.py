"""Channel exploration from start to sliced network, and uniform slimming."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pruning_example import reweighted
from torch import Tensor, nn
from torch.nn import functional as F

from nas.compress.chex import ChexSettings, InvalidChex, chex
from nas.compress.chex.budget import Budget
from nas.compress.chex.memory import RecentValues, bring_back_, dead_entries, forget_born_
from nas.compress.chex.run import find_groups
from nas.compress.chex.training import ChexTraining
from nas.compress.coupling import coupled_channels
from nas.compress.errors import BudgetUnreachable, CannotCompress
from nas.compress.groups import Coupling
from nas.compress.sliced_cost import SlicedCost
from nas.compress.slicing import mask_
from nas.compress.slimming import uniform_slimming
from nas.train.checkpoint import InvalidCheckpoint
from nas.train.data import load_dataset
from nas.train.distill import Distillation
from nas.train.images import Dataset, Split
from nas.train.recipe import Recipe
from search_spaces import load_space
from search_spaces.build import build

RECIPE = Recipe(epochs=5, batch_size=32, learning_rate=0.1, augment="none")
SETTINGS = ChexSettings(macs=0.5, explore=0.6, regrow=0.4, signal="relative")


class Residual(nn.Module):
    """A stem and two blocks; the shortcut couples stem and second convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.conv1, self.norm1 = nn.Conv2d(16, 24, 3, padding=1, bias=False), nn.BatchNorm2d(24)
        self.conv2, self.norm2 = nn.Conv2d(24, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.conv3, self.norm3 = nn.Conv2d(16, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32)
        self.out = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(self.norm(self.stem(x)))
        x = F.silu(x + self.norm2(self.conv2(F.silu(self.norm1(self.conv1(x))))))
        return self.out(F.silu(self.norm3(self.conv3(x))).mean((2, 3)))


@pytest.fixture(scope="module")
def digits() -> Dataset:
    whole = load_dataset("digits")
    return replace(
        whole,
        train=Split(whole.train.images[:256], whole.train.labels[:256]),
        validation=Split(whole.validation.images[:100], whole.validation.labels[:100]),
    )


@pytest.fixture
def model() -> Residual:
    torch.manual_seed(0)
    return Residual()


@pytest.fixture(scope="module")
def coupling(digits: Dataset) -> Coupling:
    return find_groups(Residual(), digits)


@dataclass
class Bench:
    """Trainings of one network; what was found for it once serves them all."""

    model: nn.Module
    data: Dataset
    coupling: Coupling

    def training(self, settings: ChexSettings = SETTINGS, recipe: Recipe = RECIPE) -> ChexTraining:
        model, budget = copy.deepcopy(self.model), Budget(self.model, self.coupling, settings)
        return ChexTraining(model, self.data, recipe, coupling=self.coupling, settings=settings, budget=budget, seed=1)

    def trained(self, settings: ChexSettings = SETTINGS, recipe: Recipe = RECIPE) -> ChexTraining:
        training = self.training(settings, recipe)
        for _ in range(recipe.epochs):
            training.train_epoch()
        return training


@pytest.fixture
def bench(model: Residual, digits: Dataset, coupling: Coupling) -> Bench:
    return Bench(model, digits, coupling)


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def test_the_result_is_a_smaller_network_within_its_budget(model: Residual, digits: Dataset) -> None:
    before = weights(model)
    result = chex(model, digits, RECIPE, settings=SETTINGS, seed=1)
    assert_equal(weights(model), before)
    shape = digits.input_shape
    found = SlicedCost(result.network, coupled_channels(result.network, shape))
    assert found.macs({}) == result.macs_after
    assert found.params({}) == result.params_after == sum(p.numel() for p in result.network.parameters())
    assert 0.98 <= result.macs_after / (0.5 * result.macs_before) <= 1
    for kept, size in result.widths.values():
        assert kept % 4 == 0
        assert kept >= max(4, 0.1 * size)
    assert not result.network.training
    assert len(result.curve) == 5
    assert result.top1 > 0.3  # ten classes


def test_sliced_and_masked_compute_the_same(bench: Bench) -> None:
    training = bench.trained()
    result, masked = training.result(), training._training.final.eval()
    images = torch.randn(4, *bench.data.input_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(result.network(images), masked(images), atol=1e-5, rtol=1e-5)


def test_masks_hold_in_every_epoch_and_stay_after_exploration(bench: Bench) -> None:
    training = bench.training()
    seen = []
    for _ in range(5):
        training.train_epoch()
        average = training._training.average
        assert average is not None
        for network in (training.model, average.model):
            held = copy.deepcopy(network)
            mask_(held, training._coupling, training.keep)
            assert_equal(weights(held), weights(network))
        seen.append(training.keep)
    changes = training.history
    assert [change.epoch for change in changes] == [0, 1, 2, 3]
    assert [change.regrow for change in changes] == sorted((change.regrow for change in changes), reverse=True)
    for change in changes[:-1]:
        assert sum(change.alive.values()) > sum(change.kept.values())
        assert change.macs > training.budget.macs
    assert changes[-1].alive == changes[-1].kept
    assert_equal(seen[3], seen[4])
    assert changes[-1].macs <= training.budget.macs
    assert any(not torch.equal(changes[0].keep[name], changes[2].keep[name]) for name in training.keep)


def test_kept_counts_obey_the_budget_at_every_change(bench: Bench) -> None:
    training = bench.trained()
    for change in training.history[1:]:
        assert training.budget.cost.macs(change.kept) <= training.budget.macs


def test_what_comes_back_has_its_last_values_and_no_momentum(
    model: Residual, digits: Dataset, coupling: Coupling
) -> None:
    keep = {"conv1": torch.arange(24) >= 6}
    before = weights(model)
    recent = RecentValues.of(model, coupling)
    dead = dead_entries(model, coupling, keep)
    mask_(model, coupling, keep)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.randn(4, *digits.input_shape)).square().sum().backward()
    optimiser.step()
    mask_(model, coupling, keep)
    learned = weights(model)
    for parameter in model.parameters():
        optimiser.state[parameter]["momentum_buffer"] = torch.ones_like(parameter)
    recent.refresh_(model, dead)
    now = {"conv1": torch.arange(24) >= 4}  # units 4 and 5 come back
    still = dead_entries(model, coupling, now)
    born = {name: mask & ~still[name] for name, mask in dead.items()}
    bring_back_(model, recent, born)
    forget_born_(optimiser, model, born)
    back = weights(model)
    for name, at in (("conv1.weight", (slice(4, 6),)), ("conv2.weight", (slice(None), slice(4, 6)))):
        assert torch.equal(back[name][at], before[name][at]), name
        assert not bool((learned[name][at] != 0).any())
        state = optimiser.state[dict(model.named_parameters())[name]]["momentum_buffer"]
        assert float(state[at].abs().sum()) == 0
        assert float(state.sum()) == state.numel() - state[at].numel()
    for name in ("norm1.weight", "norm1.bias", "norm1.running_mean", "norm1.running_var"):
        assert torch.equal(back[name][4:6], before[name][4:6]), name
    assert not bool((back["conv1.weight"][:4] != 0).any())
    assert torch.equal(back["conv1.weight"][6:], learned["conv1.weight"][6:])


def test_an_exploration_resumed_after_any_epoch_is_equal_bit_for_bit(bench: Bench, tmp_path: Path) -> None:
    whole = bench.training()
    for epoch in range(1, 6):
        whole.train_epoch()
        whole.save(tmp_path / str(epoch))
    a = whole.result()
    for killed_after in (1, 2, 4):
        resumed = bench.training()
        resumed.load(tmp_path / str(killed_after))
        assert resumed.epoch == killed_after
        while resumed.epoch < 5:
            resumed.train_epoch()
        b = resumed.result()
        assert a.curve == b.curve
        assert_equal(dict(a.keep), dict(b.keep))
        assert_equal(weights(a.network), weights(b.network))
        assert_equal(weights(whole.model), weights(resumed.model))
        assert a.training_macs == b.training_macs
        assert [change.alive for change in a.history] == [change.alive for change in b.history]


def test_a_finished_checkpoint_is_not_trained_again(model: Residual, digits: Dataset, tmp_path: Path) -> None:
    path, told = tmp_path / "chex.pt", []
    first = chex(model, digits, RECIPE, settings=SETTINGS, seed=1, checkpoint=path, on_epoch=told.append)
    again = chex(model, digits, RECIPE, settings=SETTINGS, seed=1, checkpoint=path, on_epoch=told.append)
    assert len(told) == 5
    assert_equal(weights(first.network), weights(again.network))
    with pytest.raises(InvalidCheckpoint):
        chex(model, digits, RECIPE, settings=replace(SETTINGS, regrow=0.1), seed=1, checkpoint=path)


@pytest.mark.parametrize("change", ["initial_weights", "architecture", "recipe", "dataset"])
def test_a_checkpoint_of_another_exploration_is_refused(
    model: Residual, digits: Dataset, tmp_path: Path, change: str
) -> None:
    path, short = tmp_path / "chex.pt", replace(RECIPE, epochs=3)
    chex(copy.deepcopy(model), digits, short, settings=SETTINGS, seed=1, checkpoint=path)
    other, data, recipe = copy.deepcopy(model), digits, short
    if change == "initial_weights":
        reweighted(other)
    elif change == "architecture":
        other.conv1.dilation, other.conv1.padding = (2, 2), (2, 2)  # the same tensors
    elif change == "recipe":
        recipe = replace(short, momentum=0.5)
    else:
        data = replace(digits, name="others")
    with pytest.raises(InvalidCheckpoint, match=rf"^{re.escape(str(path))}: {change} is .*; delete it or") as caught:
        chex(other, data, recipe, settings=SETTINGS, seed=1, checkpoint=path)
    assert "\n" not in str(caught.value)


def test_without_regrowth_the_first_choice_stays(bench: Bench) -> None:
    history = bench.trained(replace(SETTINGS, regrow=0.0, signal="uniform")).history
    middle = history[0].keep
    for name, mask in history[2].keep.items():
        assert int((mask ^ middle[name]).sum()) <= 1  # whole numbers of a share


@pytest.mark.parametrize(
    "change",
    [
        {"selection": "l1"},
        {"regrowth": "random"},
        {"signal": "filters"},
        {"signal": "norms"},
        {"reset_momentum": False},
    ],
)
def test_every_option_keeps_the_budget(bench: Bench, change: dict[str, str]) -> None:
    settings = replace(SETTINGS, **change)  # type: ignore[arg-type]
    result = bench.trained(settings, replace(RECIPE, epochs=3)).result()
    assert 0.98 <= result.macs_after / (0.5 * result.macs_before) <= 1


def test_a_latency_budget_is_measured_on_the_sliced_network(
    model: Residual, digits: Dataset, coupling: Coupling
) -> None:
    calls = []

    def latency_ms(network: nn.Module) -> float:
        """Parameters, for milliseconds."""
        calls.append(sum(p.numel() for p in network.parameters()) / 1000)
        return calls[-1]

    settings = ChexSettings(latency_ms=4.0, explore=0.6)
    result = chex(model, digits, replace(RECIPE, epochs=2), settings=settings, seed=1, latency_ms=latency_ms)
    assert result.latency_ms is not None
    assert 3.2 < result.latency_ms <= 4.0
    assert result.params_after / 1000 == pytest.approx(result.latency_ms, rel=0.1)
    assert len(calls) < 20
    settings = ChexSettings(latency_ms=0.1)
    with pytest.raises(BudgetUnreachable, match=r"latency_ms=0\.1, but .* floor .* takes"):
        Budget(model, coupling, settings, latency_ms).begin()
    with pytest.raises(InvalidChex, match="expected both or none"):
        Budget(model, coupling, settings)


def test_a_teacher_changes_the_training_and_belongs_to_the_checkpoint(
    model: Residual, digits: Dataset, bench: Bench, tmp_path: Path
) -> None:
    teacher = copy.deepcopy(model).eval()
    short, path = replace(RECIPE, epochs=2), tmp_path / "chex.pt"
    taught = chex(
        model,
        digits,
        short,
        settings=SETTINGS,
        seed=1,
        distillation=Distillation(teacher, weight=0.9, name="t"),
        checkpoint=path,
    )
    alone = bench.training(recipe=short)
    assert taught.curve[0].train_loss != alone.train_epoch().train_loss
    with pytest.raises(InvalidCheckpoint):
        alone.load(path)


def test_budgets_and_networks_that_cannot_be(bench: Bench, digits: Dataset) -> None:
    with pytest.raises(BudgetUnreachable, match=r"chex: macs=0\.001: .* floor"):
        bench.training(ChexSettings(macs=0.001))
    linear = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with pytest.raises(CannotCompress, match=r"Sequential: no channels can be removed .*output"):
        chex(linear, digits, RECIPE, settings=SETTINGS, seed=1)
    with pytest.raises(InvalidChex, match=r"recipe\.epochs=1"):
        bench.training(recipe=replace(RECIPE, epochs=1))


def test_a_network_without_norms(digits: Dataset) -> None:
    torch.manual_seed(0)
    bare = nn.Sequential(
        nn.Conv2d(1, 16, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, 2, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(128, 24),
        nn.ReLU(),
        nn.Linear(24, 10),
    )
    result = chex(bare, digits, replace(RECIPE, epochs=3, learning_rate=0.02), settings=SETTINGS, seed=1)
    assert 0.98 <= result.macs_after / (0.5 * result.macs_before) <= 1


@pytest.mark.slow
def test_a_network_of_a_search_space(digits: Dataset) -> None:
    space = load_space("resnet20-channels")
    arch = space.sample(np.random.default_rng(0))
    torch.manual_seed(0)
    network = build(arch, num_classes=10, in_channels=1)
    few = replace(digits, train=Split(digits.train.images[:64], digits.train.labels[:64]))
    result = chex(network, few, replace(RECIPE, epochs=2), settings=ChexSettings(macs=0.5), seed=1)
    assert result.macs_after <= 0.5 * result.macs_before
    assert result.network(torch.zeros(1, *digits.input_shape)).shape == (1, 10)


@pytest.mark.parametrize("start", ["l1", "scratch"])
def test_uniform_slimming_keeps_equal_shares(model: Residual, digits: Dataset, start: str, tmp_path: Path) -> None:
    before, path = weights(model), tmp_path / "slim.pt"
    result = uniform_slimming(model, digits, RECIPE, macs=0.5, seed=1, start=start, round_to=1, checkpoint=path)
    assert_equal(weights(model), before)
    assert 0.98 <= result.macs_after / (0.5 * result.macs_before) <= 1
    shares = [float(mask.float().mean()) for mask in result.keep.values()]
    assert max(shares) - min(shares) <= 0.1
    assert result.top1 > 0.3
    again = uniform_slimming(model, digits, RECIPE, macs=0.5, seed=1, start=start, round_to=1, checkpoint=path)
    assert_equal(weights(result.network), weights(again.network))


def test_slimming_by_l1_keeps_the_largest_filters_and_scratch_new_ones(model: Residual, digits: Dataset) -> None:
    with torch.no_grad():
        model.conv1.weight[::2] *= 10
    still = replace(RECIPE, epochs=1, learning_rate=1e-9, weight_decay=0.0)
    kept = uniform_slimming(model, digits, still, macs=0.4, seed=1, floor_units=1, round_to=1)
    loud = kept.keep["conv1"]
    assert not bool(loud[1::2].any()) or bool(loud[::2].all())
    new = uniform_slimming(model, digits, still, macs=0.4, seed=1, start="scratch", floor_units=1, round_to=1)
    old_values = set(model.conv3.weight.flatten().tolist())
    assert any(value in old_values for value in kept.network.get_parameter("conv3.weight").flatten().tolist()[:50])
    assert float(new.network.get_parameter("conv1.weight").detach().abs().max()) < 1
    with pytest.raises(CannotCompress, match="expected one of l1, scratch"):
        uniform_slimming(model, digits, still, macs=0.4, seed=1, start="warm")
    with pytest.raises(BudgetUnreachable, match=r"slimming: macs=0\.001"):
        uniform_slimming(model, digits, still, macs=0.001, seed=1)
