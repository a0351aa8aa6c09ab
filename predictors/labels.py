"""Label maps: what a predictor is fitted to in place of the labels, and the way back for reporting."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtri
from scipy.stats import rankdata

Floats = NDArray[np.float64]


class LabelMap(ABC):
    """A strictly rising function, learned from the training labels alone."""

    name: str

    @abstractmethod
    def fit(self, labels: Floats) -> Self:
        """Learn from (n,) labels that are not all equal."""

    @abstractmethod
    def forward(self, labels: Floats) -> Floats:
        """(n,) labels as the predictor sees them."""

    @abstractmethod
    def back(self, mapped: Floats) -> Floats:
        """(n,) mapped values in the unit of the labels."""

    def back_std(self, mapped: Floats, deviations: Floats) -> Floats:
        """(n,) standard deviations in the unit of the labels: half of what one to each side spans."""
        spans: Floats = self.back(mapped + deviations) - self.back(mapped - deviations)
        return np.abs(spans) / 2


class Identity(LabelMap):
    """Labels as they are."""

    name = "identity"

    def fit(self, labels: Floats) -> Self:
        """Nothing to learn."""
        return self

    def forward(self, labels: Floats) -> Floats:
        """The labels."""
        return labels

    def back(self, mapped: Floats) -> Floats:
        """The values."""
        return mapped

    def back_std(self, mapped: Floats, deviations: Floats) -> Floats:
        """The deviations."""
        return deviations


class NormalScores(LabelMap):
    """Phi^-1 of the mid-rank, (rank - 1/2) / n: heavy tails and plateaus of a label no longer matter.

    Between training labels it is linear; beyond them it goes on along the line from the median to the extreme.
    """

    name = "normal scores"

    def fit(self, labels: Floats) -> Self:
        """Remember the labels and their scores."""
        self._labels, at = np.unique(labels, return_index=True)
        self._scores = ndtri((rankdata(labels)[at] - 0.5) / len(labels))
        middle = len(self._labels) // 2
        rise, run = self._scores - self._scores[middle], self._labels - self._labels[middle]
        overall = (self._scores[-1] - self._scores[0]) / (self._labels[-1] - self._labels[0])
        self._below, self._above = (
            float(rise[end] / run[end]) if run[end] != 0 and rise[end] != 0 else float(overall) for end in (0, -1)
        )
        return self

    def forward(self, labels: Floats) -> Floats:
        """Normal scores."""
        found = np.interp(labels, self._labels, self._scores)
        found += np.minimum(labels - self._labels[0], 0) * self._below
        found += np.maximum(labels - self._labels[-1], 0) * self._above
        return np.asarray(found)

    def back(self, mapped: Floats) -> Floats:
        """Labels with these scores."""
        found = np.interp(mapped, self._scores, self._labels)
        found += np.minimum(mapped - self._scores[0], 0) / self._below
        found += np.maximum(mapped - self._scores[-1], 0) / self._above
        return np.asarray(found)


class Logit(LabelMap):
    """log(p / (1 - p)) of where a label stands between two bounds: accuracies near a ceiling, ranks.

    The bounds are 0 and 1, or 0 and 100, for labels inside that fill at least a tenth of the range; else they lie half
    a mean distance of neighbours beyond the extreme labels.
    """

    name = "logit"

    def fit(self, labels: Floats) -> Self:
        """Choose the bounds."""
        low, high = float(labels.min()), float(labels.max())
        for top in (1.0, 100.0):
            if low > 0 and high < top and high - low >= top / 10:
                self._low, self._high = 0.0, top
                return self
        step = (high - low) / (2 * max(len(labels) - 1, 1))
        self._low, self._high = low - step, high + step
        return self

    def forward(self, labels: Floats) -> Floats:
        """Log odds; labels outside the bounds are taken as just inside."""
        share = (labels - self._low) / (self._high - self._low)
        return np.asarray(logit(np.clip(share, 1e-6, 1 - 1e-6)))

    def back(self, mapped: Floats) -> Floats:
        """Labels between the bounds."""
        return np.asarray(self._low + (self._high - self._low) * expit(mapped))


LABEL_MAPS: dict[str, type[LabelMap]] = {each.name: each for each in (Identity, NormalScores, Logit)}
