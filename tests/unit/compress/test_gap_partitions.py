"""Which weights are prunable, how they are cut into partitions, and who owns every tensor."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from hardware.counts import count
from nas.compress.errors import CannotCompress
from nas.compress.gap import GapSettings, InvalidPruning, PruningSettings
from nas.compress.gap.partitions import contiguous, partitionings
from nas.compress.gap.selection import global_counts, kept_count, largest_weights, random_weights
from nas.compress.masks import Masks
from nas.compress.prunable import PrunableLayer, find_prunable
from search_spaces import SPACES
from search_spaces.build import build

SHAPE = (1, 8, 8)


class Residual(nn.Module):
    """Registered in another order than executed; the shortcut runs after the second convolution, its norm later."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(12, 3)
        self.second = nn.Conv2d(8, 12, 3, padding=1)
        self.second_norm = nn.BatchNorm2d(12)
        self.short = nn.Conv2d(6, 12, 1, bias=False)
        self.short_norm = nn.BatchNorm2d(12)
        self.first = nn.Conv2d(6, 8, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(8)
        self.stem = nn.Conv2d(1, 6, 3, padding=1)
        self.shift = nn.Parameter(torch.zeros(6, 1, 1))

    def forward(self, x):
        x = self.stem(x) + self.shift
        y = self.first_norm(self.first(x)).relu()
        y, z = self.second(y), self.short(x)
        return self.head((self.second_norm(y) + self.short_norm(z)).relu().mean((2, 3)))


class Tied(nn.Module):
    """One middle weight under two names, used by both."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.d = nn.Linear(64, 5), nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 2)
        self.c.weight = self.b.weight

    def forward(self, x):
        return self.d(self.c(self.b(self.a(x.flatten(1)))))


def layers(*sizes):
    return [PrunableLayer(f"l{at}", size, 1) for at, size in enumerate(sizes)]


def test_layers_are_found_in_order_of_execution_without_stem_and_classifier():
    found = find_prunable(Residual(), SHAPE)
    assert found.names == ("first.weight", "second.weight", "short.weight")
    assert found.sizes == {"first.weight": 432, "second.weight": 864, "short.weight": 72}
    assert all(layer.positions == 64 for layer in found.layers)
    assert found.other_macs == 54 * 64 + 36
    assert found.dense_macs == found.other_macs + 64 * (432 + 864 + 72)
    assert found.macs({"second.weight": 10}) == found.other_macs + 64 * (432 + 10 + 72)


def test_stem_and_classifier_are_prunable_on_request():
    found = find_prunable(Residual(), SHAPE, stem=True, classifier=True)
    assert found.names == ("stem.weight", "first.weight", "second.weight", "short.weight", "head.weight")
    assert found.other_macs == 0


def test_every_parameter_and_buffer_follows_the_layer_before_it():
    model = Residual()
    follows = find_prunable(model, SHAPE).follows
    assert set(follows) == set(model.state_dict())
    assert follows["stem.weight"] == follows["stem.bias"] == follows["shift"] == "first.weight"
    for leaf in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
        assert follows[f"first_norm.{leaf}"] == "first.weight"
        assert follows[f"second_norm.{leaf}"] == "second.weight"  # though the shortcut ran in between
        assert follows[f"short_norm.{leaf}"] == "short.weight"
    assert follows["second.bias"] == "second.weight"
    assert follows["head.weight"] == follows["head.bias"] == "short.weight"


def test_a_tied_weight_is_one_layer_with_the_work_of_both():
    model = Tied()
    found = find_prunable(model, SHAPE)
    assert found.layers == (PrunableLayer("b.weight", 25, 2),)
    assert set(found.follows) == set(model.state_dict())
    assert found.dense_macs == 64 * 5 + 2 * 25 + 10


def test_positions_of_transposed_grouped_and_strided_convolutions():
    model = nn.Sequential(
        nn.Conv2d(1, 4, 1),
        nn.ConvTranspose2d(4, 6, 2, stride=2),
        nn.Conv2d(6, 6, 3, groups=3, stride=4),
        nn.Conv2d(6, 2, 1),
    )
    found = find_prunable(model, SHAPE)
    assert [(layer.weights, layer.positions) for layer in found.layers] == [(96, 64), (108, 16)]


def test_attention_gives_its_projections_and_no_table():
    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches, self.head = nn.Linear(8, 16), nn.Linear(16, 2)
            self.positions = nn.Parameter(torch.zeros(1, 8, 16))
            self.body = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)

        def forward(self, x):
            return self.head(self.body(self.patches(x.flatten(1, 2)) + self.positions).mean(1))

    model = Encoder()
    found = find_prunable(model, SHAPE)
    leaves = ("self_attn.in_proj_weight", "self_attn.out_proj.weight", "linear1.weight", "linear2.weight")
    assert found.names == tuple(f"body.{leaf}" for leaf in leaves)
    assert set(found.follows) == set(model.state_dict())


def test_multiply_accumulates_are_those_of_the_exact_counts():
    space = SPACES["resnet20-channels"]
    arch = space.sample(np.random.default_rng(0))
    found = find_prunable(build(arch, num_classes=10), (3, 16, 16))
    assert found.dense_macs == count(arch, (3, 16, 16), 10).macs


def test_nothing_to_prune_says_how_to_allow_more():
    with pytest.raises(CannotCompress, match=r"Sequential: 2 convolutions.*stem=True or classifier=True"):
        find_prunable(nn.Sequential(nn.Conv2d(1, 4, 1), nn.Flatten(), nn.Linear(256, 2)), SHAPE)


def test_contiguous_parts_are_balanced_by_what_is_asked_for():
    rows = layers(1, 1, 1, 9, 9, 1)
    assert contiguous(rows, 2, "layers") == (("l0", "l1", "l2"), ("l3", "l4", "l5"))
    assert contiguous(rows, 2, "weights") == (("l0", "l1", "l2", "l3"), ("l4", "l5"))
    assert contiguous(rows, 6, "weights") == tuple((f"l{at}",) for at in range(6))
    assert contiguous(rows, 1, "macs") == (tuple(f"l{at}" for at in range(6)),)


def test_partitions_own_everything_and_too_many_are_refused():
    model = Residual()
    found = find_prunable(model, SHAPE)
    (cut,) = set(partitionings(found, GapSettings(sparsity=0.5, partitions=3), seed=0))
    assert cut.parts == (("first.weight",), ("second.weight",), ("short.weight",))
    assert set(cut.owner) == set(model.state_dict())
    assert cut.owner["stem.weight"] == 0
    assert cut.owner["second_norm.running_var"] == 1
    assert cut.owner["head.weight"] == 2
    with pytest.raises(CannotCompress, match="partitions=4, the network has 3 prunable layers"):
        partitionings(found, GapSettings(sparsity=0.5, partitions=4), seed=0)


def test_random_partitions_cover_every_layer_each_round_and_no_part_runs_twice():
    model = nn.Sequential(nn.Flatten(), *[nn.Linear(64, 64) for _ in range(7)], nn.Linear(64, 2))
    found = find_prunable(model, SHAPE, stem=True)
    settings = GapSettings(sparsity=0.5, partitions=7, rounds=60, partitioning="random")
    cuts = partitionings(found, settings, seed=3)
    assert [cut.parts for cut in cuts] == [cut.parts for cut in partitionings(found, settings, seed=3)]
    assert cuts[0].parts != cuts[1].parts
    assert all(sorted(name for part in cut.parts for name in part) == sorted(found.names) for cut in cuts)
    flat = [part for cut in cuts for part in cut.parts]
    assert all(a != b for a, b in pairwise(flat))


@pytest.mark.parametrize(("size", "sparsity", "kept"), [(10, 0.7, 3), (1000, 0.9, 100), (7, 0.5, 4), (5, 0.98, 1)])
def test_kept_counts_are_exact(size, sparsity, kept):
    assert kept_count(size, sparsity) == kept


def test_ties_are_broken_by_place_and_zeros_that_are_kept_come_before_those_that_are_not():
    weights = {"a": torch.tensor([0.0, 2.0, -2.0, 0.0, 2.0, 0.0])}
    settings = PruningSettings(sparsity=0.5)
    assert largest_weights(weights, settings)["a"].tolist() == [False, True, True, False, True, False]
    alive = Masks({"a": torch.tensor([0, 1, 0, 0, 0, 1])})
    more = PruningSettings(sparsity=4 / 6)
    assert largest_weights(weights, more, alive)["a"].tolist() == [False, True, False, False, False, True]
    same = {"a": torch.zeros(10)}
    assert largest_weights(same, PruningSettings(sparsity=0.7))["a"].tolist() == [True] * 3 + [False] * 7


def test_one_threshold_for_all_layers_keeps_the_total_and_the_least():
    generator = torch.Generator().manual_seed(0)
    weights = {"large": torch.randn(500, generator=generator) * 5, "small": torch.randn(500, generator=generator) * 0.1}
    masks = largest_weights(weights, PruningSettings(sparsity=0.9, distribution="global", least=0.2))
    assert masks.kept == 100
    assert int(masks["small"].sum()) == 10
    free = largest_weights(weights, PruningSettings(sparsity=0.9, distribution="global", least=0))
    every = torch.cat([w.abs() for w in weights.values()])
    kept = torch.cat([free[name] for name in weights])
    assert every[kept].min() >= every[~kept].max()
    scores = {"x": torch.ones(4), "y": torch.ones(4)}
    assert global_counts(scores, 5, {"x": 0, "y": 0}) == {"x": 4, "y": 1}


def test_random_masks_have_exact_counts_and_depend_on_the_seed():
    shapes = {"a": (5, 7), "b": (100,)}
    masks = random_weights(shapes, 0.8, 0)
    assert [int(mask.sum()) for mask in masks.values()] == [7, 20]
    assert all(torch.equal(masks[name], random_weights(shapes, 0.8, 0)[name]) for name in shapes)
    assert not torch.equal(masks["b"], random_weights(shapes, 0.8, 1)["b"])


def test_weights_that_are_not_finite_are_refused_by_name():
    with pytest.raises(CannotCompress, match=r"b\.weight: holds NaN"):
        largest_weights({"b.weight": torch.tensor([1.0, float("nan")])}, PruningSettings(sparsity=0.5))


@pytest.mark.parametrize(
    "wrong",
    [
        {"sparsity": 1.0},
        {"sparsity": -0.1},
        {"distribution": "erk"},
        {"least": 2.0},
        {"method": "s-gap"},
        {"partitions": 0},
        {"rounds": 0},
        {"epochs_per_step": 0},
        {"fine_tune_epochs": -1},
        {"partitioning": "blocks"},
        {"balance": "time"},
        {"start": "zero"},
    ],
)
def test_settings_out_of_range_are_named(wrong):
    with pytest.raises(InvalidPruning, match=rf"settings\.{next(iter(wrong))}="):
        GapSettings(**{"sparsity": 0.5, **wrong})
