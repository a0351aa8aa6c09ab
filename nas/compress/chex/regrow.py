"""Which channels come back: drawn by what the kept ones do not span.

Source: Hou et al. 2022, CHEX (arXiv 2203.15794): eps_j = ||w_j - P w_j||^2 with the orthogonal projection P onto the
kept filters, importance sampling without replacement with p = softmax(eps).
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from nas.compress.chex.scores import tolerance


def residuals(matrix: Tensor, kept: Tensor) -> Tensor:
    """Squared distance of every column from the span of the kept ones.

    Args:
        matrix: (n, units) float64.
        kept: bool (units,).
    Returns: (units,) float64; 0 for kept columns and copies of them.
    """
    basis, sizes, _ = torch.linalg.svd(matrix[:, kept], full_matrices=False)
    basis = basis[:, sizes > tolerance(matrix, sizes)]
    distances: Tensor = (matrix - basis @ (basis.T @ matrix)).square().sum(0)
    return distances


def draw_regrown(matrix: Tensor, kept: Tensor, count: int, generator: Generator, regrowth: str = "residual") -> Tensor:
    """Columns that come back.

    Drawn by the largest of log p + Gumbel noise, which is sampling one by one without replacement (Efraimidis and
    Spirakis 2006; Kool et al. 2019, arXiv 1903.06059).

    Args:
        matrix: (n, units) float64 of weights that were restored.
        kept: bool (units,): those that do not take part.
        count: how many, at most as many as are not kept.
        generator: of the draw, on the CPU.
        regrowth: "residual" or "random".
    Returns: bool (units,).
    """
    weights = residuals(matrix, kept) if regrowth == "residual" else torch.zeros_like(matrix[0])
    uniform = torch.rand(len(kept), dtype=torch.float64, generator=generator).clamp_min(1e-300)
    keys = (weights - torch.log(-torch.log(uniform))).masked_fill(kept, -torch.inf)
    regrown = torch.zeros_like(kept)
    regrown[torch.argsort(keys, descending=True, stable=True)[:count]] = True
    return regrown & ~kept
