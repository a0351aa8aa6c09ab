"""Choices of one place together: which kernel with which expansion."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations, product

import numpy as np

from predictors.encoders.encoder import Encoder, Floats, group_of_columns
from predictors.encoders.hats import Hats, absent_columns
from predictors.schema import Schema

MOST_TUPLES = 64  # combinations of all choices of a place that become features


class Joint(Encoder):
    """One-hot, and the products of the levels of two choices of a place, and of all where they are few.

    The whole tuple is the form of a bilinear estimator: one number for each design of a block.
    """

    @classmethod
    def applies(cls, schema: Schema) -> bool:
        """Whether a place has two choices."""
        return bool(_places(schema))

    def _fit_choices(self, raw: Floats, schema: Schema) -> tuple[Sequence[str], Sequence[int]]:
        self._hats = Hats.on(schema, schema.of_kind("choice"), absent_columns(raw, schema))
        features: dict[int, list[int]] = defaultdict(list)
        for feature, column in enumerate(self._hats.columns.tolist()):
            features[column].append(feature)
        chosen: list[tuple[int, ...]] = []
        for columns in _places(schema):
            for size in sorted({2, len(columns)}):
                for group in combinations(columns, size):
                    levels = [features[column] for column in group]
                    if size == 2 or np.prod([len(found) for found in levels]) <= MOST_TUPLES:
                        chosen += product(*levels)
        names = self._hats.names
        most = max(map(len, chosen))
        one = len(names)  # a feature that is always 1 fills the shorter products
        self._products = np.array([[*group, *[one] * (most - len(group))] for group in chosen], np.intp)
        groups = group_of_columns(schema)
        of = [*self._hats.of, *(int(self._hats.columns[group[0]]) for group in chosen)]
        return [*names, *(" & ".join(names[i] for i in group) for group in chosen)], [groups[at] for at in of]

    def _encode(self, raw: Floats) -> Floats:
        single = self._hats.apply(raw)
        padded = np.hstack([single, np.ones((len(raw), 1))])
        products = padded[:, self._products[:, 0]]
        for column in self._products.T[1:]:
            products *= padded[:, column]
        return np.hstack([single, products])


def _places(schema: Schema) -> list[tuple[int, ...]]:
    """Columns of every place that has two choices at least."""
    places: dict[str, list[int]] = defaultdict(list)
    for at in schema.of_kind("choice"):
        if schema.columns[at].place:
            places[schema.columns[at].place].append(at)
    return [tuple(columns) for columns in places.values() if len(columns) > 1]
