"""Images with boxes in memory, and the checks that every source goes through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nas.train.images import Dataset, ImageTask, InvalidDataset, Split

VALIDATION_SHARE = 0.2
SPLIT_SEED = 0
_FILL = 114  # grey of the margin beside an image that is not square
_SLACK = 1.0  # pixels by which a box may reach beyond its image; it is cut off


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImage:
    """One image as a source found it.

    Attributes:
        where: how messages call it.
        pixels: (H, W, 3) uint8.
        boxes: (n, 4) x1, y1, x2, y2 in its pixels.
        labels: (n,) from 0.
        crowd: (n,) whether a box is around a crowd that nobody counted.
    """

    where: str
    pixels: NDArray[np.uint8]
    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    crowd: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class RawDetectionData:
    """What a source found; no validation images when it does not name any."""

    train: Sequence[LabelledImage]
    validation: Sequence[LabelledImage] | None
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class DetectionSplit:
    """N images of one size, each with up to M boxes.

    Attributes:
        images: (N, 3, H, W) uint8.
        boxes: (N, M, 4) float32 x1, y1, x2, y2 in pixels.
        labels: (N, M) int64; -1 where there is no box.
        crowd: (N, M).
    """

    images: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    crowd: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, eq=False)
class DetectionDataset:
    """Training images, and held-out images that no training reads."""

    name: str
    train: DetectionSplit
    validation: DetectionSplit
    classes: tuple[str, ...]

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        channels, height, width = self.train.images.shape[1:]
        return (channels, height, width)

    @property
    def task(self) -> ImageTask:
        """Classes, input shape and normalisation (of the training images); travels with a trained detector."""
        none = np.zeros(len(self.train), dtype=np.int64)
        split = Split(self.train.images, none)
        return Dataset(self.name, split, split, split, self.classes).task


def make_detection_dataset(name: str, raw: RawDetectionData, *, size: int | None = None) -> DetectionDataset:
    """Check, resize and pad; hold out 20 % of the images, by a fixed seed, when the source names none.

    Args:
        name: of the dataset.
        raw: from a reader.
        size: side of the square that each image is shrunk or enlarged into, proportions kept, grey beside it; None
            keeps the images, which must then be of one size.
    Raises: InvalidDataset: a box or label that cannot be, images of several sizes, too few of them.
    """
    train, validation = list(raw.train), raw.validation
    if validation is None:
        if len(train) < 2:
            raise InvalidDataset(f"{name}: {len(train)} image(s), expected at least two to hold one out")
        order = np.random.default_rng(SPLIT_SEED).permutation(len(train))
        held = set(order[: max(1, round(VALIDATION_SHARE * len(train)))].tolist())
        validation = [image for i, image in enumerate(train) if i in held]
        train = [image for i, image in enumerate(train) if i not in held]
    parts = []
    for part, images in (("training", train), ("held-out", validation)):
        if not images:
            raise InvalidDataset(f"{name}: no {part} images")
        parts.append(_stack([_prepare(image, len(raw.classes), size) for image in images]))
    if parts[0].images.shape[1:] != parts[1].images.shape[1:]:
        raise InvalidDataset(
            f"{name}: held-out images of {parts[1].images.shape[2:]} pixels, the others have "
            f"{parts[0].images.shape[2:]}; give a size, for example --size 128"
        )
    if not ((parts[0].labels >= 0) & ~parts[0].crowd).any():
        raise InvalidDataset(f"{name}: no training image has a box")
    return DetectionDataset(name, parts[0], parts[1], raw.classes)


def _prepare(image: LabelledImage, num_classes: int, size: int | None) -> LabelledImage:
    boxes, pixels = _checked_boxes(image, num_classes), image.pixels
    if size is not None:
        height, width = pixels.shape[:2]
        factor = size / max(height, width)
        shape = max(1, round(height * factor)), max(1, round(width * factor))
        scaled = np.asarray(Image.fromarray(pixels).resize(shape[::-1], Image.Resampling.BILINEAR))
        pixels = np.full((size, size, 3), _FILL, dtype=np.uint8)
        pixels[: shape[0], : shape[1]] = scaled
        boxes = boxes * np.array([shape[1] / width, shape[0] / height] * 2)
    return LabelledImage(image.where, pixels, boxes, image.labels, image.crowd)


def _checked_boxes(image: LabelledImage, num_classes: int) -> NDArray[np.float64]:
    height, width = image.pixels.shape[:2]
    for i, (box, label) in enumerate(zip(image.boxes, image.labels, strict=True)):
        shown = f"{image.where}: box {i + 1} (x1, y1, x2, y2) = ({', '.join(f'{v:.6g}' for v in box)})"
        if not np.isfinite(box).all():
            raise InvalidDataset(f"{shown}, expected finite numbers")
        if box[2] <= box[0] or box[3] <= box[1]:
            raise InvalidDataset(f"{shown} has no area, expected x1 < x2 and y1 < y2; remove or mend it")
        if box[:2].min() < -_SLACK or box[2] > width + _SLACK or box[3] > height + _SLACK:
            raise InvalidDataset(f"{shown} reaches beyond its image of {width}x{height} pixels")
        if not 0 <= label < num_classes:
            raise InvalidDataset(f"{image.where}: box {i + 1} has class {label}, expected 0 to {num_classes - 1}")
    return image.boxes.clip(0, [width, height, width, height])


def _stack(images: Sequence[LabelledImage]) -> DetectionSplit:
    first = images[0]
    for image in images:
        if image.pixels.shape != first.pixels.shape:
            raise InvalidDataset(
                f"{image.where}: {image.pixels.shape[1]}x{image.pixels.shape[0]} pixels, the images before it have "
                f"{first.pixels.shape[1]}x{first.pixels.shape[0]}; give a size, for example --size 128"
            )
    most = max(1, *(len(image.labels) for image in images))
    boxes = np.zeros((len(images), most, 4), dtype=np.float32)
    labels = np.full((len(images), most), -1, dtype=np.int64)
    crowd = np.zeros((len(images), most), dtype=np.bool_)
    for i, image in enumerate(images):
        n = len(image.labels)
        boxes[i, :n], labels[i, :n], crowd[i, :n] = image.boxes, image.labels, image.crowd
    pixels = np.stack([image.pixels for image in images]).transpose(0, 3, 1, 2)
    return DetectionSplit(np.ascontiguousarray(pixels), boxes, labels, crowd)


def merge_classes(dataset: DetectionDataset, classes: str) -> DetectionDataset:
    """Fewer classes, for sets too small to learn them all.

    Args:
        dataset: the whole set.
        classes: "all"; "one" (every box is an "object"); or a number K: the K classes with the most training boxes
            keep their names and the rest become "other".
    Raises: InvalidDataset.
    """
    if classes == "all":
        return dataset
    count = len(dataset.classes)
    if classes == "one":
        return _renamed(dataset, np.zeros(count, dtype=np.int64), ("object",))
    if not classes.isdecimal() or not 1 <= int(classes) < count:
        raise InvalidDataset(f"classes={classes!r}, expected all, one, or a number from 1 to {count - 1}")
    frequency = np.bincount(dataset.train.labels[dataset.train.labels >= 0], minlength=count)
    kept = np.sort(np.argsort(-frequency, kind="stable")[: int(classes)])
    table = np.full(count, len(kept), dtype=np.int64)
    table[kept] = np.arange(len(kept))
    return _renamed(dataset, table, (*(dataset.classes[i] for i in kept), "other"))


def match_classes(dataset: DetectionDataset, classes: tuple[str, ...]) -> DetectionDataset:
    """The dataset with a detector's classes: the same ones, or merged as ``merge_classes`` had merged them.

    Raises: InvalidDataset: they are those of another dataset.
    """
    if dataset.classes == classes:
        return dataset
    if classes == ("object",):
        return merge_classes(dataset, "one")
    missing = [name for name in classes[:-1] if name not in dataset.classes]
    if classes[-1] != "other" or missing:
        name = (missing or [classes[-1]])[0]
        raise InvalidDataset(f"{dataset.name}: has no class {name!r}, which the detector was trained on")
    rest = len(classes) - 1
    table = [classes.index(name) if name in classes[:-1] else rest for name in dataset.classes]
    return _renamed(dataset, np.array(table, dtype=np.int64), classes)


def _renamed(dataset: DetectionDataset, table: NDArray[np.int64], classes: tuple[str, ...]) -> DetectionDataset:
    train, validation = (
        DetectionSplit(part.images, part.boxes, np.where(part.labels >= 0, table[part.labels], -1), part.crowd)
        for part in (dataset.train, dataset.validation)
    )
    return DetectionDataset(dataset.name, train, validation, classes)
