"""Which weights remain: the largest, exactly as many as asked for; of equal ones the first in memory."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Generator, Tensor

from nas.compress.errors import CannotCompress
from nas.compress.gap.settings import PruningSettings
from nas.compress.masks import Masks

_DIGITS = 6  # of a count of weights; (1 - 0.7) * 10 is a little more than 3


def kept_count(size: int, sparsity: float) -> int:
    """Weights that a layer keeps: ceil((1 - sparsity) * size), at least 1."""
    return max(1, math.ceil(round((1 - sparsity) * size, _DIGITS)))


def uniform_counts(sizes: Mapping[str, int], sparsity: float) -> dict[str, int]:
    """Weights that each layer keeps when all have the same sparsity."""
    return {name: kept_count(size, sparsity) for name, size in sizes.items()}


def largest_weights(weights: Mapping[str, Tensor], settings: PruningSettings, alive: Masks | None = None) -> Masks:
    """Masks of the largest magnitudes.

    Args:
        weights: of all prunable layers, by name, in order of execution.
        settings: how many, and whether layers are compared.
        alive: weights that may remain; one that is 0 and alive comes before all that are not. None: all may.
    Raises: CannotCompress: a weight is NaN or infinite.
    """
    scores = {name: _scores(name, tensor, alive) for name, tensor in weights.items()}
    counts = uniform_counts({name: len(score) for name, score in scores.items()}, settings.sparsity)
    if settings.distribution == "global":
        counts = global_counts(
            scores, sum(counts.values()), {n: math.ceil(settings.least * c) for n, c in counts.items()}
        )
    return Masks({name: _largest(score, counts[name]).reshape(weights[name].shape) for name, score in scores.items()})


def global_counts(scores: Mapping[str, Tensor], total: int, least: Mapping[str, int]) -> dict[str, int]:
    """How many of the scores of each layer are among the ``total`` largest of all.

    Args:
        scores: (n,) of each layer.
        total: sum of the result.
        least: of each layer; their sum is at most ``total``.
    Returns: name -> number; of equal scores at the threshold, those of earlier layers count first.
    Source: one threshold for all layers, as in the global variant of GaP (arXiv 2106.09857).
    Deviations: ``least``. Without it, small layers can lose every weight.
    """
    values, owners = [], []
    for at, (name, score) in enumerate(scores.items()):
        ordered = torch.sort(score, descending=True, stable=True).values[least[name] :]
        values.append(ordered)
        owners.append(torch.full((len(ordered),), at))
    free = total - sum(least.values())
    chosen = torch.cat(owners)[torch.sort(torch.cat(values), descending=True, stable=True).indices[:free]]
    extra = torch.bincount(chosen, minlength=len(scores)).tolist()
    return {name: least[name] + more for name, more in zip(scores, extra, strict=True)}


def random_weights(shapes: Mapping[str, tuple[int, ...]], sparsity: float, seed: int) -> Masks:
    """Masks of random positions, with the same sparsity in every layer."""
    generator = Generator().manual_seed(seed)
    scores = {name: torch.rand(math.prod(shape), generator=generator) for name, shape in shapes.items()}
    counts = uniform_counts({name: len(score) for name, score in scores.items()}, sparsity)
    return Masks({name: _largest(score, counts[name]).reshape(shapes[name]) for name, score in scores.items()})


def _scores(name: str, tensor: Tensor, alive: Masks | None) -> Tensor:
    magnitudes = tensor.detach().cpu().float().abs().flatten()
    if not magnitudes.isfinite().all():
        raise CannotCompress(f"{name}: holds NaN or infinite weights; train again with a lower learning rate")
    return magnitudes if alive is None else torch.where(alive[name].flatten(), magnitudes, -1.0)


def _largest(scores: Tensor, count: int) -> Tensor:
    mask = torch.zeros(len(scores), dtype=torch.bool)
    mask[torch.sort(scores, descending=True, stable=True).indices[:count]] = True
    return mask
