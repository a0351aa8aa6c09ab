"""COCO's format: ``instances.json`` beside a folder of images."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nas.train.detection.dataset import LabelledImage, RawDetectionData
from nas.train.detection.sources.pictures import read_picture
from nas.train.images import InvalidDataset

FILE = "instances.json"


def read_coco(root: Path) -> RawDetectionData:
    """``instances.json`` and ``images/`` in the folder, or in its sub-folders train and val.

    Classes are the categories in the order of their ids.
    """
    train_root = root / "train" if (root / "train" / FILE).is_file() else root
    data = _load(train_root / FILE)
    categories = sorted(_rows(train_root / FILE, data, "categories", ("id", "name")), key=lambda row: int(row["id"]))
    label_of = {row["id"]: label for label, row in enumerate(categories)}
    classes = tuple(str(row["name"]) for row in categories)
    train = _images(train_root, data, label_of)
    held_out = root / "val"
    if train_root == root or not (held_out / FILE).is_file():
        return RawDetectionData(train, None, classes)
    return RawDetectionData(train, _images(held_out, _load(held_out / FILE), label_of), classes)


def _load(path: Path) -> Mapping[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidDataset(f"{path}: cannot be read as JSON ({error})") from None
    if not isinstance(data, dict):
        raise InvalidDataset(f"{path}: expected an object with images, annotations and categories")
    return data


def _rows(path: Path, data: Mapping[str, Any], name: str, keys: tuple[str, ...]) -> list[dict[str, Any]]:
    rows = data.get(name)
    if not isinstance(rows, list):
        raise InvalidDataset(f"{path}: {name!r} is missing, expected a list of objects with {', '.join(keys)}")
    for i, row in enumerate(rows):
        if not isinstance(row, dict) or any(key not in row for key in keys):
            raise InvalidDataset(f"{path}: {name}[{i}], expected an object with {', '.join(keys)}")
        if any(key.endswith("id") and type(row[key]) is not int for key in keys):
            raise InvalidDataset(f"{path}: {name}[{i}], expected whole numbers as ids")
    return rows


def _images(folder: Path, data: Mapping[str, Any], label_of: Mapping[int, int]) -> list[LabelledImage]:
    path = folder / FILE
    images = _rows(path, data, "images", ("id", "file_name"))
    known = {row["id"] for row in images}
    own: dict[int, list[tuple[list[float], int, bool]]] = defaultdict(list)
    for i, row in enumerate(_rows(path, data, "annotations", ("image_id", "category_id", "bbox"))):
        where = f"{path}: annotations[{i}]"
        if row["image_id"] not in known or row["category_id"] not in label_of:
            wrong = "image_id" if row["image_id"] not in known else "category_id"
            raise InvalidDataset(f"{where}.{wrong}={row[wrong]}, which the file does not list")
        own[row["image_id"]].append((_corners(where, row["bbox"]), label_of[row["category_id"]], _crowd(row)))
    picture_root = folder / "images" if (folder / "images").is_dir() else folder
    return [_labelled(picture_root / str(row["file_name"]), own[row["id"]]) for row in images]


def _crowd(row: Mapping[str, Any]) -> bool:
    return bool(row.get("iscrowd", 0))


def _corners(where: str, box: Any) -> list[float]:
    if not isinstance(box, list) or len(box) != 4 or any(type(v) not in (int, float) for v in box):
        raise InvalidDataset(f"{where}.bbox={box}, expected [x, y, width, height] in pixels")
    x, y, width, height = box
    if not (width > 0 and height > 0):
        raise InvalidDataset(f"{where}.bbox={box} has no area, expected a width and a height above 0")
    return [x, y, x + width, y + height]


def _labelled(path: Path, rows: list[tuple[list[float], int, bool]]) -> LabelledImage:
    return LabelledImage(
        str(path),
        read_picture(path),
        np.array([box for box, _, _ in rows], dtype=np.float64).reshape(-1, 4),
        np.array([label for _, label, _ in rows], dtype=np.int64),
        np.array([crowd for _, _, crowd in rows], dtype=np.bool_),
    )
