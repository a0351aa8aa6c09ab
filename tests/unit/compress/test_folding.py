"""Norms folded into their neighbours: the same outputs, fewer operations, the network given unchanged."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.compress.errors import CannotCompress, Untraceable
from nas.compress.graph import operation
from nas.compress.quantise.fold import folded
from search_spaces import load_space
from search_spaces.build import build


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Norms that change what passes them; evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(generator=generator)
            module.running_var.uniform_(0.3, 2, generator=generator)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 2, generator=generator)
                nn.init.normal_(module.bias, generator=generator)
    return model.eval()


def norms(graph) -> int:
    return sum(operation(node) == "batch_norm" for node in graph.graph.nodes)


def assert_same(model: nn.Module, graph: nn.Module, shape: tuple[int, int, int]) -> None:
    for count in (1, 2, 7):
        images = torch.randn(count, *shape, generator=torch.Generator().manual_seed(count))
        with torch.no_grad():
            wanted, found = model(images), graph(images)
        assert float((found - wanted).abs().max()) <= 1e-4 * float(wanted.abs().max())


class Residual(nn.Module):
    """In-place ReLUs, a norm that reads an addition, a norm with two readers before it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv, self.norm1 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8, affine=False)
        self.twice, self.norm2 = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)
        self.after, self.out = nn.BatchNorm2d(8), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu_(self.norm(self.stem(x)))
        x = x + F.relu(self.norm1(self.conv(x)))
        y = self.twice(x)
        x = F.relu(self.norm2(y)) + y
        x = self.after(x)
        x.relu_()
        return self.out(x.mean((2, 3)))


LAYERS = {
    "grouped": nn.Sequential(nn.Conv2d(4, 8, 3, groups=2, bias=False), nn.BatchNorm2d(8)),
    "depthwise": nn.Sequential(nn.Conv2d(4, 4, 3, groups=4, padding=1), nn.BatchNorm2d(4), nn.ReLU()),
    "same": nn.Sequential(nn.Conv2d(4, 6, 3, padding="same", bias=False), nn.BatchNorm2d(6)),
    "transposed": nn.Sequential(nn.ConvTranspose2d(4, 6, 2, stride=2, bias=False), nn.BatchNorm2d(6)),
    "transposed, grouped": nn.Sequential(nn.ConvTranspose2d(4, 6, 3, groups=2), nn.BatchNorm2d(6)),
    "linear": nn.Sequential(nn.Flatten(), nn.Linear(4 * 64, 6, bias=False), nn.BatchNorm1d(6), nn.Dropout()),
    "before a convolution": nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3, groups=2)),
    "before a linear layer": nn.Sequential(nn.Flatten(), nn.BatchNorm1d(256), nn.Linear(256, 6)),
    "twice": nn.Sequential(nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8), nn.BatchNorm2d(8)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_norms_fold_into_every_kind_of_layer(name):
    model = randomise(LAYERS[name])
    graph = folded(model, (4, 8, 8))
    assert norms(graph) == 0
    assert_same(model, graph, (4, 8, 8))


def test_what_cannot_be_folded_stays_and_outputs_are_the_same():
    model = randomise(Residual())
    graph = folded(model, (3, 8, 8))
    assert norms(graph) == 2  # after two readers of one convolution, and after an addition
    assert_same(model, graph, (3, 8, 8))


def test_a_norm_before_a_padded_convolution_stays():
    model = randomise(nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3, padding=1)))
    graph = folded(model, (4, 8, 8))
    assert norms(graph) == 1
    assert_same(model, graph, (4, 8, 8))


def test_a_norm_of_batch_statistics_stays():
    model = nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6, track_running_stats=False)).eval()
    graph = folded(model, (4, 8, 8))
    assert norms(graph) == 1


def test_a_reused_convolution_gets_a_weight_for_each_use():
    class Reused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.a, self.b = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.BatchNorm2d(4)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.conv(F.relu(self.a(self.conv(x)))))

    model = randomise(Reused())
    graph = folded(model, (4, 8, 8))
    assert norms(graph) == 0
    assert {"conv.weight", "conv.weight_2"} <= set(graph.state_dict())
    assert_same(model, graph, (4, 8, 8))


def test_standardised_weights_become_plain_ones():
    class Standardised(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
            return F.conv2d(x, weight / weight.flatten(1).std(1).reshape(-1, 1, 1, 1), self.bias)

    model = randomise(nn.Sequential(Standardised(4, 6, 3), nn.BatchNorm2d(6)))
    graph = folded(model, (4, 8, 8))
    assert norms(graph) == 0
    assert [operation(node) for node in graph.graph.nodes if node.op == "call_function"] == ["conv2d"]
    assert_same(model, graph, (4, 8, 8))


def test_names_of_the_state_dict_stay_and_the_model_is_unchanged():
    model = randomise(Residual()).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    graph = folded(model, (3, 8, 8))
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert {"stem.weight", "stem.bias", "conv.weight", "conv.bias", "out.weight"} <= set(graph.state_dict())
    assert not any(name.startswith("norm1") for name in graph.state_dict())


def test_a_network_of_ours_has_no_norm_left():
    space = load_space("resnet20-channels")
    import numpy as np

    model = randomise(build(space.sample(np.random.default_rng(0)), num_classes=10, in_channels=1))
    graph = folded(model, (1, 14, 14))
    assert norms(graph) == 0
    assert_same(model, graph, (1, 14, 14))


def test_branches_on_values_are_refused():
    class Branching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if float(x.sum()) > 0 else -x

    with pytest.raises(Untraceable, match="Branching"):
        folded(Branching(), (4, 8, 8))


def test_weights_that_are_not_finite_are_refused():
    model = nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6))
    model[0].weight.data[0] = float("nan")
    with pytest.raises(CannotCompress, match="not finite"):
        folded(model, (4, 8, 8))
