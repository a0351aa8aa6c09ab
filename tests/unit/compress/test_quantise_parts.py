"""The parts of post-training quantisation: ranges, steps, rounding, placement of grids, units."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.compress.quantise.fold import folded
from nas.compress.quantise.placement import edge_layers, placed
from nas.compress.quantise.quantised import Grid
from nas.compress.quantise.ranges import grid_of, on_grid, searched_grid, weight_scale
from nas.compress.quantise.rounding import LearnedRounding, indecision, nearest, value_of
from nas.compress.quantise.settings import QuantiseSettings
from nas.compress.quantise.steps import LearnedStep
from nas.compress.quantise.units import Unit, basic_units, single_layers

CPU = torch.device("cpu")


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_grid_holds_its_ends_and_zero():
    grid = grid_of(-1.0, 3.0, 8)
    assert grid.bits == 8
    ends = on_grid(torch.tensor([-1.0, 0.0, 3.0, 9.0, -9.0]), grid)
    assert torch.allclose(ends, torch.tensor([-1.0, 0.0, 3.0, 3.0, -1.0]), atol=0.02)
    assert float(ends[1]) == 0
    assert grid_of(0.5, 3.0, 4) == Grid(pytest.approx(0.2), 0, 4)
    assert grid_of(0.0, 0.0, 4) == Grid(1.0, 0, 4)
    assert grid_of(-2.0, -1.0, 4).zero_point == 15


@pytest.mark.parametrize("both_signs", [False, True])
def test_the_searched_clip_has_less_error_than_the_whole_range(both_signs):
    values = noise(20_000) ** 3
    values = values if both_signs else values.abs()
    low, high = float(values.min()), float(values.max())
    plain, searched = grid_of(low, high, 4), searched_grid(values, low, high, 4)
    errors = [float((on_grid(values, grid) - values).abs().pow(2.4).mean()) for grid in (plain, searched)]
    assert errors[1] < 0.7 * errors[0]
    assert searched.scale < plain.scale


def test_weight_steps_are_of_each_channel_and_searched_ones_err_less():
    weight = noise(4, 3, 3, 3) * torch.tensor([0.01, 1.0, 10.0, 0.0])[:, None, None, None]
    for bits in (3, 4):
        plain, searched = (weight_scale(weight, bits, search=search) for search in (False, True))
        assert torch.allclose(plain[:3] * (2 ** (bits - 1) - 1), weight[:3].abs().amax((1, 2, 3)))
        assert bool((plain > 0).all())
        errors = [
            (value_of(nearest(weight, scale, bits)) - weight).abs().pow(2.4).sum((1, 2, 3))
            for scale in (plain, searched)
        ]
        assert bool((errors[1] <= errors[0]).all())
        assert float(errors[1].sum()) < float(errors[0].sum())


def test_a_learned_step_rounds_as_its_grid_and_has_the_gradients_of_lsq():
    grid = Grid(0.5, 2, 3)  # codes 0..7, values -1..2.5
    step, values = LearnedStep(grid, CPU), torch.tensor([-3.0, -0.6, 0.3, 1.1, 9.0], requires_grad=True)
    step.log_step.requires_grad_()
    rounded = step(values)
    assert torch.equal(rounded.detach(), on_grid(values.detach(), grid))
    torch.autograd.backward(rounded.sum())
    assert torch.equal(values.grad, torch.tensor([0.0, 1, 1, 1, 0]))
    wanted = -2.0 + 5.0 + sum(round(v / 0.5) - v / 0.5 for v in (-0.6, 0.3, 1.1))  # of the step itself
    assert float(step.log_step.grad) == pytest.approx(0.5 * wanted, abs=1e-5)
    assert step.grid() == Grid(pytest.approx(0.5), 2, 3)
    keep = torch.tensor([False, True, True, False, True])
    assert torch.equal(step(values, keep).detach(), torch.where(keep, rounded, values).detach())


def test_learned_rounding_starts_at_the_float_weight_and_ends_within_floor_and_ceiling():
    weight = noise(6, 5, 3, 3)
    scale = weight_scale(weight, 4, search=False)
    rounding = LearnedRounding(weight, scale, 4)
    assert torch.allclose(rounding.soft(rounding.share()), weight, atol=1e-3)
    steps = weight / scale[:, None, None, None]
    for sign, wanted in ((-9.0, steps.floor()), (9.0, (steps.floor() + 1).clamp(max=7))):
        rounding.logits = torch.full_like(weight, sign)
        assert torch.equal(rounding.codes().codes.float(), wanted)
        assert float(indecision(rounding.share(), 2.0)) == pytest.approx(0, abs=1e-4)
        assert torch.allclose(rounding.soft(rounding.share()), value_of(rounding.codes()))


class SqueezeExcite(nn.Module):
    """Hard swish, squeeze-excite, concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.down, self.up = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)
        self.left, self.right, self.out = nn.Conv2d(8, 4, 1), nn.Conv2d(8, 4, 3, padding=1), nn.Conv2d(8, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.hardswish(self.stem(x))
        x = x * F.hardsigmoid(self.up(F.relu(self.down(x.mean((2, 3), keepdim=True)))))
        x = torch.cat([self.left(x), F.relu(self.right(x))], 1)
        return F.adaptive_avg_pool2d(self.out(x), 1).flatten(1)


def test_grids_stand_where_integer_kernels_read_and_write():
    graph = folded(SqueezeExcite(), (3, 8, 8))
    placement = placed(graph, QuantiseSettings())
    names = [{node.name for node in nodes} for nodes, _ in placement.grids]
    assert {"conv2d_3", "relu_1", "cat"} in names  # concatenated tensors share one
    alone = {name for group in names if len(group) == 1 for name in group}
    assert alone == {"x", "conv2d", "hardswish", "mean", "relu", "conv2d_2", "hardsigmoid", "mul", "conv2d_5"}
    low = placed(graph, QuantiseSettings(activation_bits=4))
    bits = {node.name: bits for nodes, bits in low.grids for node in nodes}
    assert bits["cat"] == bits["x"] == 8  # read by the last layer; the images
    assert bits["hardswish"] == bits["conv2d"] == 8  # read by no layer
    assert bits["mul"] == bits["mean"] == bits["relu"] == 4
    assert {node.name for node in edge_layers(graph, list(low.weights))} == {"conv2d", "conv2d_5"}


class PaddedShortcut(nn.Module):
    """A shortcut without weights: every second position, zeros for new channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 8, 3, 2, 1), nn.Conv2d(8, 8, 3)
        self.out = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        x = F.relu(F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2)) + self.conv(x))
        return self.out(F.relu(self.last(x)).mean((2, 3)))


def test_what_only_moves_values_shares_the_grid_of_its_input():
    placement = placed(folded(PaddedShortcut(), (3, 8, 8)), QuantiseSettings(activation_bits=4))
    shared = {node.name: bits for nodes, bits in placement.grids if len(nodes) > 1 for node in nodes}
    assert len(shared) >= 3
    assert {"relu", "pad"} <= set(shared)
    assert set(shared.values()) == {4}


def layer_names(units: list[Unit]) -> list[list[str]]:
    return [[node.name for node in unit.layers] for unit in units if unit.layers]


def assert_covers(units: list[Unit], graph) -> None:
    nodes = [node for unit in units for node in unit.nodes]
    assert nodes == [node for node in graph.graph.nodes if node.op == "call_function"]
    made = {next(node for node in graph.graph.nodes if node.op == "placeholder")}
    for unit in units:
        assert set(unit.entries) <= made
        made |= set(unit.exits)


class InvertedResiduals(nn.Module):
    """Stem; expand, depthwise, project without a shortcut, then with one; classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.first = nn.ModuleList([nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.Conv2d(8, 4, 1)])
        self.second = nn.ModuleList([nn.Conv2d(4, 16, 1), nn.Conv2d(16, 16, 3, 2, 1, groups=16), nn.Conv2d(16, 6, 1)])
        self.third = nn.ModuleList([nn.Conv2d(6, 24, 1), nn.Conv2d(24, 24, 3, 1, 1, groups=24), nn.Conv2d(24, 6, 1)])
        self.head, self.out = nn.Conv2d(6, 32, 1), nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu6(self.stem(x))
        x = self.first[1](F.relu6(self.first[0](x)))
        x = self.second[2](F.relu6(self.second[1](F.relu6(self.second[0](x)))))
        x = x + self.third[2](F.relu6(self.third[1](F.relu6(self.third[0](x)))))
        return self.out(F.relu6(self.head(x)).mean((2, 3)))


def found_units(model: nn.Module, most_layers: int = 4) -> tuple[list[Unit], list[Unit]]:
    graph = folded(model, (3, 8, 8))
    layers = list(placed(graph, QuantiseSettings()).weights)
    units = basic_units(graph, layers, alone=edge_layers(graph, layers), most_layers=most_layers)
    single = single_layers(graph, layers)
    for each in (units, single):
        assert_covers(each, graph)
    assert all(len(unit.layers) <= most_layers for unit in units)
    assert all(len(unit.layers) <= 1 for unit in single)
    return units, single


def test_inverted_residuals_are_units_with_and_without_a_shortcut():
    units, single = found_units(InvertedResiduals())
    assert layer_names(units) == [
        ["conv2d"],
        ["conv2d_1", "conv2d_2"],
        ["conv2d_3", "conv2d_4", "conv2d_5"],
        ["conv2d_6", "conv2d_7", "conv2d_8"],
        ["conv2d_9"],
        ["linear"],
    ]
    assert all(len(unit.entries) == len(unit.exits) == 1 for unit in units)
    assert len(layer_names(single)) == 11
    assert [node.name for node in single[0].nodes] == ["conv2d", "relu6"]


def test_residual_blocks_are_units_and_end_with_their_function():
    units, _ = found_units(PaddedShortcut())
    assert layer_names(units) == [["conv2d"], ["conv2d_1", "conv2d_2"], ["linear"]]
    assert units[0].exits[0].name == "relu"


def test_a_dense_block_is_cut_in_order_of_execution():
    class Dense(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.out = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(28, 5)
            self.convs = nn.ModuleList(nn.Conv2d(4 + 4 * i, 4, 3, padding=1) for i in range(6))

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            kept = [x]
            for conv in self.convs:
                kept.append(conv(F.relu(torch.cat(kept, 1))))
            return self.out(torch.cat(kept, 1).mean((2, 3)))

    units, _ = found_units(Dense())
    assert [len(names) for names in layer_names(units)] == [1, 3, 3, 1]
    assert max(len(unit.entries) for unit in units) > 1
