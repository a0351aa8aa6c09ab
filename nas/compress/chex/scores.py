"""Which channels of a group stay: column subset selection by leverage scores.

Source: Hou et al. 2022, "CHEX: CHannel EXploration for CNN Model Compression" (CVPR 2022, arXiv 2203.15794), column
subset selection; leverage scores: Papailiopoulos, Kyrillidis, Boutsidis 2014 (arXiv 1404.1530).
"""

from __future__ import annotations

import torch
from torch import Tensor


def leverage_scores(matrix: Tensor, rank: int) -> Tensor:
    """psi_j = ||[V_rank]_(j,:)||^2: how much of column j lies in the leading right singular directions.

    Args:
        matrix: (n, columns) float64.
        rank: of the approximation, at least 1; directions beyond the matrix's own rank are left out, so that they do
            not point at columns by chance.
    Returns: (columns,), each 0..1, their sum is min(rank, rank of the matrix); higher is better.
    """
    _, sizes, right = torch.linalg.svd(matrix, full_matrices=False)
    found = int((sizes > tolerance(matrix, sizes)).sum())
    scores: Tensor = right[: min(rank, found)].square().sum(0)
    return scores


def tolerance(matrix: Tensor, sizes: Tensor) -> float:
    """Singular values below this are rounding of float32 weights."""
    largest = float(sizes.max()) if len(sizes) else 0.0
    return largest * max(matrix.shape) * torch.finfo(torch.float32).eps


def select_columns(matrix: Tensor, alive: Tensor, count: int, selection: str = "leverage") -> Tensor:
    """The columns to keep.

    With fewer rows than columns (expanding 1x1 convolutions) leverage scores say little, and the largest columns by L1
    norm are kept, as in the authors' code.

    Args:
        matrix: (n, units) float64.
        alive: bool (units,): columns that may be kept.
        count: how many, at most as many as are alive.
        selection: "leverage" or "l1".
    Returns: bool (units,), ``count`` of them True. Ties go to the column of the larger L1 norm, then to the first.
    """
    places = alive.nonzero()[:, 0]
    living = matrix[:, places]
    sizes = living.abs().sum(0)
    order = torch.argsort(sizes, descending=True, stable=True)
    if selection == "leverage" and matrix.shape[0] >= matrix.shape[1] and count:
        scores = leverage_scores(living, count)[order].mul(2**40).round()  # ties but for rounding
        order = order[torch.argsort(scores, descending=True, stable=True)]
    kept = torch.zeros_like(alive)
    kept[places[order[:count]]] = True
    return kept
