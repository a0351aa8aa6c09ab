"""What a network of a supernet scores, learnt from whole random networks: models beside the measured effects.

They see the same columns: depths, and kernel, expansion and gate of blocks that exist. Which one to go on with is a
question to networks that were left out of the fit; ``compare`` asks it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import ArrayLike

from nas.one_shot.refit import Quality, quality
from nas.one_shot.structure import SpaceView
from predictors.evaluation.folds import repeated_folds
from predictors.models.bilinear import BilinearRegressor, StageColumns
from predictors.models.bilinear_effects import BilinearEstimator
from predictors.models.bilinear_structure import Floats, Indices
from predictors.models.kernel_ridge import QuadraticKernelRidge
from predictors.models.linear import Ridge
from predictors.regressor import Regressor

MEASURED, ADDITIVE, BILINEAR, SEPARABLE = "measured effects", "additive", "bilinear", "stage-separable"
FOLDS, REPEATS = 5, 2


class AccuracyEstimator(Protocol):
    """Labels of networks that are given as arrays; higher is better."""

    def values(self, depths: ArrayLike, configs: ArrayLike) -> Floats:
        """(n,) expected labels."""

    def errors(self, depths: ArrayLike, configs: ArrayLike) -> Floats:
        """(n,) standard errors of them; NaN where unknown."""

    def effects(self) -> BilinearEstimator | None:
        """The sum of effects that it is; None when it is none."""


class StageTable:
    """The columns of a space: depths, then the parts of every block's configuration, 0 where the block does not exist.

    Attributes:
        stages: where the columns of each stage are.
        stage_of: (d,) stage of each column.
    """

    def __init__(self, view: SpaceView) -> None:
        self._structure = view.structure
        stages: list[StageColumns] = []
        stage_of: list[int] = []
        self._groups: list[list[tuple[Indices, int]]] = []  # of each block: part of each configuration, first column
        for s, stage in enumerate(view.structure.stages):
            depth_columns = tuple(range(len(stage_of), len(stage_of) + len(stage.depths)))
            stage_of += [s] * len(stage.depths)
            blocks = []
            for b in range(len(stage.configs)):
                sizes = [len(choices) for choices in view.config_parts(s, b).values() if len(choices) > 1] or [1]
                chosen = np.unravel_index(np.arange(int(np.prod(sizes))), sizes)
                starts = len(stage_of) + np.cumsum([0, *sizes])
                self._groups.append([(np.asarray(part, np.intp), int(at)) for part, at in zip(chosen, starts)])  # noqa: B905
                blocks.append(tuple(tuple(range(int(at), int(at) + n)) for at, n in zip(starts, sizes)))  # noqa: B905
                stage_of += [s] * sum(sizes)
            stages.append(StageColumns(stage.depths, depth_columns, tuple(blocks)))
        self.stages, self.stage_of = tuple(stages), np.array(stage_of, np.intp)

    def columns(self, depths: ArrayLike, configs: ArrayLike) -> Floats:
        """(n, d) 0/1; raises InvalidStructure."""
        numbers, chosen = np.asarray(depths), np.asarray(configs)
        _, _, exists = self._structure.places(numbers, chosen)
        table = np.zeros((len(numbers), len(self.stage_of)))
        for s, columns in enumerate(self.stages):
            for depth, column in zip(columns.depths, columns.depth_columns, strict=True):
                table[:, column] = numbers[:, s] == depth
        for at, groups in enumerate(self._groups):
            rows = np.flatnonzero(exists[:, at])
            for part, first in groups:
                table[rows, first + part[chosen[rows, at]]] = 1.0
        return table


class MeasuredModel:
    """Measured effects as an ``AccuracyEstimator``."""

    def __init__(self, estimator: BilinearEstimator) -> None:
        self._estimator = estimator

    def values(self, depths: ArrayLike, configs: ArrayLike) -> Floats:
        """See ``AccuracyEstimator``; raises InvalidStructure."""
        return self._estimator.predict(depths, configs)

    def errors(self, depths: ArrayLike, configs: ArrayLike) -> Floats:
        """Of the sum, effects taken for independent; what choices do to each other is not in it."""
        alpha, beta = self._estimator.structure.one_hot(depths, configs)
        found: Floats = np.sqrt(
            self._estimator.base_error**2
            + beta @ self._estimator.depth_errors**2
            + alpha @ self._estimator.config_errors**2
        )
        return found

    def effects(self) -> BilinearEstimator | None:
        """The estimator."""
        return self._estimator


class WholeNetworkModel:
    """A regression on the columns of ``StageTable``."""

    def __init__(self, view: SpaceView, kind: str) -> None:
        """Not fitted yet.

        Args:
            view: the space as stages.
            kind: ``ADDITIVE``, a weight for each part of a block's configuration, whatever its depth; ``BILINEAR``, and
                one for each configuration; ``SEPARABLE``, and products of all choices within a stage.
        """
        self.kind, self._table = kind, StageTable(view)
        makers: dict[str, Callable[[], Regressor]] = {
            ADDITIVE: lambda: Ridge("evidence"),
            BILINEAR: lambda: BilinearRegressor(self._table.stages, criterion="evidence"),
            SEPARABLE: lambda: QuadraticKernelRidge(self._table.stage_of),
        }
        self._model = makers[kind]()

    def fit(self, depths: ArrayLike, configs: ArrayLike, labels: ArrayLike) -> Self:
        """Learn from networks.

        Args:
            depths: (n, stages).
            configs: (n, blocks).
            labels: (n,) higher is better.
        """
        self._model.fit(self._table.columns(depths, configs), labels)
        return self

    def values(self, depths: ArrayLike, configs: ArrayLike) -> Floats:
        """See ``AccuracyEstimator``; raises InvalidStructure."""
        found: Floats = self._model.predict(self._table.columns(depths, configs))
        return found

    def errors(self, depths: ArrayLike, configs: ArrayLike) -> Floats:
        """Standard deviations of predictions, noise of a label included."""
        found: Floats = self._model.predict(self._table.columns(depths, configs), return_std=True)[1]
        return found

    def effects(self) -> BilinearEstimator | None:
        """Of the bilinear kind."""
        return self._model.estimator() if isinstance(self._model, BilinearRegressor) else None

    def stage_values(self, depths: ArrayLike, configs: ArrayLike) -> Floats:
        """(n, stages) what each stage adds, of the stage-separable kind: what ``nas.exact.stage_front`` reads.

        Raises: ValueError: another kind.
        """
        if not isinstance(self._model, QuadraticKernelRidge):
            raise ValueError(f"stage_values: the model is {self.kind}, expected {SEPARABLE}; effects() has its terms")
        return self._model.stage_values(self._table.columns(depths, configs))


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """One model, and how well it ranks networks that it was not fitted to.

    Attributes:
        name: ``MEASURED``, ``ADDITIVE``, ``BILINEAR`` or ``SEPARABLE``.
        quality: on networks left out.
        model: fitted to all networks.
    """

    name: str
    quality: Quality
    model: AccuracyEstimator


def compare(
    view: SpaceView,
    networks: tuple[Indices, Indices],
    labels: ArrayLike,
    *,
    measured: BilinearEstimator | None = None,
    seed: int = 0,
) -> list[Compared]:
    """Fit all models; those that rank networks left out best come first.

    Args:
        view: the space as stages.
        networks: (n, stages) depths and (n, blocks) configurations of random networks.
        labels: (n,) of them; higher is better.
        measured: effects that were measured apart from these networks.
        seed: of the folds.
    Raises: TooFewRows: fewer networks than folds.
    """
    (depths, configs), truth = networks, np.asarray(labels, np.float64)
    found = []
    if measured is not None:
        model = MeasuredModel(measured)
        found.append(Compared(MEASURED, quality(model.values(depths, configs), truth), model))
    splits = repeated_folds(len(truth), FOLDS, REPEATS, seed)
    for kind in (ADDITIVE, BILINEAR, SEPARABLE):
        left_out = np.zeros((REPEATS, len(truth)))
        for at, (fitted, judged) in enumerate(splits):
            part = WholeNetworkModel(view, kind).fit(depths[fitted], configs[fitted], truth[fitted])
            left_out[at // FOLDS, judged] = part.values(depths[judged], configs[judged])
        whole = WholeNetworkModel(view, kind).fit(depths, configs, truth)
        found.append(Compared(kind, quality(left_out.mean(axis=0), truth), whole))
    return sorted(found, key=lambda each: -each.quality.kendall)
