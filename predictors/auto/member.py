"""One way to predict: an encoder, a label map and a model; and how features share length scales."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from predictors.encoders import ENCODERS
from predictors.encoders.encoder import Encoder
from predictors.labels import LABEL_MAPS, LabelMap
from predictors.reading.names import family_of
from predictors.regressor import Floats, Regressor
from predictors.schema import Schema

Sharing = Literal["one", "column", "role"]


@dataclass(frozen=True)
class Recipe:
    """A choice that ``AutoPredictor`` compares with others.

    Attributes:
        model: key of ``MODELS``.
        encoder: key of ``predictors.encoders.ENCODERS``.
        costs: whether costs and other numbers, such as proxies, are features.
        labels: key of ``predictors.labels.LABEL_MAPS``.
    """

    model: str
    encoder: str = "one-hot"
    costs: bool = True
    labels: str = "identity"

    @property
    def name(self) -> str:
        """In words."""
        costs = "" if self.costs else " alone"
        return f"{self.model} on {self.encoder}{costs}, {self.labels}"

    def with_labels(self, labels: str) -> Recipe:
        """The same on another label map."""
        return replace(self, labels=labels)


@dataclass(frozen=True)
class Model:
    """A row of ``MODELS``.

    Attributes:
        make: the regressor, given the groups of features that share a length scale, the rows that tune it at most, and
            a seed.
        sharing: which features share one: all, those of a column, or those of a role (one stage, one kind of choice).
        rank: place in the order from simple to complicated, for the one-standard-error rule.
        most_rows: of more rows it learns from a sample of so many.
    """

    make: Callable[[NDArray[np.intp], int, int], Regressor]
    sharing: Sharing
    rank: int
    most_rows: int = 1_000_000


def _ridge(groups: Any, tuned: int, seed: int) -> Regressor:
    from predictors.models.linear import BayesianRidge

    return BayesianRidge()


def _quadratic(groups: Any, tuned: int, seed: int) -> Regressor:
    from predictors.models.kernel_ridge import QuadraticKernelRidge

    return QuadraticKernelRidge(random_state=seed)


def _gaussian(kernel: str, lengths: str, linear: bool) -> Callable[[Any, int, int], Regressor]:
    def make(groups: Any, tuned: int, seed: int) -> Regressor:
        from predictors.models.gaussian_process import GaussianProcess

        return GaussianProcess(kernel, lengths, groups, linear, tuned, seed)  # type: ignore[arg-type]

    return make


def _stumps(groups: Any, tuned: int, seed: int) -> Regressor:
    from predictors.models.stumps import BoostedStumps

    return BoostedStumps(random_state=seed)


def _trees(groups: Any, tuned: int, seed: int) -> Regressor:
    from predictors.models.stumps import BoostedStumps

    return BoostedStumps(depth=3, random_state=seed)


def _net(groups: Any, tuned: int, seed: int) -> Regressor:
    from predictors.models.ranking_net import RankingNet

    return RankingNet(random_state=seed)


TUNED_IN_TRIALS = 250  # rows that tune a Gaussian process: tau as with 400, in a quarter of the time
TUNED = 600  # of the final fit
KERNEL_ROWS = 4_000
MODELS: dict[str, Model] = {
    "bayesian ridge": Model(_ridge, "one", 0),
    "boosted stumps": Model(_stumps, "one", 1),
    "quadratic kernel ridge": Model(_quadratic, "one", 2, KERNEL_ROWS),
    "gp rbf": Model(_gaussian("rbf", "one", False), "one", 3, KERNEL_ROWS),
    "gp quadratic by role": Model(_gaussian("quadratic", "group", False), "role", 4, KERNEL_ROWS),
    "gp matern by role": Model(_gaussian("matern", "group", True), "role", 5, KERNEL_ROWS),
    "gp quadratic by column": Model(_gaussian("quadratic", "group", False), "column", 6, KERNEL_ROWS),
    "gp matern by column": Model(_gaussian("matern", "group", True), "column", 7, KERNEL_ROWS),
    "boosted trees": Model(_trees, "one", 8),
    "ranking net": Model(_net, "one", 9),
}


class Member:
    """A recipe, fitted."""

    def __init__(self, recipe: Recipe, schema: Schema, seed: int, tuned: int = TUNED) -> None:
        self.recipe = recipe
        self.schema = schema
        self.seed = seed
        self.tuned = tuned

    def fit(self, raw: Floats, labels: Floats, weights: Floats) -> Self:
        """Learn from rows of the schema; labels are not all equal."""
        model = MODELS[self.recipe.model]
        if len(labels) > model.most_rows:
            kept = np.random.default_rng(self.seed).choice(len(labels), model.most_rows, replace=False)
            raw, labels, weights = raw[kept], labels[kept], weights[kept]
        self.encoder: Encoder = ENCODERS[self.recipe.encoder](self.recipe.costs, self.recipe.costs).fit(
            raw, self.schema
        )
        self.label_map: LabelMap = LABEL_MAPS[self.recipe.labels]().fit(labels)
        self.model = model.make(length_groups(self.encoder, model.sharing), self.tuned, self.seed)
        self.model._fit(self.encoder.transform(raw), self.label_map.forward(labels), weights)
        return self

    def estimate(self, raw: Floats) -> Floats:
        """(n,) labels."""
        return self.label_map.back(self.model._estimate(self.encoder.transform(raw)))

    def estimate_with_std(self, raw: Floats) -> tuple[Floats, Floats]:
        """(n,) labels and their standard deviations."""
        means, deviations = self.model._estimate_with_std(self.encoder.transform(raw))
        return self.label_map.back(means), self.label_map.back_std(means, deviations)


def length_groups(encoder: Encoder, sharing: Sharing) -> NDArray[np.intp]:
    """(d,) which features share a length scale.

    Those of a column are its levels; those of a role are the same kind of choice anywhere in a stage (the kernels of
    all blocks of stage 2); a cost or a number always has its own.
    """
    if sharing == "one":
        return np.zeros(len(encoder.names), np.intp)
    keys: list[Any] = []
    for name, group in zip(encoder.names, encoder.groups, strict=True):
        column = name.partition("=")[0].removesuffix(" absent")
        keys.append((column,) if sharing == "column" or group < 0 else (family_of(column), int(group)))
    numbers = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    return np.array([numbers[key] for key in keys], np.intp)
