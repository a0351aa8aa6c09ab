"""What all predictors share: real scikit-learn regressors with weights, standard deviations and files."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

Floats = NDArray[np.float64]


class Regressor(RegressorMixin, BaseEstimator):
    """A scikit-learn regressor on finite float features; subclasses say how, in ``_fit`` and ``_estimate``.

    ``fit`` and ``predict`` check their input and say in one line what is wrong with it. Code that has checked already,
    such as cross-validation, calls ``_fit`` and ``_estimate``.
    """

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Learn from labelled networks.

        Args:
            X: (n, d) features, finite.
            y: (n,) labels, finite; higher or lower may be better, the regressor does not care.
            sample_weight: (n,) at least 0: how often a label counts, or how much more precise it is than one of
                weight 1; None counts every label once.
        Raises: ValueError: as scikit-learn words it.
        """
        features, labels = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        weights = _check_sample_weight(sample_weight, features, dtype=np.float64, ensure_non_negative=True)
        kept = weights > 0
        if not kept.any():
            raise ValueError("sample_weight: all are 0, expected some above 0")
        self._fit(features[kept], np.asarray(labels, np.float64)[kept], weights[kept])
        return self

    def predict(self, X: ArrayLike, return_std: bool = False) -> Any:
        """Predicted labels.

        Args:
            X: (n, d) features, finite, as in ``fit``.
            return_std: also give standard deviations of the label of a new network of these features.
        Returns: (n,) means; with ``return_std`` the pair of (n,) means and (n,) standard deviations, both in the
            unit of the labels.
        """
        check_is_fitted(self)
        features = validate_data(self, X, reset=False, dtype=np.float64)
        if return_std:
            return self._estimate_with_std(features)
        return self._estimate(features)

    def save(self, path: str | Path) -> None:
        """Write a file that ``predictors.load`` reads; no pickle."""
        from predictors.saving import save

        save(self, path)

    @abstractmethod
    def _fit(self, features: Floats, labels: Floats, weights: Floats) -> None:
        """Learn from checked arrays; all weights are above 0."""

    @abstractmethod
    def _estimate(self, features: Floats) -> Floats:
        """(n,) means."""

    @abstractmethod
    def _estimate_with_std(self, features: Floats) -> tuple[Floats, Floats]:
        """(n,) means and (n,) standard deviations of a new label, noise included."""
