"""Fashion-MNIST at half resolution and with fewer images: real data on which dozens of networks train on a CPU."""

from __future__ import annotations

import numpy as np

from nas.train.data import Dataset, Split, load_dataset
from nas.train.images import Images

TRAIN, VALIDATION = 8_000, 4_000


def load() -> Dataset:
    """14 x 14 pixels, 8,000 training, 4,000 validation and 10,000 test images."""
    return small_fashion(TRAIN, VALIDATION)


def small_fashion(train: int, validation: int) -> Dataset:
    """The first images of each split, each pixel the mean of 2 x 2.

    Args:
        train: number of training images.
        validation: of validation images, at most 5,000.
    """
    whole = load_dataset("fashion-mnist")
    return Dataset(
        f"fashion-mnist-14-{train}",
        _small(whole.train, train),
        _small(whole.validation, validation),
        _small(whole.test, len(whole.test)),
        whole.classes,
    )


def _small(split: Split, count: int) -> Split:
    return Split(_halved(split.images[:count]), split.labels[:count])


def _halved(images: Images) -> Images:
    n, channels, height, width = images.shape
    cells = images.reshape(n, channels, height // 2, 2, width // 2, 2).astype(np.float32)
    means: Images = np.round(cells.mean(axis=(3, 5))).astype(np.uint8)
    return means
