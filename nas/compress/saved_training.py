"""The checkpoint of a training as bytes, to lie inside the checkpoint of the compression around it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nas.train.fit import Training


def saved(training: Training) -> Tensor:
    """The checkpoint file of a training as uint8 (bytes,)."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "training.pt"
        training.save(path)
        return torch.from_numpy(np.fromfile(path, dtype=np.uint8))


def load_saved(training: Training, state: Tensor) -> None:
    """Go back to what ``saved`` gave; raises InvalidCheckpoint."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "training.pt"
        state.numpy().tofile(path)
        training.load(path)
