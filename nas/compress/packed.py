"""Pruned weights on disk: one bit for each weight under a mask, and the values of those that remain, nothing else.

One safetensors file. For a tensor NAME with a mask it holds "bitmap/NAME", uint8 (ceil(n / 8),), bit 7 of byte 0 first,
in the order of memory, and "values/NAME" (kept,); for all others "whole/NAME". Its metadata hold shapes and the names
of tied tensors, which are stored once.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from nas.compress.errors import CannotCompress
from nas.compress.masks import Masks

FORMAT = "netwright-packed-1"


class InvalidPackedFile(CannotCompress):
    """The file is damaged, of another format, or of another network; the message names the layer."""


@dataclass(frozen=True, slots=True)
class PackedSize:
    """Bytes of a packed file, all of them.

    Attributes:
        values, bitmaps: of the tensors under masks.
        whole: of all other tensors.
        header: names, shapes and metadata.
        dense: of all tensors as they are in memory, without any header.
    """

    values: int
    bitmaps: int
    whole: int
    header: int
    dense: int

    @property
    def file(self) -> int:
        """Of the file."""
        return self.values + self.bitmaps + self.whole + self.header


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """What a packed file holds: every tensor in full, by its name in the state dict, and the masks."""

    tensors: Mapping[str, Tensor]
    masks: Masks


def write_packed(path: Path, model: nn.Module, masks: Masks) -> PackedSize:
    """Write a pruned network; readers see the old file or the new one.

    Args:
        path: of the file; its folder is made.
        model: every weight under no mask is 0. Its tensors come back exactly (a -0.0 that was pruned as 0.0).
        masks: of this network.
    Raises: CannotCompress: masks of another network, or weights that they would lose.
    """
    masks.check_fits(model)
    tensors, aliases = _state(model)
    parts = {}
    for name, tensor in tensors.items():
        if name in masks:
            parts["bitmap/" + name], parts["values/" + name] = _pack(name, tensor, masks[name])
        else:
            parts["whole/" + name] = tensor.clone(memory_format=torch.contiguous_format)
    shapes = {name: list(tensors[name].shape) for name in masks}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        save_file(parts, temporary, {"format": FORMAT, "shapes": json.dumps(shapes), "aliases": json.dumps(aliases)})
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return _size(path, parts, sum(map(_bytes, tensors.values())))


def read_packed(path: Path) -> Packed:
    """Read what ``write_packed`` wrote; raises InvalidPackedFile."""
    parts, metadata = _read(path)
    shapes, aliases = _metadata(path, metadata)
    tensors, masks = {}, {}
    for key in parts:
        kind, _, name = key.partition("/")
        if kind == "whole":
            tensors[name] = parts[key]
        elif kind == "bitmap":
            tensors[name], masks[name] = _unpack(path, name, parts, shapes)
    tensors |= {alias: tensors[name] for alias, name in aliases.items() if name in tensors}
    return Packed(tensors, Masks(masks))


def load_packed_(model: nn.Module, path: Path) -> Masks:
    """Give a network the weights of a packed file, in place, all or none.

    Args:
        model: of the same tensors as the one that was written.
        path: of the file.
    Returns: the masks.
    Raises: InvalidPackedFile, naming the first tensor that does not fit.
    """
    packed = read_packed(path)
    found = {name: tuple(tensor.shape) for name, tensor in packed.tensors.items()}
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    for name in dict.fromkeys([*wanted, *found]):
        if found.get(name) != wanted.get(name):
            raise InvalidPackedFile(
                f"{path}: {name} is {found.get(name, 'missing')} in the file and {wanted.get(name, 'missing')} in the "
                "network; load it into a network of the architecture that was written"
            )
    model.load_state_dict(dict(packed.tensors))
    return packed.masks


def _state(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors on the CPU under the first name of each, and further names -> first."""
    first: dict[int, str] = {}
    tensors, aliases = {}, {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) in first:
            aliases[name] = first[id(tensor)]
            continue
        first[id(tensor)] = name
        tensors[name] = tensor.detach().cpu()
    return tensors, aliases


def _pack(name: str, tensor: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    lost = int(torch.count_nonzero(tensor[~mask]))
    if lost:
        raise CannotCompress(
            f"{name}: {lost} weights under no mask are not 0 and would be lost; call masks.apply_(model) first"
        )
    return torch.from_numpy(np.packbits(mask.flatten().numpy())), tensor[mask]


def _unpack(
    path: Path, name: str, parts: Mapping[str, Tensor], shapes: Mapping[str, list[int]]
) -> tuple[Tensor, Tensor]:
    bitmap, values = parts["bitmap/" + name], parts.get("values/" + name)
    if values is None or name not in shapes:
        raise InvalidPackedFile(f"{path}: {name} has a bitmap, but no values or no shape; write the file again")
    size = math.prod(shapes[name])
    if len(bitmap) != math.ceil(size / 8):
        raise InvalidPackedFile(
            f"{path}: {name} has a bitmap of {len(bitmap)} bytes, expected {math.ceil(size / 8)}; write the file again"
        )
    mask = torch.from_numpy(np.unpackbits(bitmap.numpy(), count=size).astype(bool)).reshape(shapes[name])
    if int(mask.sum()) != len(values):
        raise InvalidPackedFile(
            f"{path}: {name} has {len(values)} values and {int(mask.sum())} marked weights; write the file again"
        )
    tensor = torch.zeros(shapes[name], dtype=values.dtype)
    tensor[mask] = values
    return tensor, mask


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, "pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118 - no dict
    except OSError as error:
        raise InvalidPackedFile(f"{path}: cannot be read ({error.strerror or error}); give another path") from None
    except SafetensorError as error:
        raise InvalidPackedFile(f"{path}: not a safetensors file ({error}); write it again") from None


def _metadata(path: Path, metadata: Mapping[str, str]) -> tuple[dict[str, list[int]], dict[str, str]]:
    if metadata.get("format") != FORMAT:
        raise InvalidPackedFile(
            f"{path}: format {metadata.get('format')!r}, expected {FORMAT!r}; it is no file of write_packed"
        )
    try:
        shapes: Any = json.loads(metadata["shapes"])
        aliases: Any = json.loads(metadata["aliases"])
    except (KeyError, json.JSONDecodeError) as error:
        raise InvalidPackedFile(f"{path}: metadata are damaged ({error}); write the file again") from None
    return shapes, aliases


def _size(path: Path, parts: Mapping[str, Tensor], dense: int) -> PackedSize:
    of = {kind: sum(_bytes(t) for key, t in parts.items() if key.startswith(kind)) for kind in ("values/", "bitmap/")}
    whole = sum(_bytes(tensor) for key, tensor in parts.items() if key.startswith("whole/"))
    values, bitmaps = of["values/"], of["bitmap/"]
    return PackedSize(values, bitmaps, whole, path.stat().st_size - values - bitmaps - whole, dense)


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
