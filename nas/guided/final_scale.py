"""Accuracies after a few epochs in the unit of those after all: what a network that fell out would have reached."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from predictors.fidelity import rank_preserving

FEWEST = 5  # finished networks from which on more than a shift is learnt

Curve = Sequence[float]  # validation accuracy after epochs 1, 2, …


def final_accuracies(curves: Sequence[Curve], epochs: int) -> list[float | None]:
    """What every network reaches after all epochs.

    Networks that fell out are mapped by those that were trained to the end, from the same epoch: increasing, so that
    the order among those that fell out after the same epoch stays; with fewer than five of these by their mean gain.

    Args:
        curves: one of each network; empty where the training failed.
        epochs: of a whole training.
    Returns: None where there is no curve, or nobody to compare with.
    """
    whole = [curve for curve in curves if len(curve) >= epochs]
    return [_final(curve, whole, epochs) for curve in curves]


def _final(curve: Curve, whole: Sequence[Curve], epochs: int) -> float | None:
    if len(curve) >= epochs:
        return float(curve[epochs - 1])
    if not curve or not whole:
        return None
    early = np.array([other[len(curve) - 1] for other in whole])
    late = np.array([other[epochs - 1] for other in whole])
    if len(whole) < FEWEST or np.ptp(early) == 0:
        return float(np.clip(curve[-1] + (late - early).mean(), 0.0, 1.0))
    return float(np.clip(rank_preserving(early, late)(curve[-1]), 0.0, 1.0))
