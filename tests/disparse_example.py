"""A small network with two heads, and images that it learns in seconds."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from nas.train.images import Dataset, Split
from nas.train.multitask.labels import CATEGORY, ROTATION
from nas.train.multitask.network import MultitaskNetwork
from nas.train.multitask.recipe import MultitaskRecipe

CLASSES = 4
RECIPE = MultitaskRecipe(epochs=2, batch_size=16, learning_rate=0.05, ema_decay=0.5)


def patterns() -> Dataset:
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 255, (CLASSES, 1, 8, 8))

    def split(count: int) -> Split:
        labels = np.arange(count) % CLASSES
        noisy = 0.7 * patterns[labels] + 0.3 * rng.integers(0, 255, (count, 1, 8, 8))
        return Split(noisy.astype(np.uint8), labels.astype(np.int64))

    return Dataset("patterns", split(96), split(32), split(32), tuple("abcd"))


def head(outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, outputs)
    )


def sample_network(second: str = ROTATION, seed: int = 0) -> MultitaskNetwork:
    torch.manual_seed(seed)
    trunk = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.BatchNorm2d(8)
    )
    return MultitaskNetwork(trunk, {CATEGORY: head(CLASSES), second: head(4)})
