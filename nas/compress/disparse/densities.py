"""Densities of layers that depend on their shapes only, and random masks of these densities."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Generator

from nas.compress.errors import BudgetUnreachable
from nas.compress.masks import Masks


def erk_counts(shapes: Mapping[str, tuple[int, ...]], density: float, power: float) -> dict[str, int]:
    """Weights that remain of each tensor, denser the smaller it is; their sum is exact.

    The density of a tensor is proportional to (sum of its dimensions / product of them) ** power, at most 1.

    Args:
        shapes: of the tensors.
        density: of all together, above 0, at most 1.
        power: 0 gives every tensor the same density.
    Returns: name -> number, at least 1 while the total allows it.
    Raises: BudgetUnreachable: fewer weights than tensors would remain.
    Source: Evci et al. 2020, RigL, arXiv 1911.11134, "Erdos-Renyi-Kernel"; power as in the authors' DiSparse code.
    """
    sizes = np.array([float(np.prod(shape)) for shape in shapes.values()])
    total = round(density * sizes.sum())
    if total < len(sizes):
        raise BudgetUnreachable(
            f"density={density:g} keeps {total} weights of {len(sizes)} tensors, expected at least one each; ask for "
            "a higher density"
        )
    raw = np.array([(sum(shape) / np.prod(shape)) ** power for shape in shapes.values()])
    wanted = np.minimum(sizes, np.maximum(1.0, _shared_out(sizes, raw, total)))
    counts = np.floor(wanted).astype(np.int64)
    for _ in range(abs(total - int(counts.sum()))):  # rounding leaves fewer than there are tensors, mostly
        short = total > counts.sum()
        room = (counts < sizes) if short else (counts > 1)
        gap = np.where(room, wanted - counts if short else counts - wanted, -np.inf)
        counts[int(np.argmax(gap))] += 1 if short else -1
    return {name: int(count) for name, count in zip(shapes, counts, strict=True)}


def random_masks(shapes: Mapping[str, tuple[int, ...]], counts: Mapping[str, int], generator: Generator) -> Masks:
    """Masks that keep so many entries of each tensor, any with the same chance."""
    masks = {}
    for name, shape in shapes.items():
        mask = torch.zeros(int(np.prod(shape)), dtype=torch.bool)
        mask[torch.randperm(len(mask), generator=generator)[: counts[name]]] = True
        masks[name] = mask.reshape(shape)
    return Masks(masks)


def _shared_out(sizes: np.ndarray, raw: np.ndarray, total: float) -> np.ndarray:
    """Weights of each tensor, not yet whole: those that would exceed density 1 are dense, the others share the rest."""
    dense = np.zeros(len(sizes), dtype=bool)
    while True:
        rest = (raw * sizes)[~dense].sum()
        factor = (total - sizes[dense].sum()) / rest if rest else 0.0
        over = ~dense & (factor * raw > 1)
        if not over.any():
            return np.where(dense, sizes, factor * raw * sizes)
        dense |= over
