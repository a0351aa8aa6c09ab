"""Weights on disk as safetensors: written without NaN, read only as they were written and for what they fit."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

_SYSTEM_ERROR = re.compile(r"os error (\d+)")  # in what safetensors says
Shapes = Mapping[str, tuple[int, ...]]


class WeightsNotFinite(ValueError):
    """A tensor holds NaN or infinite values."""


class WeightsDamaged(ValueError):
    """The file is missing, altered, or of another network."""


def write_weights_file(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors by name, from any device; raises WeightsNotFinite, naming the first broken one, and OSError."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    broken = next((n for n, t in weights.items() if t.is_floating_point() and not t.isfinite().all()), None)
    if broken is not None:
        raise WeightsNotFinite(f"{broken} holds NaN or infinite values; train again with a lower learning rate")
    try:
        save_file(weights, path, metadata={"format": "pt"})
    except SafetensorError as error:
        number = _SYSTEM_ERROR.search(str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from None


def read_weights_file(path: Path, sha256: str, expected: Shapes, *, stated: str, asked: str) -> dict[str, Tensor]:
    """The tensors of a file, on the CPU.

    Args:
        path: of the file.
        sha256: of its content, as stated beside it.
        expected: name -> shape of every tensor.
        stated: who states it, for the message.
        asked: who asks for the shapes.
    Raises: WeightsDamaged.
    """
    try:
        found = sha256_of(path)
        weights: dict[str, Tensor] = load_file(path)
    except OSError as error:
        raise WeightsDamaged(f"{path}: cannot be read ({error.strerror or error})") from None
    except SafetensorError as error:
        raise WeightsDamaged(f"{path}: not a safetensors file ({error})") from None
    if found != sha256:
        raise WeightsDamaged(f"{path}: SHA-256 is {found[:12]}…, {stated} states {sha256[:12]}…; damaged")
    actual = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if actual != dict(expected):
        name = sorted(set(actual.items()) ^ set(expected.items()))[0][0]
        raise WeightsDamaged(f"{path}: {name} is {actual.get(name)}, {asked} asks for {expected.get(name)}")
    return weights


def shapes_of(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Name -> shape."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def sha256_of(path: Path) -> str:
    """Of a file's content, in hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
