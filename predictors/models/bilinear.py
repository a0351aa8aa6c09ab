"""The bilinear accuracy model of BINAS, fitted by ridge regression to random networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted, validate_data

from predictors.models.bilinear_effects import BilinearEstimator, Contribution
from predictors.models.bilinear_form import BilinearForm
from predictors.models.bilinear_structure import Indices, InvalidStructure, Stage, Structure
from predictors.models.linear import Ridge
from predictors.regressor import Floats, Regressor


@dataclass(frozen=True)
class StageColumns:
    """Where a table of 0/1 columns holds one stage.

    Attributes:
        depths: the possible depths, ascending.
        depth_columns: of each depth: the column that is 1 at it.
        blocks: of each block, up to the deepest: one group of columns for each part of its configuration, such as
            kernel and expansion; in each group one column is 1. One group alone is the whole configuration. The
            configurations are all combinations, the last group running fastest.
    """

    depths: tuple[int, ...]
    depth_columns: tuple[int, ...]
    blocks: tuple[tuple[tuple[int, ...], ...], ...]

    def stage(self) -> Stage:
        """Its depths and numbers of configurations."""
        return Stage(self.depths, tuple(int(np.prod([len(group) for group in groups])) for groups in self.blocks))


class BilinearRegressor(Regressor):
    """Ridge regression on depths, and on configurations of the blocks that exist: products of the two kinds of choice.

    A configuration of several parts has a weight for each part and one for their combination: what is common to all
    blocks of a kernel size is learned first, what is special to a combination only from enough labels. Columns that no
    stage has, such as costs, enter as they are. Weights count as repetitions.

    Args:
        stages: a ``StageColumns`` for each stage; None takes all columns as they are, which is plain ridge regression.
        combinations: prior standard deviation of the weight of a combination, that of a part being 1; 0 leaves
            combinations out, so that a configuration is the sum of its parts.
        criterion: how the strength of the penalty is chosen: "gcv" or "evidence", as in ``Ridge``.

    Attributes:
        ridge_: the fitted ``Ridge`` on the products.
    Source: Nayman et al. 2022, arXiv 2110.12399, its learned bilinear predictor. Deviations: products of a depth and a
        configuration are those that the closed form has; ridge with a chosen strength in place of a truncated
        pseudo-inverse.
    """

    def __init__(
        self, stages: Any = None, combinations: float = 0.3, criterion: Literal["gcv", "evidence"] = "gcv"
    ) -> None:
        self.stages = stages
        self.combinations = combinations
        self.criterion = criterion

    def _fit(self, features: Floats, labels: Floats, weights: Floats) -> None:
        self._check_columns(features.shape[1])
        products = self._products(features)
        self._centre: Floats = np.average(products, axis=0, weights=weights)
        self.ridge_ = Ridge(self.criterion)
        self.ridge_.n_features_in_ = products.shape[1]
        self.ridge_._fit(products, labels, weights)

    def _estimate(self, features: Floats) -> Floats:
        return self.ridge_._estimate(self._products(features))

    def _estimate_with_std(self, features: Floats) -> tuple[Floats, Floats]:
        return self.ridge_._estimate_with_std(self._products(features))

    def estimator(self) -> BilinearEstimator:
        """The effect of every choice with its standard error; ``form()`` of it is what a mathematical program reads.

        Raises: InvalidStructure: there are no stages, or columns beside them.
        """
        check_is_fitted(self)
        structure = self._structure()
        rows = self._one_hot_rows(structure)
        effects = rows @ self.ridge_.coef_
        around = self.ridge_._estimate_with_std(self._centre[None])[1][0] ** 2
        errors = np.sqrt(np.maximum(self.ridge_._estimate_with_std(self._centre + rows)[1] ** 2 - around, 0.0))
        base_error = self.ridge_._estimate_with_std(np.zeros((1, rows.shape[1])))[1][0]
        base_error = float(np.sqrt(max(base_error**2 - self.ridge_.noise_**2, 0.0)))
        deep = structure.beta_starts[-1]
        return BilinearEstimator(
            structure, self.ridge_.intercept_, base_error, effects[:deep], errors[:deep], effects[deep:], errors[deep:]
        )

    def form(self) -> BilinearForm:
        """The fitted model as base + q'beta + alpha'Q beta + p'alpha. Raises InvalidStructure, as ``estimator``."""
        return self.estimator().form()

    def contributions(self, row: ArrayLike) -> list[Contribution]:
        """What each choice of one network adds; with the base of ``estimator``, their sum is the prediction.

        Args:
            row: (d,) features of the network.
        Raises: InvalidStructure: as ``estimator``.
        """
        check_is_fitted(self)
        self._structure()
        values = validate_data(self, np.asarray(row, np.float64)[None], reset=False, dtype=np.float64)[0]
        depths = [stage.depths[int(values[list(stage.depth_columns)].argmax())] for stage in self.stages]
        configs = []
        for stage in self.stages:
            for groups in stage.blocks:
                chosen = [int(values[list(group)].argmax()) for group in groups]
                configs.append(int(np.ravel_multi_index(chosen, [len(group) for group in groups])))
        return self.estimator().contributions(depths, configs)

    def _products(self, features: Floats) -> Floats:
        """(n, p): columns of no stage; depths; parts of blocks, then their combinations, where the blocks exist."""
        if self.stages is None:
            return features
        parts: list[Floats] = [features[:, self._others]]
        parts += [features[:, list(stage.depth_columns)] for stage in self.stages]
        for stage in self.stages:
            for block, groups in enumerate(stage.blocks):
                at = [column for depth, column in zip(stage.depths, stage.depth_columns, strict=True) if depth > block]
                exists = features[:, at].sum(axis=1, keepdims=True)
                parts += self._of_block([features[:, list(group)] * exists for group in groups])
        return np.hstack(parts)

    def _of_block(self, groups: Sequence[Floats]) -> list[Floats]:
        if len(groups) == 1 or not self.combinations:
            return list(groups)
        return [*groups, self.combinations * reduce(_combined, groups)]

    def _one_hot_rows(self, structure: Structure) -> Floats:
        """(beta + alpha, p): the products that belong to each depth and to each configuration of an existing block."""
        rows = [np.eye(structure.beta_starts[-1])]
        for stage in self.stages:
            for groups in stage.blocks:
                sizes = [len(group) for group in groups]
                chosen = np.unravel_index(np.arange(int(np.prod(sizes))), sizes)
                one_hot = [np.eye(size)[at] for size, at in zip(sizes, chosen, strict=True)]
                rows.append(np.hstack(self._of_block(one_hot)))
        found = np.zeros((sum(len(part) for part in rows), sum(part.shape[1] for part in rows)))
        row = column = 0
        for part in rows:
            found[row : row + len(part), column : column + part.shape[1]] = part
            row, column = row + len(part), column + part.shape[1]
        return found

    def _structure(self) -> Structure:
        if self.stages is None or len(self._others):
            count = "no stages" if self.stages is None else f"{len(self._others)} columns that no stage has"
            raise InvalidStructure(f"bilinear: {count}, so effects of choices are not all; name stages for all columns")
        return Structure(tuple(stage.stage() for stage in self.stages))

    def _check_columns(self, count: int) -> None:
        used: list[int] = []
        for stage in self.stages or ():
            stage.stage()
            if len(stage.depth_columns) != len(stage.depths):
                raise InvalidStructure(f"stages: depths {stage.depths} with columns {stage.depth_columns}")
            used += [*stage.depth_columns, *(column for groups in stage.blocks for group in groups for column in group)]
        if len(set(used)) < len(used) or not set(used) <= set(range(count)):
            raise InvalidStructure(f"stages: a column is used twice or is not one of 0 to {count - 1}")
        self._others: Indices = np.setdiff1d(np.arange(count), used).astype(np.intp)


def _combined(left: Floats, right: Floats) -> Floats:
    """(n, a * b) products of every column of the one and every column of the other."""
    found: Floats = (left[:, :, None] * right[:, None, :]).reshape(len(left), left.shape[1] * right.shape[1])
    return found
