"""IDX files: the format of MNIST, Fashion-MNIST, EMNIST and KMNIST, plain or gzipped."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nas.train.images import InvalidDataset, RawData

FASHION_MNIST_FOLDER = Path("/usr/share/datasets/fashion-mnist")  # Debian's package dataset-fashion-mnist
FASHION_MNIST_CLASSES = (
    "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot",
)  # fmt: skip
_UBYTE = 0x08
_DIMENSIONS = {"images": 3, "labels": 1}
_FILE_PARTS = {"train": ("train",), "test": ("t10k", "test")}


def read_fashion_mnist() -> RawData:
    """Fashion-MNIST from Debian's package: 60,000 + 10,000 images (28, 28) uint8.

    Source: Xiao, Rasul, Vollgraf 2017, arXiv 1708.07747.
    """
    if find_idx(FASHION_MNIST_FOLDER, "train", "images") is None:
        raise InvalidDataset(
            f"fashion-mnist: no IDX files in {FASHION_MNIST_FOLDER}; install Debian's package "
            "dataset-fashion-mnist, or give the folder that holds them"
        )
    raw = read_idx(FASHION_MNIST_FOLDER)
    return RawData(raw.train, test=raw.test, classes=FASHION_MNIST_CLASSES)


def read_idx(location: Path) -> RawData:
    """The training and, if present, the test files of a folder or prefix.

    Args:
        location: a folder with ``train-images-idx3-ubyte[.gz]`` and so on, or folder/prefix of such names.
    Raises: InvalidDataset: a file is missing, truncated or not IDX.
    """
    train = _read_part(location, "train")
    if train is None:
        raise InvalidDataset(f"{location}: no train-images-idx3-ubyte[.gz]")
    return RawData(train, test=_read_part(location, "test"))


def find_idx(location: Path, part: str, what: str) -> Path | None:
    """The file of one part ("train", "test") and kind ("images", "labels"), None when absent."""
    folder, prefix = (location, "") if location.is_dir() else (location.parent, f"{location.name}-")
    for name in _FILE_PARTS[part]:
        for dot in "-.":
            for suffix in ("", ".gz"):
                path = folder / f"{prefix}{name}-{what}{dot}idx{_DIMENSIONS[what]}-ubyte{suffix}"
                if path.is_file():
                    return path
    return None


def _read_part(location: Path, part: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]] | None:
    images, labels = find_idx(location, part, "images"), find_idx(location, part, "labels")
    if images is None and labels is None:
        return None
    if images is None or labels is None:
        found, missing = (labels, "images") if images is None else (images, "labels")
        raise InvalidDataset(f"{found}: the {missing} file beside it is missing")
    return read_idx_file(images, _DIMENSIONS["images"]), read_idx_file(labels, _DIMENSIONS["labels"])


def read_idx_file(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """One IDX file of unsigned bytes.

    Args:
        path: the file; ``.gz`` is decompressed.
        dimensions: expected number of axes.
    Returns: array of the shape that the header states.
    Raises: InvalidDataset: unreadable, wrong magic number, or a length that the header contradicts.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidDataset(f"{path}: cannot be read ({error}); fetch the file again") from None
    header = 4 + 4 * dimensions
    if len(data) < header or data[:4] != bytes((0, 0, _UBYTE, dimensions)):
        raise InvalidDataset(
            f"{path}: starts with {data[:4].hex() or 'nothing'}, "
            f"expected the IDX magic number 0000{_UBYTE:02x}{dimensions:02x}"
        )
    shape = tuple(int(n) for n in np.frombuffer(data, ">u4", dimensions, offset=4))
    expected = header + int(np.prod(shape, dtype=np.int64))
    if len(data) != expected:
        raise InvalidDataset(
            f"{path}: {len(data)} bytes, the header (shape {shape}) asks for {expected}; "
            "the file is truncated or damaged"
        )
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)
