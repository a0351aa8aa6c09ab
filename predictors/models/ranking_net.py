"""A small neural network that learns the order of labels from pairs; for thousands of labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from predictors.fidelity.monotone import MonotoneMap, rank_preserving
from predictors.models.ranking_loss import Layers, Recipe, train
from predictors.regressor import Floats, Regressor

CHUNK = 8_192  # rows predicted at a time
LEAST_ROWS = 4


class RankingNet(Regressor):
    """Several networks with a soft-Kendall loss on pairs; a monotone map brings their mean score to the labels' unit.

    Each network holds another part of the rows out: to stop where it orders that part best, and so that every row has
    a score from a network that has not seen it. These scores calibrate the map and give the noise.

    Args:
        hidden: widths of the hidden layers.
        nets: number of networks, at least 2; their spread is part of the standard deviation.
        epochs: passes over the rows, at most.
        patience: passes without progress on the rows held out.
        learning_rate, weight_decay: of Adam with decoupled weight decay.
        sharpness: factor on differences of scores before the tanh; low keeps the loss smooth.
        random_state: of parts, weights and batches.

    Attributes:
        noise_: standard deviation of a label around the prediction for an unseen row.
    Source: Burges et al. 2005, "Learning to rank using gradient descent" (pairs); Ning et al. 2020, arXiv 2004.01899
        (ranking losses for architectures). Deviations: the loss of ``soft_kendall``.
    """

    def __init__(  # noqa: PLR0913 - each is a choice of the model
        self,
        hidden: Any = (128, 128),
        nets: int = 5,
        epochs: int = 80,
        patience: int = 30,
        learning_rate: float = 3e-3,
        weight_decay: float = 0.01,
        sharpness: float = 1.0,
        random_state: int = 0,
    ) -> None:
        self.hidden = hidden
        self.nets = nets
        self.epochs = epochs
        self.patience = patience
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.sharpness = sharpness
        self.random_state = random_state

    def _fit(self, features: Floats, labels: Floats, weights: Floats) -> None:
        if self.nets < 2:
            raise ValueError(f"nets={self.nets!r}, expected at least 2, each holding another part of the rows out")
        self._middle = np.average(features, axis=0, weights=weights)
        spread = features.std(axis=0)
        varied = spread > 1e-9 * (1 + np.abs(self._middle))
        self._scale: Floats = varied / np.where(varied, spread, 1.0)
        unit = float(labels.std())
        self._layers: Layers | None = None
        if len(labels) < max(LEAST_ROWS, self.nets) or unit <= 0 or not varied.any():
            self._mean = float(np.average(labels, weights=weights))
            self.noise_ = unit
            return
        rows = (features - self._middle) * self._scale
        rng = np.random.default_rng(self.random_state)
        held_out = rng.permutation(len(labels)) % self.nets
        recipe = Recipe(
            tuple(self.hidden), self.epochs, self.patience, self.learning_rate, self.weight_decay, self.sharpness,
            self.random_state,
        )  # fmt: skip
        self._layers = train(rows, (labels - labels.mean()) / unit, weights / weights.mean(), held_out, recipe)
        scores = self._layers.scores(rows)
        self._centre = scores.mean(axis=1, keepdims=True)
        self._spread = np.maximum(scores.std(axis=1, keepdims=True), 1e-12)
        self._calibrate((scores - self._centre) / self._spread, labels, weights, held_out)

    def _calibrate(self, scores: Floats, labels: Floats, weights: Floats, held_out: Any) -> None:
        """The map to the labels' unit, from scores that networks gave to rows they have not seen."""
        unseen = scores[held_out, np.arange(len(labels))]
        if np.ptp(unseen) > 0:
            self._map: MonotoneMap = rank_preserving(unseen, labels)
        else:
            self._map = MonotoneMap(unseen[:1], labels.mean(keepdims=True), 1e-9, 1e-9)
        self.noise_ = float(np.sqrt(np.average((self._map(unseen) - labels) ** 2, weights=weights)))

    def _scores(self, layers: Layers, features: Floats) -> Floats:
        """(nets, n) standardised."""
        rows = (features - self._middle) * self._scale
        parts = [layers.scores(rows[at : at + CHUNK]) for at in range(0, len(rows), CHUNK)]
        found: Floats = (np.concatenate(parts, axis=1) - self._centre) / self._spread
        return found

    def _estimate(self, features: Floats) -> Floats:
        if self._layers is None:
            return np.full(len(features), self._mean)
        return self._map(self._scores(self._layers, features).mean(axis=0))

    def _estimate_with_std(self, features: Floats) -> tuple[Floats, Floats]:
        if self._layers is None:
            return np.full(len(features), self._mean), np.full(len(features), self.noise_)
        scores = self._scores(self._layers, features)
        spread = self._map(scores).std(axis=0, ddof=1)
        return self._map(scores.mean(axis=0)), np.hypot(spread, self.noise_)
