"""Intervals with a stated coverage for any regressor, from how far it was off on labels that it had not seen."""

from __future__ import annotations

import inspect
import math
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import MetaEstimatorMixin, clone
from sklearn.utils.validation import check_is_fitted, validate_data

from predictors.regressor import Floats, Regressor

CHUNK = 4_000_000  # numbers held at a time: rows predicted x scores


class TooFewLabels(ValueError):
    """No finite interval of the asked coverage can be promised from so few labels; the message says how many can."""


class InvalidCoverage(ValueError):
    """A coverage or confidence that is not between 0 and 1."""


def rank_needed(n: int, coverage: float) -> int:
    """Which of n scores, the smallest being 1, bounds a new one with this probability: ceil((n + 1) coverage).

    Raises: InvalidCoverage. TooFewLabels: that is more than n.
    """
    if not 0 < coverage < 1:
        raise InvalidCoverage(f"coverage={coverage}, expected a number between 0 and 1")
    rank = math.ceil((n + 1) * coverage - 1e-9)
    if rank > n:
        needed = math.ceil(coverage / (1 - coverage) - 1e-9)
        raise TooFewLabels(
            f"coverage={coverage:g} from {n} labels: needs at least {needed}; label more or ask for at most "
            f"{n / (n + 1):.3f}"
        )
    return max(rank, 1)


def conformal_quantile(scores: ArrayLike, coverage: float) -> float:
    """The bound that a new score, exchangeable with these, keeps with at least this probability.

    Args:
        scores: (n,) how far off predictions were that had not seen their label; any unit.
        coverage: between 0 and 1, at most n / (n + 1).
    Returns: the ceil((n + 1) coverage)-th smallest score: the empirical quantile at ceil((n + 1) coverage) / n.
    Raises: InvalidCoverage; TooFewLabels.
    Source: Vovk, Gammerman, Shafer 2005, "Algorithmic Learning in a Random World".
    """
    values = np.asarray(scores, dtype=np.float64)
    return float(np.partition(values, rank := rank_needed(len(values), coverage) - 1)[rank])


