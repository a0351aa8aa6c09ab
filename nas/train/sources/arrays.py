"""Arrays: ``.npz`` files and functions of the user's own."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nas.train.images import Dataset, InvalidDataset, RawData
from search_spaces.named import NamedFailed, call_named

_NAMES = {  # split -> accepted pairs of array names
    "train": (("x", "y"), ("x_train", "y_train")),
    "validation": (("x_val", "y_val"), ("x_validation", "y_validation")),
    "test": (("x_test", "y_test"),),
}


def read_npz(path: Path) -> RawData:
    """Arrays x, y (and x_val, y_val, x_test, y_test) of a NumPy archive; pickled objects are refused."""
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("it is no archive")
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if "allow_pickle" in reason:
            reason = "it holds Python objects, expected plain arrays of numbers"
        raise InvalidDataset(f"{path}: cannot be read as .npz: {reason}") from None
    return _from_mapping(str(path), arrays)


def read_function(spec: str) -> RawData | Dataset:
    """Call ``package.module:function``; modules in the current folder are found too.

    Returns: the function's Dataset, or its arrays: a mapping with x, y[, x_test, y_test] or a 2- or 4-tuple.
    Raises: InvalidDataset: the module or function does not exist, raised, or returned something else.
    """
    try:
        made = call_named(spec)
    except NamedFailed as error:
        raise InvalidDataset(f"{spec}: {error}; expected package.module:function without arguments") from None
    if isinstance(made, Dataset):
        return made
    if isinstance(made, Mapping):
        return _from_mapping(spec, made)
    if isinstance(made, tuple) and len(made) in (2, 4):
        return RawData((made[0], made[1]), test=(made[2], made[3]) if len(made) == 4 else None)
    raise InvalidDataset(
        f"{spec}: returned a {type(made).__name__}, expected a Dataset, {{'x': ..., 'y': ...}}, "
        "(x, y) or (x, y, x_test, y_test)"
    )


def _from_mapping(where: str, arrays: Mapping[str, Any]) -> RawData:
    splits = {split: _pair(where, arrays, names) for split, names in _NAMES.items()}
    if splits["train"] is None:
        raise InvalidDataset(f"{where}: arrays {', '.join(sorted(arrays)) or 'none'}, expected x and y")
    return RawData(splits["train"], splits["validation"], splits["test"])


def _pair(where: str, arrays: Mapping[str, Any], names: tuple[tuple[str, str], ...]) -> tuple[Any, Any] | None:
    for x, y in names:
        if (x in arrays) != (y in arrays):
            found, missing = (x, y) if x in arrays else (y, x)
            raise InvalidDataset(f"{where}: has {found} without {missing}")
        if x in arrays:
            return arrays[x], arrays[y]
    return None
