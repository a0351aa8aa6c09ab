"""The accuracy of a network as base + q'beta + alpha'Q beta + p'alpha, as a mathematical program reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from predictors.models.bilinear_structure import Floats, Structure


class NotOfBlocks(ValueError):
    """A bilinear form has products that no sum of effects of blocks has."""


@dataclass(frozen=True)
class BilinearForm:
    """base + q'beta + alpha'Q beta + p'alpha, where alpha has one configuration of *every* block up to the deepest.

    Attributes:
        structure: its stages; ``alpha_starts`` and ``beta_starts`` of it name the places.
        base: label where all terms are 0.
        depths: (beta,) q, linear in the one-hot depths.
        products: (alpha, beta) Q; nonzero only within a stage, where the depth has the block.
        configs: (alpha,) p, of blocks that every depth has.
    """

    structure: Structure
    base: float
    depths: Floats
    products: Floats
    configs: Floats

    @classmethod
    def of_effects(cls, structure: Structure, base: float, depths: ArrayLike, configs: ArrayLike) -> Self:
        """From one number of each depth and one of each configuration, which counts where its block exists.

        Args:
            structure: the stages.
            base: label where all effects are 0.
            depths: (beta,) effects.
            configs: (alpha,) effects.
        """
        effects, has = np.asarray(configs, np.float64), existence(structure)
        always = np.array([structure.stages[s].needed_depth(b) is None for s, b in structure.blocks])
        always = np.repeat(always, np.diff(structure.alpha_starts))
        products = effects[:, None] * has * ~always[:, None]
        return cls(structure, float(base), np.asarray(depths, np.float64), products, np.where(always, effects, 0.0))

    def effects(self) -> tuple[float, Floats, Floats]:
        """Back to base, (beta,) effects of depths and (alpha,) effects of configurations.

        Raises: NotOfBlocks: Q couples stages, or its rows differ between depths that have the block.
        """
        has = existence(self.structure)
        sums = self.configs[:, None] * has + self.products
        found: Floats = (sums * has).sum(axis=1) / has.sum(axis=1)
        if not np.allclose(sums, found[:, None] * has, atol=1e-9 * (1 + np.abs(sums).max())):
            row, column = np.unravel_index(int(np.abs(sums - found[:, None] * has).argmax()), sums.shape)
            raise NotOfBlocks(
                f"products[{row}, {column}] = {self.products[row, column]:.4g}, expected one value at all depths that "
                "have the block and 0 elsewhere; solve this form as a dense one"
            )
        return self.base, self.depths, found

    def value(self, alpha: ArrayLike, beta: ArrayLike) -> Floats:
        """(n,) labels of (n, alpha) and (n, beta) 0/1 rows."""
        a, b = np.asarray(alpha, np.float64), np.asarray(beta, np.float64)
        found: Floats = self.base + b @ self.depths + ((a @ self.products) * b).sum(axis=1) + a @ self.configs
        return found


def existence(structure: Structure) -> Floats:
    """(alpha, beta) 1 where a depth of the same stage has the block of the configuration."""
    has = np.zeros((structure.alpha_starts[-1], structure.beta_starts[-1]))
    for at, (s, b) in enumerate(structure.blocks):
        rows = slice(structure.alpha_starts[at], structure.alpha_starts[at + 1])
        for place, depth in enumerate(structure.stages[s].depths):
            has[rows, structure.beta_starts[s] + place] = float(depth > b)
    return has
