"""One ``.npz`` file with images and boxes, class names in a YAML file beside it."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from nas.train.detection.dataset import LabelledImage, RawDetectionData
from nas.train.images import InvalidDataset

_IMAGES, _BOXES = ("image", "images"), "boxes"
_NAME_FILES = ("detection_classes.yaml", "classes.yaml", "data.yaml", "dataset.yaml")
_COLUMNS = "image, class, centre x, centre y, width, height, the last four as shares of the image's sides"


def read_arrays(path: Path) -> RawDetectionData:
    """Arrays ``image`` (N, H, W, 3) uint8 and ``boxes`` (M, 6): image, class, centre x, y, width, height (0..1)."""
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("it is no archive")
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in (*_IMAGES, _BOXES) if name in archive.files}
            names = ", ".join(archive.files)
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InvalidDataset(f"{path}: cannot be read as .npz: {reason}") from None
    images = next((arrays[name] for name in _IMAGES if name in arrays), None)
    if images is None or _BOXES not in arrays:
        raise InvalidDataset(f"{path}: arrays {names or 'none'}, expected image (N, H, W, 3) and boxes (M, 6)")
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or 0 in images.shape:
        raise InvalidDataset(f"{path}: image is {images.dtype} {images.shape}, expected uint8 (N, H, W, 3)")
    boxes = _check_rows(path, arrays[_BOXES], len(images))
    classes = read_class_names(path.parent, int(boxes[:, 1].max(initial=0)) + 1)
    return RawDetectionData([_image(path, images, boxes, i) for i in range(len(images))], None, classes)


def _check_rows(path: Path, boxes: NDArray[Any], count: int) -> NDArray[np.float64]:
    if boxes.dtype.kind not in "iuf" or boxes.ndim != 2 or boxes.shape[1] != 6:
        raise InvalidDataset(f"{path}: boxes is {boxes.dtype} {boxes.shape}, expected numbers (M, 6): {_COLUMNS}")
    rows = boxes.astype(np.float64)
    for at in np.flatnonzero(~(np.isfinite(rows).all(1) & (rows[:, :2] == np.floor(rows[:, :2])).all(1)))[:1]:
        raise InvalidDataset(f"{path}: boxes[{at}] = {rows[at].tolist()}, expected {_COLUMNS}")
    for at in np.flatnonzero((rows[:, 0] < 0) | (rows[:, 0] >= count))[:1]:
        raise InvalidDataset(f"{path}: boxes[{at}] names image {rows[at, 0]:g}, expected 0 to {count - 1}")
    return rows


def _image(path: Path, images: NDArray[np.uint8], boxes: NDArray[np.float64], i: int) -> LabelledImage:
    own = boxes[boxes[:, 0] == i]
    corners = corners_of_shares(own[:, 2:], images.shape[1], images.shape[2])
    return LabelledImage(f"{path}: image {i}", images[i], corners, own[:, 1].astype(np.int64), np.zeros(len(own), bool))


def corners_of_shares(boxes: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    """Centre x, centre y, width, height as shares of the image -> x1, y1, x2, y2 in pixels; (n, 4)."""
    half = boxes[:, 2:] / 2
    corners = np.concatenate((boxes[:, :2] - half, boxes[:, :2] + half), axis=1)
    result: NDArray[np.float64] = corners * [width, height, width, height]
    return result


def read_class_names(folder: Path, at_least: int) -> tuple[str, ...]:
    """``names:`` (a list, or a mapping from 0) of the first YAML file of a known name; numbers without one."""
    path = next((folder / name for name in _NAME_FILES if (folder / name).is_file()), None)
    if path is None:
        return tuple(str(i) for i in range(at_least))
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InvalidDataset(f"{path}: cannot be read as YAML ({str(error).splitlines()[0]})") from None
    names = data.get("names") if isinstance(data, dict) else None
    if isinstance(names, dict) and list(names) == list(range(len(names))):
        names = list(names.values())
    if not isinstance(names, list) or not names:
        raise InvalidDataset(f"{path}: expected names: a list, or a mapping from 0 without gaps")
    return tuple(str(name) for name in names)
