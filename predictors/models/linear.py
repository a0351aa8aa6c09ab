"""Ridge regression with its strength chosen in closed form: by generalised cross-validation or by the evidence."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from predictors.regressor import Floats, Regressor

STRENGTHS = np.logspace(-6, 6, 97)  # penalty relative to the mean squared singular value


class Ridge(Regressor):
    """Least squares with a penalty on the squared weights, all from one singular value decomposition.

    Args:
        criterion: "gcv" minimises generalised cross-validation; "evidence" maximises the marginal likelihood of the
            same model, which makes it Bayesian ridge regression with one precision of the weights.

    Attributes:
        coef_: (d,) change of the label per unit of a feature.
        intercept_: label where all features are 0.
        strength_: penalty relative to the mean squared singular value of the centred features.
        noise_: standard deviation of a label of weight 1 around the line.
    Weights count as repetitions: a row of weight 2 and two equal rows give the same fit.
    Source: Golub, Heath, Wahba 1979, "Generalized cross-validation as a method for choosing a good ridge parameter";
        MacKay 1992, "Bayesian interpolation" (evidence). Deviations: the criteria are minimised over a fixed grid.
    """

    def __init__(self, criterion: Literal["gcv", "evidence"] = "gcv") -> None:
        self.criterion = criterion

    def _fit(self, features: Floats, labels: Floats, weights: Floats) -> None:
        total = float(weights.sum())
        self._centre = weights @ features / total
        middle = float(weights @ labels / total)
        roots = np.sqrt(weights)
        left, singular, right = np.linalg.svd((features - self._centre) * roots[:, None], full_matrices=False)
        kept = singular > 1e-10 * max(float(singular[0]) if len(singular) else 0.0, 1e-300)
        singular, right = singular[kept], right[kept]
        centred = (labels - middle) * roots
        along = left[:, kept].T @ centred
        outside = max(float(centred @ centred - along @ along), 0.0)
        squares = singular**2
        self.strength_, noise = _choose(squares, along, outside, total, self.criterion)
        penalty = self.strength_ * (squares.mean() if len(squares) else 1.0)
        self.coef_: Floats = right.T @ (singular / (squares + penalty) * along)
        self.intercept_ = middle - float(self._centre @ self.coef_)
        self.noise_ = float(np.sqrt(noise))
        self._directions = right
        self._posterior = noise / (squares + penalty)  # variance of the weight along each direction
        self._prior = noise / penalty  # of every direction that no training row has
        self._mean_variance = noise / total

    def _estimate(self, features: Floats) -> Floats:
        found: Floats = features @ self.coef_ + self.intercept_
        return found

    def _estimate_with_std(self, features: Floats) -> tuple[Floats, Floats]:
        centred = features - self._centre
        along = centred @ self._directions.T
        outside = np.maximum((centred**2).sum(axis=1) - (along**2).sum(axis=1), 0.0)
        variance = along**2 @ self._posterior + outside * self._prior + self._mean_variance + self.noise_**2
        return self._estimate(features), np.sqrt(variance)

    def contributions(self, features: Floats) -> Floats:
        """(n, d) what each feature adds to the prediction, relative to the mean network of the training rows."""
        added: Floats = (np.asarray(features, np.float64) - self._centre) * self.coef_
        return added


def _choose(squares: Floats, along: Floats, outside: float, total: float, criterion: str) -> tuple[float, float]:
    """The best strength of the grid and the noise variance that goes with it."""
    if criterion not in ("gcv", "evidence"):
        raise ValueError(f"criterion={criterion!r}, expected 'gcv' or 'evidence'")
    if not len(squares):
        return 1.0, outside / max(total - 1, 1.0)
    penalties = STRENGTHS[:, None] * squares.mean()
    shrunk = penalties / (squares + penalties)  # what is left of each direction
    freedom = (1 - shrunk).sum(axis=1) + 1  # the mean is one
    if criterion == "gcv":
        residual = (shrunk**2 * along**2).sum(axis=1) + outside
        left = np.maximum(total - freedom, 1e-9)
        cost = np.log(np.maximum(residual, 1e-300)) - 2 * np.log(left)
        cost[total - freedom < 0.5] = np.inf  # no row left to judge by
        best = int(np.argmin(cost))
        return float(STRENGTHS[best]), float(residual[best] / max(left[best], 0.5))
    quadratic = (shrunk * along**2).sum(axis=1) + outside
    count = max(total - 1, 1.0)
    cost = count * np.log(np.maximum(quadratic, 1e-300)) - np.log(shrunk).sum(axis=1)
    best = int(np.argmin(cost))
    return float(STRENGTHS[best]), float(quadratic[best] / count)


class BayesianRidge(Ridge):
    """Ridge regression whose strength maximises the evidence; its standard deviations follow from it."""

    def __init__(self, criterion: Literal["evidence"] = "evidence") -> None:
        super().__init__(criterion)


def linear_models() -> dict[str, Any]:
    """Both, by name."""
    return {"ridge": Ridge, "bayesian-ridge": BayesianRidge}
