"""A small network and three classes of images on which prunings take a second."""

from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from torch import nn

from nas.compress.gap import GapSettings
from nas.compress.gap.run import grow_and_prune
from nas.compress.gap.workers import Job
from nas.compress.prunable import Prunable, find_prunable
from nas.train.images import Dataset, Split
from nas.train.recipe import Recipe

RECIPE = Recipe(batch_size=32, learning_rate=0.05)
SETTINGS = GapSettings(sparsity=0.8, partitions=2, epochs_per_step=2, rounds=2, fine_tune_epochs=1)


def make_dataset() -> Dataset:
    """96 training, 32 validation and 32 test images of 8 x 8."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 160)
    images = rng.normal(size=(160, 1, 8, 8)).astype(np.float32)
    images[np.arange(160), 0, labels * 2] += 2
    parts = [Split(images[at], labels[at]) for at in (slice(0, 96), slice(96, 128), slice(128, 160))]
    return Dataset("stripes", *parts, ("a", "b", "c"))


def make_model() -> nn.Sequential:
    """Four convolutions with norms and a classifier, always with the same weights."""
    torch.manual_seed(0)
    blocks = [
        layer
        for c_in, c_out in pairwise((1, 4, 6, 6, 8))
        for layer in (nn.Conv2d(c_in, c_out, 3, padding=1), nn.BatchNorm2d(c_out), nn.ReLU())
    ]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))


@torch.no_grad()
def reweighted(model: nn.Module) -> nn.Module:
    """The same network with other initial weights, in place."""
    for tensor in model.parameters():
        tensor.mul_(1.5)
    return model


@lru_cache
def prunable() -> Prunable:
    """Of the small network."""
    return find_prunable(make_model(), (1, 8, 8))


def start(settings=SETTINGS, *, seed=0, workers=None, recipe=RECIPE):
    """A pruning before its first epoch."""
    return grow_and_prune(Job(make_model(), make_dataset(), recipe, "cpu"), prunable(), settings, seed, workers)


def finish(pruning):
    """Its result."""
    while pruning.epoch < pruning.epochs:
        pruning.train_epoch()
    return pruning.result()


def assert_equal_states(a, b) -> None:
    """Tensors by name, equal bit for bit."""
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
