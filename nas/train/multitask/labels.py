"""Two tasks from a classification set: the class beside how the image was turned, or beside a coarser group."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor
from torch.nn import functional as F

from nas.train.augment import shift, shift_pixels
from nas.train.images import Dataset, InvalidDataset, Split
from nas.train.multitask.meters import Top1
from nas.train.multitask.tasks import MultitaskData, MultitaskSplit, Targets, Task

CATEGORY, ROTATION, GROUP = "category", "rotation", "group"
TURNS = 4
FASHION_GROUPS = (0, 1, 0, 1, 0, 2, 0, 2, 3, 2)  # tops; trousers and dresses; shoes; bags


def cross_entropy(output: Tensor, targets: Targets) -> Tensor:
    """Of logits (N, classes) and labels (N,)."""
    return F.cross_entropy(output, targets[0])


def classification(name: str, *, weight: float = 1.0) -> Task:
    """A task with one label an image."""
    return Task(name, cross_entropy, Top1, "top1", weight)


def with_rotation(dataset: Dataset, *, seed: int = 0) -> MultitaskData:
    """Every image turned by 0, 90, 180 or 270 degrees: tell its class, and by how much it was turned (4 labels).

    Args:
        dataset: of square images.
        seed: of the turns, which are drawn once.
    Raises: InvalidDataset: the images are not square.
    """
    if dataset.input_shape[1] != dataset.input_shape[2]:
        raise InvalidDataset(f"{dataset.name}: images of {dataset.input_shape[1:]} pixels, expected square ones")
    rng = np.random.default_rng(seed)
    splits = [_turned(split, rng) for split in (dataset.train, dataset.validation, dataset.test)]
    return _two_tasks(dataset, ROTATION, splits)


def with_group(dataset: Dataset, groups: Sequence[int] = FASHION_GROUPS) -> MultitaskData:
    """The class, and the group that it belongs to.

    Args:
        dataset: of any images.
        groups: group of each class, numbered from 0.
    Raises: InvalidDataset: not one group for each class.
    """
    if len(groups) != dataset.num_classes:
        raise InvalidDataset(f"{dataset.name}: {len(groups)} groups, expected one for each of {dataset.num_classes}")
    table = np.array(groups, dtype=np.int64)
    parts = (dataset.train, dataset.validation, dataset.test)
    return _two_tasks(dataset, GROUP, [(split.images, split.labels, table[split.labels]) for split in parts])


def _turned(split: Split, rng: np.random.Generator) -> tuple[NDArray[np.generic], ...]:
    turns = rng.integers(0, TURNS, len(split))
    images = split.images.copy()
    for turn in range(1, TURNS):
        images[turns == turn] = np.rot90(split.images[turns == turn], turn, axes=(2, 3))
    return images, split.labels, turns


def _two_tasks(dataset: Dataset, second: str, parts: Sequence[tuple[NDArray[np.generic], ...]]) -> MultitaskData:
    tensors = [tuple(torch.from_numpy(np.ascontiguousarray(array).copy()) for array in part) for part in parts]
    train, validation, test = (MultitaskSplit(x, {CATEGORY: (y,), second: (z,)}) for x, y, z in tensors)
    pixels = shift_pixels(dataset.input_shape, strong=False)

    def moved(images: Tensor, targets: dict[str, Targets], generator: Generator) -> tuple[Tensor, dict[str, Targets]]:
        return shift(images, pixels, generator), targets

    tasks = (classification(CATEGORY), classification(second))
    return MultitaskData(dataset.task, tasks, train, validation, test, moved)
