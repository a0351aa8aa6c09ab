"""Which test images a network gets right, one bit each: what a paired comparison needs."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nas.train.evaluate import BATCH, Normaliser, to_tensors
from nas.train.images import Dataset


def hits_on_test(model: nn.Module, dataset: Dataset, device: str = "cpu") -> str:
    """Look at the test images: whether the largest logit is the label, packed as hexadecimal digits.

    Args:
        model: takes (N, C, H, W) float32; it is left in evaluation mode.
        dataset: with its test images.
        device: where to compute.
    """
    images, labels = to_tensors(dataset.test, device)
    normalise = Normaliser(dataset, device)
    model.to(device).eval()
    with torch.inference_mode():
        right = [
            model(normalise(images[start : start + BATCH])).argmax(1) == labels[start : start + BATCH]
            for start in range(0, len(labels), BATCH)
        ]
    return np.packbits(torch.cat(right).cpu().numpy()).tobytes().hex()


def unpack_hits(packed: str, images: int) -> NDArray[np.bool_]:
    """(images,) bool from what ``hits_on_test`` gave."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(packed), np.uint8), count=images).astype(bool)
