"""Which network a training begins with: what its checkpoints are compared by."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import torch
from torch import nn

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def begun_network(model: nn.Module) -> dict[str, Any]:
    """The network of a checkpoint's identity; to be asked before the first step.

    Args:
        model: any; one that is built from an ``Architecture`` is known by its digest, another by how it prints.
    Returns: digests by name: of the design, of names and shapes of all tensors, and of their values.
    """
    state = model.state_dict()
    shapes = repr([(name, tuple(value.shape)) for name, value in state.items()])
    values = hashlib.sha256()
    for name, value in state.items():
        values.update(name.encode())
        values.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    known = getattr(getattr(model, "arch", None), "digest", None)
    return {
        "architecture": known or _short(_ADDRESS.sub("", repr(model)).encode()),
        "network": _short(shapes.encode()),
        "initial_weights": values.hexdigest()[:20],
    }


def _short(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:20]
