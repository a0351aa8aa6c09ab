"""Gradient-boosted stumps: a sum of step functions of single features, and its slightly deeper relatives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted, validate_data

from predictors.models.tree_arrays import Stumps, Trees
from predictors.regressor import Floats, Regressor

if TYPE_CHECKING:
    import xgboost

FOLDS = 4
PATIENCE = 60  # rounds without progress before a fold stops
FEWEST = 12  # rows from which folds can tell the number of rounds
NO_FOLDS = 100  # rounds when there are fewer
MOST_BINS = 64


class BoostedStumps(Regressor):
    """Boosted regression trees of depth 1 to 3 with strong shrinkage; the number of rounds is chosen on inner folds.

    One model of all rows gives the mean. A bag of models of resampled rows gives the standard deviation: their spread,
    and the error on the rows that a model of the bag has not seen.

    Args:
        depth: of the trees: 1 gives a sum over features, 2 and 3 let two and three features interact.
        learning_rate: share of a tree that is added, 0.03 to 0.1.
        rounds: number of trees; None chooses it by early stopping on 4 folds.
        most_rounds: the largest number that is chosen.
        bag: models of resampled rows, at least 2.
        random_state: of folds, resamples and the rows that a tree sees.

    Attributes:
        rounds_: number of trees of each model.
        noise_: standard deviation of a label around the prediction for an unseen row.
    Source: Friedman 2001, "Greedy function approximation: a gradient boosting machine", and 2002, "Stochastic gradient
        boosting" (each tree sees half of the rows). Trees are grown by xgboost, predictions come from flat arrays.
    """

    def __init__(
        self,
        depth: int = 1,
        learning_rate: float = 0.08,
        rounds: int | None = None,
        most_rounds: int = 2_000,
        bag: int = 6,
        random_state: int = 0,
    ) -> None:
        self.depth = depth
        self.learning_rate = learning_rate
        self.rounds = rounds
        self.most_rounds = most_rounds
        self.bag = bag
        self.random_state = random_state

    def _fit(self, features: Floats, labels: Floats, weights: Floats) -> None:
        if self.depth not in (1, 2, 3):
            raise ValueError(f"depth={self.depth!r}, expected 1, 2 or 3")
        if self.bag < 2:
            raise ValueError(f"bag={self.bag!r}, expected at least 2 models to tell a spread")
        rng = np.random.default_rng(self.random_state)
        self._middle = float(np.average(labels, weights=weights))
        spread = float(np.sqrt(np.average((labels - self._middle) ** 2, weights=weights)))
        self._unit = spread if spread > 0 else 1.0
        targets, weights = (labels - self._middle) / self._unit, weights / weights.mean()
        self.rounds_ = self.rounds or self._chosen_rounds(features, targets, weights, rng)
        counts = rng.multinomial(len(targets), np.full(len(targets), 1 / len(targets)), size=self.bag)
        grown = [self._grow(features, targets, weights, self.rounds_)]
        grown += [
            self._grow(features[drawn > 0], targets[drawn > 0], (weights * drawn)[drawn > 0], self.rounds_)
            for drawn in counts
        ]
        self._models: Stumps | Trees = Stumps.of(grown) if self.depth == 1 else Trees.of(grown, self.depth)
        self._model: Stumps | Trees = self._models.first
        if isinstance(self._model, Stumps):
            added = self._model.contributions(features)
            self._usual: Floats = np.average(added, axis=0, weights=weights)
        self.noise_ = self._unit * self._unseen_error(features, targets, weights, counts)

    def _estimate(self, features: Floats) -> Floats:
        found: Floats = self._model.predict(features)[:, 0] * self._unit + self._middle
        return found

    def _estimate_with_std(self, features: Floats) -> tuple[Floats, Floats]:
        found = self._models.predict(features)
        spread = found[:, 1:].std(axis=1, ddof=1) * self._unit
        return self._estimate(features), np.hypot(spread, self.noise_)

    def contributions(self, X: ArrayLike) -> Floats:
        """(n, d) what each feature adds to the prediction, relative to the mean network of the training rows.

        Raises: ValueError: trees are deeper than 1, so that features do not add up.
        """
        check_is_fitted(self)
        if not isinstance(self._model, Stumps):
            raise ValueError(f"contributions: trees of depth {self.depth} do not add up by feature, expected depth=1")
        features = validate_data(self, X, reset=False, dtype=np.float64)
        found: Floats = (self._model.contributions(features) - self._usual) * self._unit
        return found

    def _grow(self, features: Floats, targets: Floats, weights: Floats, rounds: int, judge: Any = None) -> Any:
        import xgboost

        data = xgboost.QuantileDMatrix(features, targets, weight=weights, nthread=1, max_bin=MOST_BINS)
        settings = {
            "max_depth": self.depth, "eta": self.learning_rate, "subsample": 0.5, "base_score": 0.0, "nthread": 1,
            "max_bin": MOST_BINS, "min_child_weight": 0.5, "seed": self.random_state, "verbosity": 0,
        }  # fmt: skip
        if judge is None:
            return xgboost.train(settings, data, rounds)
        judged = xgboost.QuantileDMatrix(*judge[:2], weight=judge[2], nthread=1, ref=data, max_bin=MOST_BINS)
        return xgboost.train(
            settings, data, rounds, evals=[(judged, "unseen")], early_stopping_rounds=PATIENCE, verbose_eval=False
        )

    def _chosen_rounds(self, features: Floats, targets: Floats, weights: Floats, rng: np.random.Generator) -> int:
        """The median over folds of where the error on unseen rows is least."""
        count = len(targets)
        if count < FEWEST:
            return NO_FOLDS
        fold = rng.permutation(count) % FOLDS
        best = []
        for k in range(FOLDS):
            seen, unseen = fold != k, fold == k
            judge = (features[unseen], targets[unseen], weights[unseen])
            booster: xgboost.Booster = self._grow(features[seen], targets[seen], weights[seen], self.most_rounds, judge)
            best.append(booster.best_iteration + 1)
        return int(np.median(best))

    def _unseen_error(self, features: Floats, targets: Floats, weights: Floats, counts: NDArray[np.int64]) -> float:
        """Root mean square error on rows that a model of the bag has not drawn, by the mean of those models."""
        found = self._models.predict(features)
        unseen = (counts == 0).T
        times = unseen.sum(axis=1)
        kept = times > 0
        if not kept.any():
            return float(np.std(targets))
        guess = (found[:, 1:] * unseen).sum(axis=1)[kept] / times[kept]
        return float(np.sqrt(np.average((guess - targets[kept]) ** 2, weights=weights[kept])))
