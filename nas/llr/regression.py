"""The local linear model: what a stage's parameters do to the loss, with its leave-one-out error and uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from nas.llr.choices import Choice, StageChoices

Vector = NDArray[np.float64]
PENALTIES = tuple(10.0**power for power in range(-2, 3))
LEAST_ROWS = 4  # of a stage


class TooFewReplacements(ValueError):
    """A stage was tried too rarely for a regression; the message says how to mend it."""


@dataclass(frozen=True, eq=False)
class StageModel:
    """change of loss = coefficients @ features of one stage, 0 for the master's own choice.

    Attributes:
        coefficients: (n_features,) nats per unit of feature.
        spread: (n_features, n_features) covariance of the coefficients.
        noise: standard deviation of a single measured change, nats.
        penalty: of the ridge, chosen by leave-one-out error.
        cross_validated: mean absolute leave-one-out error, nats.
        spearman: rank correlation of the left-out predictions with the measured changes.
        rows: how many changes it was fitted to.
    """

    coefficients: Vector
    spread: Vector
    noise: float
    penalty: float
    cross_validated: float
    spearman: float
    rows: int

    def predict(self, features: Vector) -> tuple[Vector, Vector]:
        """(n,) expected change of loss and its standard deviation, for features (n, n_features)."""
        variance = np.einsum("ij,jk,ik->i", features, self.spread, features)
        return features @ self.coefficients, np.sqrt(np.maximum(variance, 0))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        facts = ("noise", "penalty", "cross_validated", "spearman", "rows")
        return {"coefficients": self.coefficients.tolist(), **{name: getattr(self, name) for name in facts}}

    @classmethod
    def fit(cls, features: Vector, change: Vector) -> Self:
        """Ridge without intercept; the penalty with the least leave-one-out error of ``PENALTIES``.

        Args:
            features: (n, n_features); n >= 4.
            change: (n,) of loss, nats, relative to the stage's control.
        """
        from scipy.stats import spearmanr

        errors = {penalty: _left_out(features, change, penalty) for penalty in PENALTIES}
        penalty = min(errors, key=lambda p: float(np.mean(errors[p] ** 2)))
        left_out = errors[penalty]
        inverse = np.linalg.inv(features.T @ features + penalty * np.eye(features.shape[1]))
        noise = float(np.sqrt(np.mean(left_out**2)))
        predicted = change - left_out
        ranked = np.ptp(predicted) > 0 and np.ptp(change) > 0
        return cls(
            coefficients=inverse @ features.T @ change,
            spread=np.asarray(noise**2 * inverse, np.float64),
            noise=noise,
            penalty=penalty,
            cross_validated=float(np.mean(np.abs(left_out))),
            spearman=float(spearmanr(predicted, change).statistic) if ranked else 0.0,
            rows=len(change),
        )


def fit_stages(
    choices: StageChoices, tried: Sequence[tuple[int, Choice]], losses: Sequence[float]
) -> dict[int, StageModel]:
    """One model a stage.

    Args:
        choices: the master in its space.
        tried: stage and choice of every replacement; for each stage its master's own choice is the control.
        losses: validation loss of the master with that replacement, nats.
    Raises: TooFewReplacements.
    """
    models = {}
    for stage in choices.free():
        rows = [(choice, loss) for (at, choice), loss in zip(tried, losses, strict=True) if at == stage]
        control = next((loss for choice, loss in rows if choice == choices.master[stage]), None)
        others = [(choice, loss) for choice, loss in rows if choice != choices.master[stage]]
        if control is None or len(others) < LEAST_ROWS:
            raise TooFewReplacements(
                f"llr: stage {stage} has {len(others)} replacements beside its control, expected {LEAST_ROWS} or more; "
                "raise the replacements a stage"
            )
        features = np.array([choices.features(stage, choice) for choice, _ in others])
        models[stage] = StageModel.fit(features, np.array([loss - control for _, loss in others]))
    return models


def _left_out(features: Vector, change: Vector, penalty: float) -> Vector:
    """(n,) error of each row's prediction by the others, in closed form."""
    inverse = np.linalg.inv(features.T @ features + penalty * np.eye(features.shape[1]))
    hat = np.einsum("ij,jk,ik->i", features, inverse, features)
    residual = change - features @ (inverse @ features.T @ change)
    return np.asarray(residual / np.maximum(1 - hat, 1e-6))
