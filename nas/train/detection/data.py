"""Path to a detection set -> ``DetectionDataset``."""

from __future__ import annotations

from pathlib import Path

from nas.train.detection.dataset import DetectionDataset, RawDetectionData, make_detection_dataset, merge_classes
from nas.train.detection.sources.arrays import read_arrays
from nas.train.detection.sources.coco import FILE, read_coco
from nas.train.detection.sources.yolo import read_yolo
from nas.train.images import InvalidDataset

MAX_SIDE = 4096
_KINDS = (
    "expected a .npz file with image and boxes, or a folder with one; or a folder with instances.json (COCO) or with "
    "images/ and labels/ (YOLO)"
)


def load_detection_dataset(path: Path, *, size: int | None = None, classes: str = "all") -> DetectionDataset:
    """Load a detection set into memory; the same arguments always give the same splits.

    Args:
        path: a ``.npz`` file (``image``, ``boxes``) or a folder that holds one; a folder with ``instances.json`` and
            ``images/``, also below train/ and val/; or one with ``images/`` and ``labels/``.
        size: side in pixels that every image is resized to, proportions kept; None when they agree already.
        classes: "all", "one" (class-agnostic), or a number: see ``merge_classes``.
    Raises: InvalidDataset: what is wrong and where, in one line.
    """
    path = Path(path).expanduser()
    if size is not None and not 1 <= size <= MAX_SIDE:
        raise InvalidDataset(f"size={size}, expected 1 to {MAX_SIDE} pixels")
    name = path.stem if path.is_file() else path.resolve().name
    return merge_classes(make_detection_dataset(name, _read(path), size=size), classes)


def _read(path: Path) -> RawDetectionData:
    if path.is_file() and path.suffix == ".npz":
        return read_arrays(path)
    if not path.is_dir():
        raise InvalidDataset(f"{path}: {'not such a file' if path.exists() else 'no such file or folder'}; {_KINDS}")
    if (path / FILE).is_file() or (path / "train" / FILE).is_file():
        return read_coco(path)
    if (path / "images").is_dir() and (path / "labels").is_dir():
        return read_yolo(path)
    archives = sorted(path.glob("*.npz"))
    if len(archives) != 1:
        raise InvalidDataset(f"{path}: {len(archives)} .npz files; {_KINDS}")
    return read_arrays(archives[0])
