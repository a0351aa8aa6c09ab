"""How much of its rank a trained convolution uses, against what chance alone would show.

A kernel (out, in, k, k) is read as a matrix of ``out`` rows. Its singular values say how many directions carry it.
Random Gaussian weights already miss the full rank by most measures, so a measure means something only relative to a
Gaussian matrix of the same shape: the null. A layer well below its null can be replaced by a low-rank form, a
bottleneck or a depthwise block, with little loss (Lin et al. 2020, arXiv 2006.14090, section 3).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Weights = Mapping[str, NDArray[np.floating]]

THRESHOLD = 0.1  # singular values above this share of the largest count
ENERGY = 0.95
LOW = 0.6  # of the null's: below it a layer counts as low-rank
LEAST_SIDE = 4  # smaller matrices say nothing
_NULL_SIDE = 256  # larger nulls are drawn at this size, with the same aspect
_NULL_DRAWS = 3


class NoKernels(ValueError):
    """The weights hold no dense convolution whose rank means anything."""


class Ranks(NamedTuple):
    """Shares of the full rank, min(rows, columns), each in 0..1.

    Attributes:
        stable: sum of squared singular values over the largest squared one.
        entropy: exp of the entropy of the squared singular values.
        threshold: singular values above a tenth of the largest.
        energy: fewest directions with 95 % of the squares.
    """

    stable: float
    entropy: float
    threshold: float
    energy: float


class LayerRank(NamedTuple):
    """One layer's ranks beside chance.

    Attributes:
        name: of the weight.
        shape: (out, in, k, k).
        found: of the trained kernel.
        null: of Gaussian matrices of that shape.
    """

    name: str
    shape: tuple[int, ...]
    found: Ranks
    null: Ranks

    @property
    def need(self) -> float:
        """Rank that 95 % of the kernel's energy needs, relative to the null, in 0..1."""
        return min(1.0, self.found.energy / self.null.energy)

    @property
    def is_low(self) -> bool:
        """Whether it lies well below the null, by energy and by entropy."""
        return self.need < LOW and self.found.entropy < LOW * self.null.entropy


def ranks(matrix: Matrix) -> Ranks:
    """The four measures of a matrix; zeros for one that is all zeros.

    Args:
        matrix: (rows, columns), finite.
    """
    values = np.linalg.svd(np.asarray(matrix, np.float64), compute_uv=False)
    full = min(matrix.shape)
    squares = values**2
    total = squares.sum()
    if not total > 0:
        return Ranks(0.0, 0.0, 0.0, 0.0)
    shares = squares / total
    entropy = -float(np.sum(shares[shares > 0] * np.log(shares[shares > 0])))
    carriers = int(np.searchsorted(np.cumsum(shares), ENERGY - 1e-12)) + 1
    return Ranks(
        stable=float(total / squares[0]) / full,
        entropy=float(np.exp(entropy)) / full,
        threshold=float((values > THRESHOLD * values[0]).sum()) / full,
        energy=min(carriers, full) / full,
    )


def null_ranks(rows: int, columns: int) -> Ranks:
    """The mean measures of Gaussian matrices of this shape, by simulation with a fixed seed."""
    scale = min(1.0, _NULL_SIDE / min(rows, columns))
    return _null(max(1, round(rows * scale)), max(1, round(columns * scale)))


@lru_cache(maxsize=1_000)
def _null(rows: int, columns: int) -> Ranks:
    rng = np.random.default_rng([rows, columns])
    drawn = [ranks(rng.standard_normal((rows, columns))) for _ in range(_NULL_DRAWS)]
    return Ranks(*np.mean(drawn, axis=0).tolist())


def layer_ranks(weights: Weights) -> list[LayerRank]:
    """Ranks of every dense convolution, in the order of the weights. Depthwise kernels have no rank to speak of.

    Args:
        weights: by name, as a state dict holds them.
    Raises: NoKernels: there is none, or one is not finite.
    """
    found = []
    for name, weight in weights.items():
        if weight.ndim != 4 or min(weight.shape[0], weight[0].size) < LEAST_SIDE or weight.shape[1] == 1:
            continue
        matrix = np.asarray(weight, np.float64).reshape(weight.shape[0], -1)
        if not np.isfinite(matrix).all():
            raise NoKernels(f"{name}: holds values that are not finite; the training diverged")
        found.append(LayerRank(name, tuple(weight.shape), ranks(matrix), null_ranks(*matrix.shape)))
    if not found:
        raise NoKernels(
            f"rank: no dense convolution with {LEAST_SIDE} channels or more among {len(weights)} tensors; "
            "give a trained convolutional network"
        )
    return found
