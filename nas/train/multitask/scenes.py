"""Photographs with boxes and semantic masks: detection and segmentation of the same images."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Generator, Tensor
from torch.nn import functional as F

from nas.train.detection.augment import flip
from nas.train.detection.dataset import (
    SPLIT_SEED,
    VALIDATION_SHARE,
    DetectionSplit,
    RawDetectionData,
    make_detection_dataset,
    merge_classes,
)
from nas.train.detection.losses import detection_losses
from nas.train.detection.network import Predictions
from nas.train.detection.sources.arrays import read_arrays
from nas.train.detection.targets import Places, assign, places
from nas.train.images import InvalidDataset
from nas.train.multitask.meters import IGNORED, AveragePrecision50, MeanIoU
from nas.train.multitask.network import DETECTION, SEGMENTATION
from nas.train.multitask.tasks import MultitaskData, MultitaskSplit, Targets, Task

MAX_CLASSES = 200


def load_scenes(
    path: Path, *, size: int, strides: Sequence[int], boxes: str = "one", regions: int = 8
) -> MultitaskData:
    """Segmentation and detection from one ``.npz`` file; 20 % of the images are held out, by a fixed seed.

    Args:
        path: of a file with arrays ``image`` (N, S, S, 3) uint8, ``boxes`` (M, 6), ``mask`` (N, S, S) class ids with 0
            where unlabelled, and ``has_mask`` (N,): images without a mask count for detection only.
        size: side in pixels that every image is resized to.
        strides: of the network's maps that boxes are told from.
        boxes: classes of boxes as in ``merge_classes``: "all", "one", or a number.
        regions: the classes with the most training pixels that keep their own label; all others are one further class.
    Raises: InvalidDataset.
    """
    path = Path(path).expanduser()
    raw, masks = read_arrays(path), _read_masks(path)
    order = np.random.default_rng(SPLIT_SEED).permutation(len(raw.train))
    held = np.sort(order[: max(1, round(VALIDATION_SHARE * len(order)))])
    rest = np.setdiff1d(np.arange(len(order)), held)
    parts = [[raw.train[i] for i in rows] for rows in (rest, held)]
    found = merge_classes(
        make_detection_dataset(path.stem, RawDetectionData(parts[0], parts[1], raw.classes), size=size), boxes
    )
    table = _region_table(masks[rest], regions)
    train, validation = (
        _split(part, table[_resized(masks[rows], size)])
        for part, rows in ((found.train, rest), (found.validation, held))
    )
    classes = int(table[table != IGNORED].max(initial=0)) + 1
    tasks = (segmentation_task(classes), detection_task((size, size), strides))
    return MultitaskData(found.task, tasks, train, validation, None, mirror)


def segmentation_task(classes: int, *, weight: float = 1.0) -> Task:
    """Mean cross-entropy over labelled pixels; scored by mean IoU."""
    return Task(SEGMENTATION, pixel_loss, lambda: MeanIoU(classes), "mean_iou", weight)


def detection_task(image_shape: tuple[int, int], strides: Sequence[int], *, weight: float = 1.0) -> Task:
    """The three losses of the anchor-free detector, summed; scored by COCO's AP at IoU 0.5."""
    where = places(image_shape, strides)

    def loss(output: Predictions, targets: Targets) -> Tensor:
        device = output.class_logits.device
        wanted = assign(where, targets[0].cpu(), targets[1].cpu().masked_fill(targets[2].cpu(), -1))
        placed = type(wanted)(*(part.to(device) for part in wanted))
        losses = detection_losses(output, placed, Places(*(part.to(device) for part in where)))
        return losses.classes + losses.boxes + losses.centre

    return Task(DETECTION, loss, lambda: AveragePrecision50(image_shape, strides), "ap50", weight)


def pixel_loss(output: Tensor, targets: Targets) -> Tensor:
    """Mean cross-entropy of logits (N, classes, H, W) over labelled pixels; 0 when there is none."""
    labels = targets[0].long()
    total = F.cross_entropy(output, labels, ignore_index=IGNORED, reduction="sum")
    return total / (labels != IGNORED).sum().clamp(min=1)


def mirror(images: Tensor, targets: dict[str, Targets], generator: Generator) -> tuple[Tensor, dict[str, Targets]]:
    """Mirror half of the images left to right, with their boxes and masks."""
    mirrored = torch.rand(len(images), generator=generator) < 0.5
    corners, labels, crowd = targets[DETECTION]
    images, corners = flip(images, corners, mirrored)
    masks = targets[SEGMENTATION][0]
    masks = torch.where(mirrored[:, None, None], masks.flip(2), masks)
    return images, {SEGMENTATION: (masks,), DETECTION: (corners, labels, crowd)}


def _read_masks(path: Path) -> NDArray[np.uint8]:
    """(N, S, S) class ids; 0 where nobody labelled."""
    with zipfile.ZipFile(path) as archive:
        names = {Path(name).stem for name in archive.namelist()}
    if not {"mask", "has_mask"} <= names:
        raise InvalidDataset(f"{path}: arrays {', '.join(sorted(names))}, expected also mask and has_mask")
    with np.load(path, allow_pickle=False) as arrays:
        masks, known = arrays["mask"], arrays["has_mask"].astype(bool)
        shape = arrays["image"].shape if "image" in names else arrays["images"].shape
    if masks.dtype != np.uint8 or masks.shape != shape[:3] or shape[1] != shape[2] or len(known) != len(masks):
        raise InvalidDataset(f"{path}: mask is {masks.dtype} {masks.shape}, expected uint8 {shape[:3]}, square")
    result: NDArray[np.uint8] = np.where(known[:, None, None], masks, 0).astype(np.uint8)
    return result


def _region_table(masks: NDArray[np.uint8], regions: int) -> NDArray[np.uint8]:
    """Class id -> label: the most frequent classes of these masks, then one for all others; ``IGNORED`` for 0."""
    if not 1 <= regions <= MAX_CLASSES:
        raise InvalidDataset(f"regions={regions}, expected 1 to {MAX_CLASSES}")
    frequency = np.bincount(masks.ravel(), minlength=256)
    frequency[0] = 0
    if not frequency.any():
        raise InvalidDataset("no training image has a labelled pixel")
    kept = np.sort(np.argsort(-frequency, kind="stable")[: min(regions, int((frequency > 0).sum()))])
    table = np.full(256, len(kept), dtype=np.uint8)
    table[kept] = np.arange(len(kept))
    table[0] = IGNORED
    return table


def _resized(masks: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    if masks.shape[1] == size:
        return masks
    return np.stack(
        [np.asarray(Image.fromarray(mask).resize((size, size), Image.Resampling.NEAREST)) for mask in masks]
    )


def _split(part: DetectionSplit, labels: NDArray[Any]) -> MultitaskSplit:
    boxes = tuple(torch.from_numpy(array) for array in (part.boxes, part.labels, part.crowd))
    masks = torch.from_numpy(np.ascontiguousarray(labels))
    return MultitaskSplit(torch.from_numpy(part.images), {SEGMENTATION: (masks,), DETECTION: boxes})
