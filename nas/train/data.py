"""Name of a dataset, or path to one -> ``Dataset``. One row of the table per kind of source."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl

from nas.train.images import Dataset, ImageTask, InvalidDataset, Split, make_dataset
from nas.train.sources.arrays import read_function, read_npz
from nas.train.sources.folder import has_class_folders, read_folder
from nas.train.sources.idx import find_idx, read_fashion_mnist, read_idx
from nas.train.sources.toy import read_digits

__all__ = ["NAMED", "Dataset", "ImageTask", "InvalidDataset", "Split", "load_dataset"]

NAMED: dict[str, Callable[[], Dataset]] = {
    "digits": lambda: make_dataset("digits", read_digits()),
    "fashion-mnist": lambda: make_dataset("fashion-mnist", read_fashion_mnist()),
}
_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_KINDS = f"expected {', '.join(NAMED)}, an image folder, IDX files, a .npz file or package.module:function"


def load_dataset(spec: str, *, size: int | None = None) -> Dataset:
    """Load a dataset into memory; the same spec always gives the same splits.

    Args:
        spec: ``digits``, ``fashion-mnist``, a folder with one sub-folder per class (or train/ and test/ of
            such), a folder or prefix of IDX files, a ``.npz`` file with x and y, or
            ``package.module:function``. ``folder?size=32`` resizes.
        size: side in pixels to which the images of a folder are resized; overrides ``?size=``.
    Raises: InvalidDataset: what is missing or wrong, in one line.
    """
    if spec in NAMED:
        return NAMED[spec]()
    location, size = _read_options(spec, size)
    if not location:
        raise InvalidDataset(f"dataset {spec!r}: empty; {_KINDS}")
    path = Path(location).expanduser()
    if not path.exists() and _FUNCTION.fullmatch(location):
        made = read_function(location)
        return made if isinstance(made, Dataset) else make_dataset(location, made)
    return _load_path(path, size)


def _load_path(path: Path, size: int | None) -> Dataset:
    if path.is_dir() and has_class_folders(path):
        return make_dataset(path.name, read_folder(path, size))
    if size is not None:
        raise InvalidDataset(f"{path}: size={size} applies to image folders (one sub-folder per class) only")
    if path.is_file() and path.suffix == ".npz":
        return make_dataset(path.stem, read_npz(path))
    if find_idx(path, "train", "images") is not None:
        return make_dataset(path.name, read_idx(path))
    if not path.exists():
        raise InvalidDataset(f"{path}: no such dataset, file or folder; {_KINDS}")
    raise InvalidDataset(f"{path}: neither class folders nor IDX files nor .npz; {_KINDS}")


def _read_options(spec: str, size: int | None) -> tuple[str, int | None]:
    location, mark, query = spec.partition("?")
    if not mark:
        return spec, size
    options = dict(parse_qsl(query, keep_blank_values=True))
    unknown = sorted(set(options) - {"size"})
    if unknown or "size" not in options:
        raise InvalidDataset(f"{spec}: unknown option {(unknown or [query])[0]!r}, expected ?size=PIXELS")
    if not options["size"].isdecimal() or not 1 <= int(options["size"]) <= 4096:
        raise InvalidDataset(f"{spec}: size={options['size']!r}, expected a side of 1 to 4096 pixels")
    return location, size or int(options["size"])
