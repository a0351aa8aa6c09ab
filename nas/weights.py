"""The weights of a trained network, wherever a user keeps it: an export, a checkpoint, or a module of their own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_spaces.named import NamedFailed, call_named, load_named

_FORMS = "expected an exported folder, a .safetensors, .npz or .pt file, or package.module:factory"
_NESTED = ("model", "state_dict", "model_state_dict", "network", "weights")


class WeightsUnreadable(ValueError):
    """Nothing that holds weights is there, or it is damaged; the message says what was expected."""


def load_weights_of(text: str) -> dict[str, NDArray[np.float32]]:
    """Tensors by name, as a state dict holds them, in the order of the network.

    Args:
        text: an exported folder, a file of safetensors, NumPy or PyTorch (data only), or ``package.module:name``
            of a module or of a function that makes one.
    Raises: WeightsUnreadable.
    """
    path = Path(text)
    if path.is_dir():
        path = path / "model.safetensors"
    if path.is_file():
        return _arrays(_of_file(path), str(path))
    if ":" not in text:
        raise WeightsUnreadable(f"{text}: no such file or folder; {_FORMS}")
    return _arrays(load_module(text).state_dict(), text)


def load_tensors_of(path: Path) -> Mapping[str, Any]:
    """Tensors by name of a file of safetensors, NumPy or PyTorch (data only). Raises WeightsUnreadable."""
    if not path.is_file():
        raise WeightsUnreadable(f"{path}: no such file; expected a .safetensors, .npz or .pt file")
    from torch import Tensor

    return {name: value for name, value in _of_file(path).items() if isinstance(value, Tensor)}


def load_module(text: str) -> Any:
    """The ``nn.Module`` that ``package.module:name`` is or makes. Raises WeightsUnreadable."""
    from torch import nn

    try:
        found = load_named(text)
        module = found if isinstance(found, nn.Module) else call_named(text)
    except NamedFailed as error:
        raise WeightsUnreadable(f"{text}: {error}") from None
    if not isinstance(module, nn.Module):
        raise WeightsUnreadable(f"{text}: makes a {type(module).__name__}, expected a torch.nn.Module")
    return module


def _of_file(path: Path) -> Mapping[str, Any]:
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return dict(load_file(path))
        except SafetensorError as error:
            raise WeightsUnreadable(f"{path}: not a file of safetensors ({error})") from None
    return _of_numpy(path) if path.suffix == ".npz" else _of_checkpoint(path)


def _of_numpy(path: Path) -> Mapping[str, Any]:
    from zipfile import BadZipFile

    from torch import from_numpy

    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: from_numpy(archive[name]) for name in archive.files if archive[name].dtype.kind == "f"}
    except (BadZipFile, ValueError) as error:
        raise WeightsUnreadable(f"{path}: not an archive of arrays ({error})") from None


def _of_checkpoint(path: Path) -> Mapping[str, Any]:
    from pickle import UnpicklingError

    import torch

    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, KeyError, ValueError) as error:
        reason = (str(error).splitlines() or [""])[0][:120]
        raise WeightsUnreadable(f"{path}: not a checkpoint of tensors alone ({reason}); {_FORMS}") from None
    for name in _NESTED:
        if isinstance(found, dict) and isinstance(found.get(name), dict):
            found = found[name]
    if not isinstance(found, dict):
        raise WeightsUnreadable(f"{path}: holds a {type(found).__name__}, expected a state dict")
    return found


def _arrays(tensors: Mapping[str, Any], where: str) -> dict[str, NDArray[np.float32]]:
    from torch import Tensor

    found = {
        name: value.detach().float().cpu().numpy()
        for name, value in tensors.items()
        if isinstance(value, Tensor) and value.is_floating_point()
    }
    if not found:
        raise WeightsUnreadable(f"{where}: holds no tensors of weights; {_FORMS}")
    return found
