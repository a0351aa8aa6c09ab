"""Kernel ridge regression of degree 2, whole or summed over stages, tuned by leave-one-out in closed form."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from predictors.regressor import Floats, Regressor

PENALTIES = np.logspace(-5, 3, 33)  # relative to the mean eigenvalue of the kernel
PRODUCTS = (0.0, 0.1, 0.3, 1.0, 3.0)  # weight of products of two features beside the features themselves
CHUNK = 8_192


class QuadraticKernelRidge(Regressor):
    """All features and all products of two, by their kernel: <x, x'> + w <x, x'>^2, features centred.

    With ``stages`` only products within a stage count: the prediction is then a sum over stages of functions of one
    stage each, which an exact search can maximise (``stage_values``).

    Args:
        stages: (d,) stage of each feature, -1 for features that are added without products (costs); None makes one
            stage of all.
        most_rows: beyond so many rows the penalty and the weight of products are found on a sample of so many.
        random_state: of that sample.

    Attributes:
        products_: w, the weight of products; 0 is ridge regression.
        penalty_: of the squared norm, relative to the mean eigenvalue of the kernel.
        noise_: root of the mean squared leave-one-out error.
        loo_: (n,) leave-one-out predictions of the training rows.
    Weights are precisions, as of ``GaussianProcess``. Standard deviations are those of the Gaussian process with this
    kernel, scaled so that the leave-one-out errors have the variance that it states.
    Source: Saunders, Gammerman, Vovk 1998, "Ridge regression learning algorithm in dual variables"; leave-one-out as
        in Rasmussen, Williams 2006, eq. 5.12.
    """

    def __init__(self, stages: Any = None, most_rows: int = 1_500, random_state: int = 0) -> None:
        self.stages = stages
        self.most_rows = most_rows
        self.random_state = random_state

    def _fit(self, features: Floats, labels: Floats, weights: Floats) -> None:
        self._members = self._stage_members(features.shape[1])
        self._shift = np.average(features, axis=0, weights=weights)
        self._middle = float(np.average(labels, weights=weights))
        centred = features - self._shift
        self._unit = float(np.sqrt(max((centred**2).sum(axis=1).mean(), 1e-300)))
        self._points = centred / self._unit
        targets = labels - self._middle
        chosen = np.arange(len(targets))
        if len(chosen) > self.most_rows:
            chosen = np.random.default_rng(self.random_state).choice(len(chosen), self.most_rows, replace=False)
        self._choose(self._points[chosen], targets[chosen], weights[chosen])
        self._condition(targets, weights)

    def _stage_members(self, count: int) -> list[NDArray[np.int64]]:
        if self.stages is None:
            return [np.arange(count)]
        stages = np.asarray(self.stages)
        if stages.shape != (count,):
            raise ValueError(f"stages: shape {stages.shape}, expected one entry for each of {count} features")
        return [np.flatnonzero(stages == stage) for stage in np.unique(stages[stages >= 0])]

    def _choose(self, points: Floats, targets: Floats, weights: Floats) -> None:
        """The weight of products and the penalty with the least weighted leave-one-out error."""
        roots = np.sqrt(weights)
        line, products = self._parts(points, points)
        best: float = np.inf
        for product in PRODUCTS:
            matrix = (line + product * products) * roots[:, None] * roots
            values, vectors = eigh(matrix, check_finite=False)
            values = np.maximum(values, 0.0)
            along = vectors.T @ (targets * roots)
            for penalty in PENALTIES:
                inverse = 1 / (values + penalty * max(values.mean(), 1e-300))
                error = (vectors @ (inverse * along)) / np.maximum((vectors**2) @ inverse, 1e-300)
                cost = float((error**2).sum())
                if cost < best:
                    best = cost
                    self.products_, self.penalty_ = product, float(penalty)
                    self._ridge = float(penalty * max(values.mean(), 1e-300))
                    self.noise_ = float(np.sqrt(cost / weights.sum()))

    def _condition(self, targets: Floats, weights: Floats) -> None:
        """All rows, with what was chosen."""
        matrix = self._kernel(self._points, self._points)
        matrix[np.diag_indices_from(matrix)] += self._ridge / weights
        self._inverse: Floats = np.asarray(np.linalg.inv(matrix), np.float64)
        self._weights: Floats = self._inverse @ targets
        left = np.maximum(np.diag(self._inverse), 1e-300)
        self.loo_: Floats = np.asarray(targets - self._weights / left + self._middle, np.float64)
        errors = self._weights / left
        stated = self._ridge / weights + np.maximum(1 / left - self._ridge / weights, 0.0)
        self._scale = float(np.average(errors**2 / stated, weights=weights))

    def _parts(self, left: Floats, right: Floats) -> tuple[Floats, Floats]:
        """(m, n) inner products, and their squares summed over stages."""
        line: Floats = left @ right.T
        if self.stages is None:
            return line, line**2
        squares = np.zeros_like(line)
        for members in self._members:
            squares += (left[:, members] @ right[:, members].T) ** 2
        return line, squares

    def _kernel(self, left: Floats, right: Floats) -> Floats:
        line, products = self._parts(left, right)
        line += self.products_ * products
        return line

    def _estimate(self, features: Floats) -> Floats:
        found = np.empty(len(features))
        for start in range(0, len(features), CHUNK):
            points = (features[start : start + CHUNK] - self._shift) / self._unit
            found[start : start + CHUNK] = self._kernel(points, self._points) @ self._weights
        return found + self._middle

    def _estimate_with_std(self, features: Floats) -> tuple[Floats, Floats]:
        means, variances = np.empty(len(features)), np.empty(len(features))
        for start in range(0, len(features), CHUNK):
            part = slice(start, start + CHUNK)
            points = (features[part] - self._shift) / self._unit
            cross = self._kernel(points, self._points)
            means[part] = cross @ self._weights
            prior = (points**2).sum(axis=1)
            products = sum(((points[:, each] ** 2).sum(axis=1) ** 2 for each in self._members), np.zeros(len(points)))
            known = ((cross @ self._inverse) * cross).sum(axis=1)
            variances[part] = np.maximum(prior + self.products_ * products - known, 0.0)
        return means + self._middle, np.sqrt(np.maximum(self._scale * (variances + self._ridge), 0.0))

    def stage_values(self, features: Floats) -> Floats:
        """(n, stages) what each stage adds; with ``stages`` their sum plus the rest is the prediction.

        Features of stage -1 and the mean are left out. The first column belongs to the smallest stage.
        """
        points = (np.asarray(features, np.float64) - self._shift) / self._unit
        columns = []
        for members in self._members:
            line = points[:, members] @ self._points[:, members].T
            columns.append((line + self.products_ * line**2) @ self._weights)
        return np.stack(columns, axis=1)
