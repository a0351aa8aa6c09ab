"""Random search: the baseline that every search must beat."""

from __future__ import annotations

import numpy as np

from nas.algorithms.ordered import OrderedSearch
from nas.records import Result
from search_spaces.arch import Architecture


class RandomSearch(OrderedSearch):
    """Independent samples of the space; results change nothing."""

    def _propose(self, index: int, rng: np.random.Generator) -> tuple[Architecture, int | None]:
        return self.space.sample(rng), None

    def _apply(self, result: Result) -> None:
        pass
