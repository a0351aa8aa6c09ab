"""A dataset with fewer images and no test images, for trainings that nobody delivers."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from nas.train.data import Dataset, load_dataset
from nas.train.images import Split


@lru_cache(maxsize=1)
def without_test(spec: str, images: int | None) -> Dataset:
    """The dataset with at most so many training and validation images, and no test image at all.

    Every class keeps an equal share, as far as it has as many.

    Args:
        spec: as for ``load_dataset``.
        images: most images of each of both splits; None keeps all.
    """
    dataset = load_dataset(spec)
    none = Split(dataset.test.images[:0], dataset.test.labels[:0])
    train, validation = (_fewer(split, images, dataset.num_classes) for split in (dataset.train, dataset.validation))
    return replace(dataset, train=train, validation=validation, test=none)


def _fewer(split: Split, images: int | None, classes: int) -> Split:
    if images is None or images >= len(split):
        return split
    order = np.random.default_rng(0).permutation(len(split))
    turn = np.empty(len(split), dtype=np.int64)  # 0 for the first image of its class in that order, 1, ...
    for label in range(classes):
        members = order[split.labels[order] == label]
        turn[members] = np.arange(len(members))
    kept = np.sort(order[np.argsort(turn[order], kind="stable")[: max(images, classes)]])
    return Split(split.images[kept], split.labels[kept])
