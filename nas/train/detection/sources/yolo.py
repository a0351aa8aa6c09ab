"""YOLO's format: ``images/`` and ``labels/`` with one text file per image."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nas.train.detection.dataset import LabelledImage, RawDetectionData
from nas.train.detection.sources.arrays import corners_of_shares, read_class_names
from nas.train.detection.sources.pictures import read_picture
from nas.train.images import InvalidDataset
from nas.train.sources.folder import IMAGE_SUFFIXES

_EXPECTED = "class, centre x, centre y, width, height, the last four as shares of the image's sides"


def read_yolo(root: Path) -> RawDetectionData:
    """``images/`` and ``labels/``, or ``images/train``, ``labels/train``, ``images/val``, ``labels/val``.

    Each line of a label file is: class, centre x, centre y, width, height (0..1). An image without one has no boxes.
    Class names come from ``data.yaml``.
    """
    parts = {name: root / "images" / name for name in ("train", "val") if (root / "images" / name).is_dir()}
    train = _part(parts.get("train", root / "images"), root / "labels" / ("train" if "train" in parts else ""))
    held_out = _part(parts["val"], root / "labels" / "val") if "val" in parts and "train" in parts else None
    most = max((int(image.labels.max(initial=0)) for image in train), default=0)
    return RawDetectionData(train, held_out, read_class_names(root, most + 1))


def _part(images: Path, labels: Path) -> list[LabelledImage]:
    files = sorted(path for path in images.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise InvalidDataset(f"{images}: no image files")
    return [_labelled(path, labels / f"{path.stem}.txt") for path in files]


def _labelled(picture: Path, path: Path) -> LabelledImage:
    rows = [] if not path.exists() else _rows(path)
    pixels = read_picture(picture)
    table = np.array(rows, dtype=np.float64).reshape(-1, 5)
    corners = corners_of_shares(table[:, 1:], *pixels.shape[:2])
    return LabelledImage(str(picture), pixels, corners, table[:, 0].astype(np.int64), np.zeros(len(table), np.bool_))


def _rows(path: Path) -> list[list[float]]:
    rows = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidDataset(f"{path}: cannot be read as text ({error})") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = [float(part) for part in line.split()]
        except ValueError:
            row = []
        if len(row) != 5 or not np.isfinite(row).all() or row[0] != int(row[0]):
            raise InvalidDataset(f"{path}, line {number}: {line.strip()[:60]!r}, expected {_EXPECTED}")
        rows.append(row)
    return rows
