"""Reading tables of networks: what the columns mean, and rows as numbers.

``schema_of`` looks at the rows that a predictor is to learn from; ``read`` then turns any rows into the matrix that
encoders take. Rows are an array of numbers, a DataFrame, a list of structure texts, of settings (dictionaries), or of
architectures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictors.reading.applying import apply
from predictors.reading.csv_file import read_csv
from predictors.reading.learning import learn
from predictors.schema import InvalidTable, Schema

__all__ = ["read", "read_csv", "schema_of"]


def schema_of(data: Any, *, costs: Sequence[str] | None = None, space: Any = None) -> Schema:
    """What the columns of a table are; labels must not be among them.

    Args:
        data: rows of networks.
        costs: names of the columns that are costs (columns of an array are x0, x1, …); None takes those that are
            named after parameters, operations, latency, memory or size.
        space: of architectures: its knobs are then the columns, with all their choices.
    Returns: the schema; ``source["dropped"]`` says which columns say nothing, and why.
    Raises: InvalidTable: no rows, no column that says anything, rows in different formats.
    """
    if space is not None:
        from predictors.reading.spaces import schema_of_space

        return schema_of_space(data, space, costs)
    return learn(data, costs)


def read(schema: Schema, data: Any, *, space: Any = None) -> NDArray[np.float64]:
    """Rows as numbers.

    Args:
        schema: from ``schema_of``.
        data: rows of the same kind as there.
        space: of architectures, where the schema is of a space; None finds the project's own by name.
    Returns: (n, len(schema.columns)) float64; NaN where a choice does not exist.
    Raises: InvalidTable: other columns than in the schema, NaN or infinite numbers; UnseenChoice: a choice that no
        row of the schema's table had.
    """
    if "space" not in schema.source:
        return apply(schema, data)
    from predictors.reading.spaces import read_networks
    from search_spaces import SPACES

    found = space if space is not None else SPACES.get(schema.source["space"])
    if found is None:
        raise InvalidTable(f"networks: of the space {schema.source['space']!r}, which is not known here; give space=")
    return read_networks(schema, data, found)
