"""The predictor that chooses itself: encoder, label map and model by repeated K-fold, the best ones blended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, column_or_1d, validate_data

from predictors.auto.choice import BLENDED, FEWEST_ROWS, Effort, Preset, part_to_try, try_recipes
from predictors.auto.member import Member, Recipe
from predictors.auto.trial import Labelled, Trial, close_to_best, simplest_of, with_most_repeats
from predictors.conformal import conformal_quantile
from predictors.encoders import ENCODERS
from predictors.novelty import Novelty
from predictors.rank import kendall
from predictors.reading import read, schema_of
from predictors.reading.names import is_cost
from predictors.regressor import Floats, Regressor
from predictors.schema import Column, InvalidTable, Schema

MOST_JUDGED = 1_000  # networks of a batch
MOST_USUAL = 2_000  # labelled networks that say what is usual


class InvalidLabels(ValueError):
    """Labels that are not finite, all equal, or not one for each network; the message names the row."""


class AutoPredictor(Regressor):
    """Learns from a few dozen labelled networks and predicts the rest, with standard deviations and intervals.

    Example: ``AutoPredictor().fit(table, accuracy).predict(others, return_std=True)``, where ``table`` is an array, a
    DataFrame or a list of structure texts; ``AutoPredictor(space=space).fit(archs, accuracy)`` for architectures.

    Args:
        space: of the architectures, with its knobs as columns; None for tables, and for architectures of no space.
        costs: names of the columns that are costs; None takes those with names such as ``macs`` and ``params``.
        preset: "default", or "quick" for a search that fits again and again: few recipes, and a result that depends
            on nothing but the labels and the seed.
        time_limit: seconds for the choice, of which the final fit is not a part; None for no limit. Not of "quick".
        warn_novel: whether ``predict`` warns (``NoveltyWarning``) of two networks or more that are unlike those of
            ``fit``; None does unless the preset is "quick". ``novelty`` says it of each network.
        random_state: of folds and models.

    Attributes:
        members_: what is blended, with equal weights.
        recipe_: the simplest recipe within one standard error of the best.
        leaderboard_: every recipe tried: {"recipe", "kendall", "seconds"}, best first.
        cv_kendall_: out-of-fold tau of the blend; optimistic by the choice, so judge by folds outside
            (``predictors.evaluation``).
        schema_: what the columns mean.
    """

    def __init__(
        self,
        space: Any = None,
        costs: Any = None,
        preset: Preset = "default",
        time_limit: float | None = 15.0,
        warn_novel: bool | None = None,
        random_state: int = 0,
    ) -> None:
        self.space = space
        self.costs = costs
        self.preset = preset
        self.time_limit = time_limit
        self.warn_novel = warn_novel
        self.random_state = random_state

    def fit(
        self,
        X: Any,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        extras: Mapping[str, ArrayLike] | None = None,
    ) -> Self:
        """Choose and fit.

        Args:
            X: n networks: (n, d) array, DataFrame, list of structure texts, list of architectures.
            y: (n,) labels, finite and not all equal.
            sample_weight: (n,) at least 0; how precise a label is, relative to one of weight 1.
            extras: further columns by name, such as costs and proxies, (n,) each; ``predict`` then needs them, too.
        Raises: InvalidLabels, InvalidTable.
        """
        X = self._checked(X, reset=True)
        schema = schema_of(X, costs=self.costs, space=self.space)
        raw = read(schema, X, space=self.space)
        self.extras_: list[str] = list(extras or ())
        self._base_ = schema
        self.schema_ = _with_extras(schema, self.extras_)
        raw = self._joined(raw, extras)
        labels = check_labels(y, len(raw))
        weights = _check_sample_weight(sample_weight, raw, dtype=np.float64, ensure_non_negative=True)
        kept = weights > 0
        if not kept.any():
            raise InvalidLabels("sample_weight: all are 0, expected some above 0")
        self._fit(raw[kept], labels[kept], weights[kept])
        return self

    def _fit(self, features: Floats, labels: Floats, weights: Floats) -> None:
        """Choose and fit on rows of ``schema_``."""
        labelled = Labelled(self.schema_, features, labels, weights, self.random_state)
        if len(labels) < FEWEST_ROWS:
            chosen = [Recipe("bayesian ridge")]
            self.recipe_, self.cv_kendall_ = chosen[0], float("nan")
            self.leaderboard_: list[dict[str, Any]] = []
            self.scores_: Floats = np.empty(0)
        else:
            limit = None if self.preset == "quick" else self.time_limit
            part = part_to_try(labelled)
            chosen = self._choose(part, try_recipes(part, Effort(self.preset, limit), len(labels)))
        self._seen = ENCODERS[self.recipe_.encoder]().fit(features, self.schema_)
        usual = np.random.default_rng(self.random_state).permutation(len(features))[:MOST_USUAL]
        points = self._seen.transform(features[usual])
        several = len(np.unique(points, axis=0)) > 1
        self._novelty = Novelty().fit(points) if several else None
        self.members_ = [
            Member(recipe, self.schema_, self.random_state).fit(features, labels, weights) for recipe in chosen
        ]

    def _choose(self, labelled: Labelled, trials: list[Trial]) -> list[Recipe]:
        labels = labelled.labels
        self.leaderboard_ = [
            {"recipe": trial.recipe.name, "kendall": trial.tau(labels), "seconds": trial.seconds}
            for trial in sorted(trials, key=lambda trial: -trial.tau(labels))
        ]
        finalists = with_most_repeats(trials)
        self.recipe_ = simplest_of(close_to_best(finalists, labelled, errors=1)).recipe
        blend = close_to_best(finalists, labelled, errors=2)[:BLENDED]
        predicted = np.mean([trial.mean for trial in blend], axis=0)
        deviations = np.sqrt(np.mean([np.square(trial.deviations).mean(axis=0) for trial in blend], axis=0))
        self.cv_kendall_ = float(np.nan_to_num(kendall(predicted, labels), nan=0.0))
        self.scores_ = (labels - predicted) / np.maximum(deviations, 1e-300)
        return [trial.recipe for trial in blend]

    def predict(self, X: Any, return_std: bool = False, *, extras: Mapping[str, ArrayLike] | None = None) -> Any:
        """Predicted labels; with ``return_std`` also standard deviations of the label of such a network.

        Raises: InvalidTable: other columns than those of ``fit``; UnseenChoice: a choice that ``fit`` never saw.
        """
        raw = self._raw(X, extras)
        if len(raw) > 1 and (self.preset != "quick" if self.warn_novel is None else self.warn_novel):
            self._warn_novel(raw)
        return self._estimate_with_std(raw) if return_std else self._estimate(raw)

    def novelty(self, X: Any, *, extras: Mapping[str, ArrayLike] | None = None) -> Floats:
        """(n,) p-values: how many of the networks of ``fit`` are as unlike the others as this one is; 0.05 is few."""
        raw = self._raw(X, extras)
        if self._novelty is None:  # one network alone does not say what is usual
            return np.ones(len(raw))
        return self._novelty.score(self._seen.transform(raw))

    def _warn_novel(self, raw: Floats) -> None:
        """Issue a NoveltyWarning where it is due; of a large batch evenly spaced networks are looked at."""
        if self._novelty is not None:
            part = raw[np.linspace(0, len(raw) - 1, min(len(raw), MOST_JUDGED)).astype(np.intp)]
            self._novelty.warn(self._seen.transform(part), stacklevel=4)  # the caller of predict

    def predict_interval(
        self, X: Any, coverage: float = 0.9, *, extras: Mapping[str, ArrayLike] | None = None
    ) -> tuple[Floats, Floats]:
        """Ends of intervals that hold the label with this probability, for networks like those of ``fit``.

        The out-of-fold errors of the choice, relative to the stated standard deviations, set their width (see
        ``predictors.conformal``). Raises: ValueError: too few labels for this coverage.
        """
        mean, deviations = self.predict(X, True, extras=extras)
        width = conformal_quantile(np.abs(self.scores_), coverage)
        return mean - width * deviations, mean + width * deviations

    def predict_lower(
        self, X: Any, confidence: float = 0.9, *, extras: Mapping[str, ArrayLike] | None = None
    ) -> Floats:
        """Bounds that the label exceeds with this probability; what a search should maximise."""
        mean, deviations = self.predict(X, True, extras=extras)
        bound: Floats = mean - conformal_quantile(-self.scores_, confidence) * deviations
        return bound

    def _estimate(self, features: Floats) -> Floats:
        return np.asarray(np.mean([member.estimate(features) for member in self.members_], axis=0))

    def _estimate_with_std(self, features: Floats) -> tuple[Floats, Floats]:
        """The mean over the members; their variance and how they differ make the standard deviation."""
        found = [member.estimate_with_std(features) for member in self.members_]
        means = np.array([mean for mean, _ in found])
        variance = np.mean([deviation**2 for _, deviation in found], axis=0) + means.var(axis=0)
        return np.asarray(means.mean(axis=0)), np.asarray(np.sqrt(variance))

    @property
    def encoder_(self) -> str:
        """Encoder of ``recipe_``."""
        return self.recipe_.encoder

    @property
    def model_(self) -> str:
        """What predicts, in words."""
        return " + ".join(member.recipe.name for member in self.members_)

    def _checked(self, X: Any, *, reset: bool) -> Any:
        """Arrays as scikit-learn checks them; what only ``predictors.reading`` understands, as it is."""
        if self.space is not None or _is_table(X) or _is_texts(X):
            return X
        return validate_data(self, X, reset=reset, dtype=np.float64, ensure_min_samples=2 if reset else 1)

    def _raw(self, X: Any, extras: Mapping[str, ArrayLike] | None) -> Floats:
        check_is_fitted(self)
        return self._joined(read(self._base_, self._checked(X, reset=False), space=self.space), extras)

    def _joined(self, raw: Floats, extras: Mapping[str, ArrayLike] | None) -> Floats:
        given = extras or {}
        if sorted(given) != sorted(self.extras_):
            raise InvalidTable(f"extras: {sorted(given)}, expected those of fit, {sorted(self.extras_)}")
        if not given:
            return raw
        columns = [np.asarray(given[name], np.float64) for name in self.extras_]
        for name, column in zip(self.extras_, columns, strict=True):
            if column.shape != (len(raw),) or not np.isfinite(column).all():
                raise InvalidTable(f"extras[{name!r}]: shape {column.shape}, expected {len(raw)} finite numbers")
        return np.column_stack([raw, *columns])


def check_labels(y: ArrayLike, rows: int) -> Floats:
    """(n,) float64 labels; raises InvalidLabels."""
    if y is None:
        raise InvalidLabels("labels: fit requires y to be passed, but the target y is None")
    try:
        labels = np.asarray(y, dtype=np.float64)
    except (TypeError, ValueError):
        raise InvalidLabels("labels: expected numbers, got something else") from None
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = column_or_1d(labels, warn=True)
    if labels.shape != (rows,):
        raise InvalidLabels(f"labels: shape {labels.shape}, expected one for each of {rows} networks")
    broken = np.flatnonzero(~np.isfinite(labels))
    if len(broken):
        raise InvalidLabels(
            f"labels: row {broken[0]} is {labels[broken[0]]} ({len(broken)} of {rows} are NaN or infinite), "
            "expected finite numbers; leave those rows out"
        )
    if rows > 1 and np.ptp(labels) == 0:
        raise InvalidLabels(f"labels: all {rows} are {labels[0]:g}; there is nothing to learn from equal labels")
    return labels


def _with_extras(schema: Schema, names: list[str]) -> Schema:
    known = set(schema.names)
    for name in names:
        if name in known:
            raise InvalidTable(f"extras[{name!r}]: the table has a column of that name already")
    further = tuple(Column(name, "cost" if is_cost(name) else "number") for name in names)
    return replace(schema, columns=(*schema.columns, *further))


def _is_table(X: Any) -> bool:
    return hasattr(X, "iloc") and hasattr(X, "columns")


def _is_texts(X: Any) -> bool:
    """Whether rows are structure texts, settings or architectures, not numbers."""
    if hasattr(X, "iloc"):
        return True
    first = X[0] if isinstance(X, list | tuple) and len(X) else X.flat[0] if _is_flat_object(X) else None
    return first is not None and not isinstance(first, int | float | complex | list | tuple | np.ndarray | np.generic)


def _is_flat_object(X: Any) -> bool:
    return isinstance(X, np.ndarray) and X.dtype.kind in "OUS" and X.ndim == 1 and X.size > 0
