"""A labelled image dataset in memory: splits, normalisation, and the checks every source goes through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

TEST_SHARE = 0.2
VALIDATION_SHARE = 0.15
MAX_VALIDATION = 5000
SPLIT_SEED = 0
_CHUNK = 4096  # images at a time when computing statistics
_MAX_CHANNELS_GUESSED = 4

Images = NDArray[Any]  # (N, C, H, W) uint8 or float32
Labels = NDArray[np.int64]  # (N,)


class InvalidDataset(ValueError):
    """The data cannot be trained on; the message names the file or array and the way to mend it."""


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Images (N, C, H, W), uint8 or float32, and their labels (N,), int64 in 0..classes-1."""

    images: Images
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True, eq=False)
class RawData:
    """What a source found, before any check: arrays as they came, None for splits that it does not have."""

    train: tuple[Any, Any]
    validation: tuple[Any, Any] | None = None
    test: tuple[Any, Any] | None = None
    classes: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class ImageTask:
    """What a deployed network must know about its images.

    Attributes:
        name: of the dataset.
        classes: names in label order.
        input_shape: (channels, height, width).
        pixel_scale: factor on raw pixels before normalisation: 1/255 for uint8, 1 for float images.
        mean, std: per channel, of the scaled training images.
    """

    name: str
    classes: tuple[str, ...]
    input_shape: tuple[int, int, int]
    pixel_scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Three disjoint splits of one image classification task.

    ``fit`` reads ``train`` and ``validation`` only; ``test`` is for ``evaluate_test``, once, at the very end.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]

    @property
    def num_classes(self) -> int:
        """Number of labels."""
        return len(self.classes)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one image."""
        channels, height, width = self.train.images.shape[1:]
        return (channels, height, width)

    @property
    def pixel_scale(self) -> float:
        """Factor on raw pixels before normalisation: 1/255 for uint8, 1 for float images."""
        return 1 / 255 if self.train.images.dtype == np.uint8 else 1.0

    @property
    def mean(self) -> tuple[float, ...]:
        """Per channel, of the scaled training images."""
        return self._statistics[0]

    @property
    def std(self) -> tuple[float, ...]:
        """Per channel, of the scaled training images; 1 for a constant channel."""
        return self._statistics[1]

    @property
    def task(self) -> ImageTask:
        """The part of the dataset that travels with a trained network."""
        return ImageTask(self.name, self.classes, self.input_shape, self.pixel_scale, self.mean, self.std)

    @cached_property
    def _statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        images = self.train.images
        total = np.zeros(images.shape[1])
        squares = np.zeros(images.shape[1])
        for start in range(0, len(images), _CHUNK):
            chunk = images[start : start + _CHUNK].astype(np.float64) * self.pixel_scale
            total += chunk.sum(axis=(0, 2, 3))
            squares += np.square(chunk).sum(axis=(0, 2, 3))
        pixels = len(images) * images.shape[2] * images.shape[3]
        mean = total / pixels
        std = np.sqrt(np.maximum(squares / pixels - mean**2, 0.0))
        std[std < 1e-6] = 1.0
        return tuple(mean.tolist()), tuple(std.tolist())


def make_dataset(name: str, raw: RawData) -> Dataset:
    """Check raw arrays and cut the splits that are missing, stratified by class and with a fixed seed.

    Args:
        name: how messages and reports call the data.
        raw: images (N, H, W), (N, H, W, C) or (N, C, H, W), labels (N,) from 0; test (20 %) and validation
            (15 %, at most 5,000) are cut off the training images when absent.
    Raises: InvalidDataset: NaN, objects, shapes or labels that do not fit, an empty or a single class.
    """
    train = _check_split(f"{name} train", raw.train)
    given = {
        part: _check_split(f"{name} {part}", arrays)
        for part, arrays in (("validation", raw.validation), ("test", raw.test))
        if arrays is not None
    }
    classes = raw.classes or tuple(str(i) for i in range(int(train.labels.max()) + 1))
    _check_classes(name, train, classes)
    for part, split in given.items():
        _check_same_task(f"{name} {part}", split, train, len(classes))
    if "test" not in given:
        train, given["test"] = _cut(name, train, TEST_SHARE)
    if "validation" not in given:
        train, given["validation"] = _cut(name, train, min(VALIDATION_SHARE, MAX_VALIDATION / len(train)))
    return Dataset(name, train, given["validation"], given["test"], classes)


def _check_split(where: str, arrays: tuple[Any, Any]) -> Split:
    images, labels = _check_images(where, np.asarray(arrays[0])), _check_labels(where, np.asarray(arrays[1]))
    if len(images) != len(labels):
        raise InvalidDataset(f"{where}: {len(images)} images and {len(labels)} labels, expected as many of each")
    if len(images) == 0:
        raise InvalidDataset(f"{where}: no images")
    return Split(images, labels)


def _check_images(where: str, images: Images) -> Images:
    if images.dtype.kind not in "buif":
        raise InvalidDataset(f"{where}: images of type {images.dtype}, expected numbers")
    images = _channels_first(where, images)
    if images.dtype.kind == "f":
        if not np.isfinite(images).all():
            raise InvalidDataset(f"{where}: images hold NaN or infinite values; clean or replace them")
        return np.ascontiguousarray(images, dtype=np.float32)
    if images.dtype.kind == "b":
        return np.ascontiguousarray(images, dtype=np.float32)
    if images.size and images.min() >= 0 and images.max() <= 255:
        return np.ascontiguousarray(images, dtype=np.uint8)
    return np.ascontiguousarray(images, dtype=np.float32)


def _channels_first(where: str, images: Images) -> Images:
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim != 4 or 0 in images.shape[1:]:
        raise InvalidDataset(
            f"{where}: images of shape {images.shape}, expected (N, H, W), (N, H, W, C) or (N, C, H, W)"
        )
    first, last = images.shape[1], images.shape[3]
    if min(first, last) > _MAX_CHANNELS_GUESSED:
        raise InvalidDataset(
            f"{where}: images of shape {images.shape}: cannot tell the channels from the width; "
            "return a nas.train.data.Dataset from a package.module:function instead"
        )
    channels_last = first > _MAX_CHANNELS_GUESSED or (first not in (1, 3) and last in (1, 3))
    return np.moveaxis(images, 3, 1) if channels_last else images


def _check_labels(where: str, labels: NDArray[Any]) -> Labels:
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    whole = labels.dtype.kind in "iu" or (labels.dtype.kind == "f" and bool((labels == np.floor(labels)).all()))
    if labels.ndim != 1 or not whole:
        raise InvalidDataset(
            f"{where}: labels of type {labels.dtype} and shape {labels.shape}, expected (N,) whole numbers from 0"
        )
    return labels.astype(np.int64)


def _check_classes(name: str, train: Split, classes: Sequence[str]) -> None:
    _check_range(f"{name} train", train.labels, len(classes))
    if len(classes) < 2:
        raise InvalidDataset(f"{name}: only one class ({classes[0]!r}), expected at least two")
    empty = np.flatnonzero(np.bincount(train.labels, minlength=len(classes)) == 0)
    if len(empty):
        raise InvalidDataset(
            f"{name}: class {classes[empty[0]]!r} (label {empty[0]}) has no training image; "
            f"labels must be numbered 0 to {len(classes) - 1} without gaps"
        )


def _check_range(where: str, labels: Labels, num_classes: int) -> None:
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= num_classes:
        raise InvalidDataset(f"{where}: labels from {low} to {high}, expected 0 to {num_classes - 1}")


def _check_same_task(where: str, split: Split, train: Split, num_classes: int) -> None:
    _check_range(where, split.labels, num_classes)
    for what, got, expected in (
        ("shape", split.images.shape[1:], train.images.shape[1:]),
        ("type", split.images.dtype, train.images.dtype),
    ):
        if got != expected:
            raise InvalidDataset(f"{where}: images of {what} {got}, the training images have {expected}")


def _cut(name: str, whole: Split, share: float) -> tuple[Split, Split]:
    """Split off a share of every class; at least one image of a class stays in the first part."""
    rng = np.random.default_rng(SPLIT_SEED)
    taken = np.zeros(len(whole), dtype=bool)
    for label in np.unique(whole.labels):
        members = rng.permutation(np.flatnonzero(whole.labels == label))
        count = min(max(1, round(share * len(members))), len(members) - 1)
        taken[members[:count]] = True
    if not taken.any():
        raise InvalidDataset(f"{name}: one image a class is too few to split off validation and test images")
    return (
        Split(whole.images[~taken], whole.labels[~taken]),
        Split(whole.images[taken], whole.labels[taken]),
    )
