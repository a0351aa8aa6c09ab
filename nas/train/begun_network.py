"""Which network a training begins with: what its checkpoints are compared by."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def begun_network(model: nn.Module) -> dict[str, Any]:
    """The network of a checkpoint's identity; to be asked before the first step.

    Args:
        model: any; one that is built from an ``Architecture`` is known by its digest, another by how it prints.
    Returns: by name, digests of the design and of names and shapes of all tensors, and a mark of their values.
    """
    state = model.state_dict()
    shapes = repr([(name, tuple(value.shape)) for name, value in state.items()])
    known = getattr(getattr(model, "arch", None), "digest", None)
    return {
        "architecture": known or _short(_ADDRESS.sub("", repr(model)).encode()),
        "network": _short(shapes.encode()),
        "initial_weights": _values(state),
    }


def _values(state: Mapping[str, Tensor]) -> str:
    """Norm and one projection of all values, to four digits: processors draw the same weights but for the last bits."""
    squares = projected = 0.0
    at = 0
    for value in state.values():
        flat = value.detach().cpu().reshape(-1).to(torch.float64)
        squares += float(flat @ flat)
        projected += float(flat @ torch.cos(torch.arange(at, at + len(flat), dtype=torch.float64)))
        at += len(flat)
    norm = math.sqrt(squares)
    return f"norm {norm:.4g}, projection {projected / (norm or 1.0):.4f}"


def _short(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:20]