class ConformalRegressor(MetaEstimatorMixin, Regressor):
    """Any regressor, with intervals that hold a new label as often as they say.

    "cv+" fits the regressor on all labels and once without each fold. A label's score is how far the model without its
    fold was off, divided by the standard deviation that this model stated, where it states one. The interval of a new
    network goes from the k-th smallest of (mean - score std) to the k-th largest of (mean + score std), with mean and
    std of the model that each score comes from. "split" fits on one part of the labels and scores the other.

    What is promised when old and new networks are exchangeable (drawn alike, in any order), whatever the model: with
    "split" a coverage of at least the stated one, averaged over labelled sets; with "cv+" at least 2 coverage - 1 (less
    a term below sqrt(2 / n)), in practice about the stated one. Not promised: the coverage among the networks that a
    search has picked, or of networks of another kind; see ``predictors.novelty``.

    Args:
        estimator: with ``fit(X, y)`` and ``predict(X)``, better ``predict(X, return_std=True)``.
        method: "cv+" when labels are few, "split" when there are many or one fit must do.
        folds: of "cv+"; as many folds as distinct networks make it the jackknife+.
        held_out: share of the networks that "split" scores.
        random_state: of folds and split.

    Attributes:
        estimator_: fitted on all labels ("cv+") or on the part not scored.
        estimators_: the models that the scores come from.
        scores_: (n,) signed: label less mean, divided by std.
        model_of_: (n,) which of ``estimators_`` gave the score.
    Rows of equal features are one network and stay in one fold. Weights go to the regressor; scores count alike.
    Source: Barber, Candes, Ramdas, Tibshirani 2021, "Predictive inference with the jackknife+", arXiv 1905.02928
        (CV+ and its bound); Lei et al. 2018, arXiv 1604.04173 (split, scores divided by a spread). Deviations: scores
        divided by a standard deviation also in CV+.
    """

    def __init__(
        self,
        estimator: Any = None,
        method: Literal["cv+", "split"] = "cv+",
        folds: int = 10,
        held_out: float = 0.3,
        random_state: int = 0,
    ) -> None:
        self.estimator = estimator
        self.method = method
        self.folds = folds
        self.held_out = held_out
        self.random_state = random_state

    def _fit(self, features: Floats, labels: Floats, weights: Floats) -> None:
        if self.method not in ("cv+", "split"):
            raise ValueError(f"method={self.method!r}, expected 'cv+' or 'split'")
        fold_of = self._dealt(features)
        self._floor = 1e-9 * float(np.ptp(labels)) or 1e-9
        self.estimators_: list[Any] = []
        self.scores_: Floats = np.zeros(0)
        self.model_of_: NDArray[np.intp] = np.zeros(0, dtype=np.intp)
        for fold in range(int(fold_of.max()) + 1):
            scored = fold_of == fold
            model = self._fitted(features[~scored], labels[~scored], weights[~scored])
            mean, std = self._of(model, features[scored])
            self.scores_ = np.append(self.scores_, (labels[scored] - mean) / std)
            self.model_of_ = np.append(self.model_of_, np.full(int(scored.sum()), fold))
            self.estimators_.append(model)
        self.estimator_ = self._fitted(features, labels, weights) if self.method == "cv+" else self.estimators_[0]

    def _dealt(self, features: Floats) -> NDArray[np.intp]:
        """(n,) number of the model that scores each row; -1 for rows that none scores."""
        network = np.unique(features, axis=0, return_inverse=True)[1].reshape(-1)
        count = int(network.max()) + 1
        if count < 2:
            raise TooFewLabels(f"labels of {count} distinct network, n_samples={len(features)}; expected at least 2")
        order = np.random.default_rng(self.random_state).permutation(count)
        place = np.empty(count, dtype=np.intp)
        if self.method == "split":
            if not 0 < self.held_out < 1:
                raise ValueError(f"held_out={self.held_out}, expected a share between 0 and 1")
            scored = min(max(round(self.held_out * count), 1), count - 1)
            place[order] = np.where(np.arange(count) < scored, 0, -1)
        else:
            if self.folds < 2:
                raise ValueError(f"folds={self.folds}, expected at least 2")
            place[order] = np.arange(count) % min(self.folds, count)
        return place[network]

    def _fitted(self, features: Floats, labels: Floats, weights: Floats) -> Any:
        model = clone(self._inner())
        return model.fit(features, labels) if (weights == 1).all() else model.fit(features, labels, weights)

    def _inner(self) -> Any:
        if self.estimator is not None:
            return self.estimator
        from predictors.models.linear import Ridge

        return Ridge()

    def _of(self, model: Any, features: Floats) -> tuple[Floats, Floats]:
        """(n,) means and (n,) positive standard deviations; 1 where the model states none."""
        if "return_std" not in inspect.signature(model.predict).parameters:
            mean = np.asarray(model.predict(features), np.float64)
            return mean, np.ones(len(mean))
        mean, std = model.predict(features, return_std=True)
        return mean, np.maximum(std, self._floor)

    def _estimate(self, features: Floats) -> Floats:
        found: Floats = np.asarray(self.estimator_.predict(features), np.float64)
        return found

    def _estimate_with_std(self, features: Floats) -> tuple[Floats, Floats]:
        """Standard deviations of the regressor times the root mean square of the scores."""
        mean, std = self._of(self.estimator_, features)
        return mean, std * float(np.sqrt(np.mean(self.scores_**2)))

    def predict_interval(self, X: ArrayLike, coverage: float = 0.9) -> tuple[Floats, Floats]:
        """Intervals for the labels of new networks.

        Args:
            X: (m, d) features, finite.
            coverage: between 0 and 1, at most n / (n + 1) for n scores.
        Returns: (m,) lower and (m,) upper ends, unit of the labels.
        Raises: InvalidCoverage; TooFewLabels.
        """
        check_is_fitted(self)
        sizes = np.abs(self.scores_)
        below, high = self._bounds(X, [(-1.0, sizes), (1.0, sizes)], coverage)
        return -below, high

    def lower(self, X: ArrayLike, confidence: float = 0.9) -> Floats:
        """Lower bounds, each below the label of its network with this confidence.

        Args:
            X: (m, d) features, finite.
            confidence: between 0 and 1; what is promised is as for the coverage of intervals.
        Returns: (m,) unit of the labels.
        Raises: InvalidCoverage; TooFewLabels.
        """
        check_is_fitted(self)
        return -self._bounds(X, [(-1.0, -self.scores_)], confidence)[0]

    def _bounds(self, X: ArrayLike, asked: list[tuple[float, Floats]], coverage: float) -> list[Floats]:
        """For each sign and scores: (m,) the k-th smallest over the scores of (sign mean + score std)."""
        rank = rank_needed(len(self.scores_), coverage) - 1
        features = validate_data(self, X, reset=False, dtype=np.float64)
        step = max(CHUNK // len(self.scores_), 1)
        parts: list[list[Floats]] = [[] for _ in asked]
        for start in range(0, len(features), step):
            found = [self._of(model, features[start : start + step]) for model in self.estimators_]
            means, stds = (np.array(part)[self.model_of_] for part in zip(*found, strict=True))
            for part, (sign, scores) in zip(parts, asked, strict=True):
                part.append(np.partition(sign * means + scores[:, None] * stds, rank, axis=0)[rank])
        return [np.concatenate(part) for part in parts]
