"""Coupled channels of user modules and of networks of our spaces: found, masked, cut, priced."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from compress_modules import MODULES, Mixture, PaddedShortcut, Residual, Transformer, random_norms
from thinning import thinned
from torch import Tensor, nn

from nas.compress.coupling import coupled_channels
from nas.compress.errors import CannotCompress, Untraceable
from nas.compress.graph import executed_graph, operation
from nas.compress.groups import Coupling
from nas.compress.sliced_cost import SlicedCost
from nas.compress.slicing import mask_, sliced
from search_spaces import load_space
from search_spaces.build import Network, build


def random_keep(coupling: Coupling, seed: int = 0) -> dict[str, Tensor]:
    """About half of the units of every group, at least one."""
    generator = torch.Generator().manual_seed(seed)
    keep = {name: torch.rand(group.size, generator=generator) < 0.5 for name, group in coupling.groups.items()}
    for kept in keep.values():
        kept[-1] = True
    return keep


def counted_macs(model: nn.Module, shape: tuple[int, int, int]) -> int:
    """Multiply-accumulates as the executed graph of a module shows them."""
    return SlicedCost(model, Coupling({}, {}, shape)).macs({})


SLOW_SPACES = ["zen-tiny", "genet-tiny", "tinynas-k1dwsek1", "zen-idw-se"]
SPACES = [
    "mobilenetv3-tiny-images", "nas-bench-201-tiny", "vit-tiny", "resnet-small",
    *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW_SPACES),
]  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_cut_network_computes_what_the_masked_one_does(name: str) -> None:
    make, shape = MODULES[name]
    torch.manual_seed(0)
    model = random_norms(make())
    before = copy.deepcopy(model.state_dict())
    coupling = coupled_channels(model, shape)
    keep = random_keep(coupling)
    small = sliced(model, coupling, keep)
    masked = copy.deepcopy(model)
    mask_(masked, coupling, keep)
    images = torch.randn(5, *shape)
    with torch.no_grad():
        wanted, found = masked(images), small(images)
    assert float((wanted - found).abs().max()) <= 1e-5 * max(1.0, float(wanted.abs().max()))
    assert not torch.equal(model(images), wanted)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    cost = SlicedCost(model, coupling)
    assert cost.params(keep) == sum(value.numel() for value in small.parameters())
    assert cost.params({}) == sum(value.numel() for value in model.parameters())
    assert cost.macs(keep) == counted_macs(small, shape) < cost.macs({})
    assert cost.macs({group: int(kept.sum()) for group, kept in keep.items()}) == cost.macs(keep)


def test_residual_groups_and_reasons() -> None:
    coupling = coupled_channels(random_norms(Residual()), (3, 8, 8))
    assert {name: group.size for name, group in coupling.groups.items()} == {
        "stem": 8, "conv1": 6, "conv3": 12,
    }  # fmt: skip
    assert [member.module for member in coupling.groups["stem"].of("maker")] == ["stem", "stem", "conv2"]
    reader = next(member for member in coupling.groups["conv3"].members if member.tensor == "out.weight")
    assert (reader.dim, reader.role, reader.indices.shape) == (1, "reader", (12, 16))
    assert reader.indices[1].tolist() == list(range(16, 32))
    assert coupling.fixed == {"out": "it is the network's output"}


def test_zeros_of_a_padded_shortcut_hold_their_channels() -> None:
    group = coupled_channels(random_norms(PaddedShortcut()), (3, 8, 8)).groups["stem"]
    last = next(member for member in group.members if member.tensor == "last.weight" and member.dim == 0)
    assert group.size == 8
    assert last.indices[:, 0].tolist() == list(range(4, 12))


def test_grouped_depthwise_and_concatenated_groups() -> None:
    groups = coupled_channels(random_norms(Mixture()), (3, 8, 8)).groups
    assert {name: group.size for name, group in groups.items()} == {
        "left": 8, "right": 12, "middle": 10, "grouped": 10, "squeeze": 10, "narrow": 24, "up": 12,
    }  # fmt: skip
    depthwise = next(member for member in groups["grouped"].members if member.tensor == "depthwise.weight")
    assert (depthwise.role, depthwise.indices.shape) == ("follower", (10, 8))
    assert {(member.tensor, member.dim) for member in groups["up"].members} >= {
        ("twice.weight", 0),
        ("twice.weight", 1),
    }


def test_heads_go_whole_and_layer_norms_hold_their_channels() -> None:
    coupling = coupled_channels(random_norms(Transformer()), (3, 16, 16))
    assert {name: group.size for name, group in coupling.groups.items()} == {"qkv": 4, "wide": 40}
    assert coupling.groups["qkv"].members[0].indices.shape == (4, 24)
    assert coupling.fixed["project"] == "norm: layer_norm takes statistics over channels"


def test_code_with_sizes_as_numbers_keeps_its_channels_and_says_why() -> None:
    coupling = coupled_channels(random_norms(Transformer(by="number")), (3, 16, 16))
    assert list(coupling.groups) == ["wide"]
    assert "take sizes from tensors" in coupling.fixed["qkv"] or "depends on the number" in coupling.fixed["qkv"]


@pytest.mark.parametrize("space", thinned(SPACES, 2))
def test_networks_of_our_spaces_stay_networks(space: str) -> None:
    arch = load_space(space).sample(np.random.default_rng(3))
    model = random_norms(build(arch, num_classes=5))
    assert isinstance(model, Network)
    shape = (model.in_channels, 32, 32)
    coupling = coupled_channels(model, shape)
    assert coupling.groups
    keep = random_keep(coupling)
    small = sliced(model, coupling, keep)
    assert isinstance(small, Network)
    assert sum(layer.weight_count for layer in small.layers) == sum(value.numel() for value in small.parameters())
    assert sum(layer.weight_count for layer in small.layers) == SlicedCost(model, coupling).params(keep)
    again = Network(small.layers, small.arch, small.num_classes, small.in_channels)
    again.load_state_dict(small.state_dict())
    images = torch.randn(3, *shape)
    with torch.no_grad():
        torch.testing.assert_close(again.eval()(images), small(images))
    for layer, module in zip(small.layers, small._modules_at, strict=True):
        if isinstance(module, nn.Conv2d):
            assert (module.out_channels, module.in_channels, module.groups) == (
                layer.channels, layer.in_channels, layer.groups,
            )  # fmt: skip


def test_masks_of_another_network_are_refused() -> None:
    model = random_norms(Residual())
    coupling = coupled_channels(model, (3, 8, 8))
    with pytest.raises(CannotCompress, match=r"'conv9': no such group, expected one of stem, conv1, conv3"):
        sliced(model, coupling, {"conv9": torch.ones(3, dtype=torch.bool)})
    with pytest.raises(CannotCompress, match=r"'conv1': a mask of shape \(6,\) that keeps 0, expected \(6,\) with"):
        mask_(model, coupling, {"conv1": torch.zeros(6, dtype=torch.bool)})
    with pytest.raises(CannotCompress, match=r"'stem': stem.weight is None here; the groups belong to another network"):
        mask_(Transformer(), coupling, {"stem": torch.ones(8, dtype=torch.bool)})


def test_a_module_that_cannot_be_exported_is_named() -> None:
    class Branch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x) if float(x.sum()) > 0 else x

    with pytest.raises(Untraceable, match=r"Branch: PyTorch cannot export it for images of 3x4x4"):
        coupled_channels(Branch(), (3, 4, 4))


def test_same_channels_as_torch_pruning() -> None:
    """Removing one channel of a convolution removes the same slices of the same tensors there."""
    pruning = pytest.importorskip("torch_pruning")
    for make, layers in (
        (Residual, ("stem", "conv1", "conv3", "short")),
        (Mixture, ("left", "right", "squeeze", "narrow")),
    ):
        torch.manual_seed(0)
        model = random_norms(make())
        coupling = coupled_channels(model, (3, 8, 8))
        for layer in layers:
            ours = next(
                group for group in coupling.groups.values() if layer in [member.module for member in group.of("maker")]
            )
            kept = torch.ones(ours.size, dtype=torch.bool)
            kept[1] = False
            small = sliced(model, coupling, {ours.name: kept})
            theirs = copy.deepcopy(model)
            loose = [(theirs.scale, 0)] if isinstance(theirs, Mixture) else None
            graph = pruning.DependencyGraph().build_dependency(
                theirs, torch.randn(2, 3, 8, 8), unwrapped_parameters=loose
            )
            module = theirs.get_submodule(layer)
            graph.get_pruning_group(module, pruning.prune_conv_out_channels, idxs=[1]).prune()
            images = torch.randn(2, 3, 8, 8)
            with torch.no_grad():
                torch.testing.assert_close(small(images), theirs.eval()(images), msg=f"{make.__name__} {layer}")


def test_graph_names_operations_and_tensors() -> None:
    graph = executed_graph(Residual(), (3, 8, 8))
    operations = [operation(node) for node in graph.graph.nodes if operation(node)]
    assert operations.count("conv2d") == 5
    images = torch.randn(7, 3, 8, 8)
    model = random_norms(Residual())
    with torch.no_grad():
        torch.testing.assert_close(executed_graph(model, (3, 8, 8))(images), model(images))
