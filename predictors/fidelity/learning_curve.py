"""What the first epochs of a training say about its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


class InvalidCurve(ValueError):
    """A learning curve without epochs, with values that are not finite, or of another length than it should have."""


def sum_of_training_losses(curve: ArrayLike, last: int | None = None) -> Floats | float:
    """How fast a network learns: the sum of its training losses, negative, so that higher is better.

    Args:
        curve: (epochs,) or (n, epochs): mean training loss of each epoch, without the epochs that were not run.
        last: how many epochs count, from the end (SoTL-E); None takes all (SoTL).
    Returns: a number, or (n,) of them; they rank networks that trained for equally many epochs only.
    Raises: InvalidCurve: no epochs, values that are not finite, fewer than ``last`` epochs.
    Source: Ru et al. 2021, "Speedy Performance Estimation for Neural Architecture Search", arXiv 2006.04492.
        Deviations: the sign; sums of epoch means, where the paper sums over mini-batches (a constant factor).
    """
    losses = _checked(curve, "training losses")
    count = losses.shape[-1]
    if last is not None and not 1 <= last <= count:
        raise InvalidCurve(f"training losses: last={last}, expected 1 to the {count} epochs of the curve")
    sums = -losses[..., count - (last or count) :].sum(axis=-1)
    return sums if sums.ndim else float(sums)


@dataclass(frozen=True)
class CurveFeatures:
    """Learning curves as columns of a table.

    Attributes:
        last: epochs from the end that slopes and SoTL-E look at.
    """

    last: int = 3

    def names(self, *, losses: bool = True, accuracies: bool = True) -> list[str]:
        """Of the columns, in the order of ``table``."""
        of_losses = ["sotl", f"sotl_last_{self.last}", "loss_last", "loss_slope"] if losses else []
        of_accuracies = ["accuracy_last", "accuracy_best", "accuracy_slope", "accuracy_area"] if accuracies else []
        return of_losses + of_accuracies

    def table(
        self,
        *,
        losses: Sequence[Sequence[float]] | NDArray[np.float64] | None = None,
        accuracies: Sequence[Sequence[float]] | NDArray[np.float64] | None = None,
    ) -> Floats:
        """One row a network, all with equally many epochs.

        Args:
            losses: (n, epochs) mean training losses.
            accuracies: (n, epochs) validation accuracies.
        Returns: (n, columns), as ``names`` says. Sums of losses are negative; slopes are per epoch, over the last
            epochs; the area is the mean accuracy of the epochs. Of all but ``loss_last`` and ``loss_slope``, more is
            better.
        Raises: InvalidCurve: no curves, no epochs, values that are not finite, different numbers of networks.
        """
        parts = []
        if losses is not None:
            falling = _rows(losses, "training losses")
            late = min(self.last, falling.shape[1])
            sums = [np.asarray(sum_of_training_losses(falling, count)) for count in (None, late)]
            parts.append(np.stack([*sums, falling[:, -1], _slopes(falling[:, -late:])], axis=1))
        if accuracies is not None:
            rising = _rows(accuracies, "accuracies")
            late = min(self.last, rising.shape[1])
            parts.append(
                np.stack([rising[:, -1], rising.max(axis=1), _slopes(rising[:, -late:]), rising.mean(axis=1)], axis=1)
            )
        if not parts:
            raise InvalidCurve("curves: neither losses nor accuracies, expected one of them")
        if len({len(part) for part in parts}) > 1:
            raise InvalidCurve(f"curves: losses of {len(parts[0])} networks, accuracies of {len(parts[1])}")
        return np.hstack(parts)


def _slopes(curves: Floats) -> Floats:
    """(n,) least-squares change per epoch; 0 of a single epoch."""
    epochs = np.arange(curves.shape[1]) - (curves.shape[1] - 1) / 2
    found: Floats = curves @ epochs / (float(epochs @ epochs) or 1.0)
    return found


def _rows(curves: ArrayLike, name: str) -> Floats:
    try:
        found = _checked(curves, name)
    except ValueError as error:
        if isinstance(error, InvalidCurve):
            raise
        raise InvalidCurve(f"{name}: curves of different lengths; cut all to the shortest") from None
    if found.ndim != 2:
        raise InvalidCurve(f"{name}: shape {found.shape}, expected (networks, epochs)")
    return found


def _checked(curve: ArrayLike, name: str) -> Floats:
    found = np.asarray(curve, np.float64)
    if found.ndim not in (1, 2) or found.shape[-1] == 0:
        raise InvalidCurve(f"{name}: shape {found.shape}, expected (epochs,) or (networks, epochs), at least 1 epoch")
    if not np.isfinite(found).all():
        raise InvalidCurve(f"{name}: NaN or infinite values, expected finite ones; leave networks that diverged out")
    return found
