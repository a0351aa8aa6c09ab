"""What a user gives, in one form: named fields of numbers, texts or objects, all of one length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from predictors.schema import InvalidTable
from search_spaces.arch import Architecture

Source = Literal["array", "frame", "texts", "settings", "networks"]
NAME = "arch"  # of the only field where the user names none
_SAID = {
    "array": "an array of numbers",
    "frame": "a table with named columns",
    "texts": "a list of texts",
    "settings": "a list of dictionaries",
    "networks": "a list of architectures",
}


@dataclass(frozen=True)
class Given:
    """Rows of networks.

    Attributes:
        source: what they came as.
        rows: how many.
        numbers: (rows, k) of the numeric fields.
        numeric: names of those fields.
        objects: the other fields: texts, dictionaries or architectures; None where a text is missing.
    """

    source: Source
    rows: int
    numbers: NDArray[np.float64]
    numeric: list[str]
    objects: dict[str, Sequence[Any]]

    @property
    def said(self) -> str:
        """What was given, in words."""
        return _SAID[self.source]


def said_of(source: str) -> str:
    """A source in words."""
    return _SAID[source]


def given(data: Any) -> Given:
    """Look at what a user gives.

    Raises: InvalidTable: no rows, one text instead of a list, mixed types, or nothing that a table can be made of.
    """
    if isinstance(data, pd.DataFrame):
        return _frame(data)
    if isinstance(data, pd.Series):
        return _frame(data.to_frame(NAME if data.name is None else str(data.name)))
    if isinstance(data, str | bytes | dict | Architecture):
        raise InvalidTable(f"networks: got one {type(data).__name__}, expected a list of them: put it into [ ]")
    if isinstance(data, np.ndarray) and data.dtype.kind in "fiub":
        return _array(data)
    rows = list(data) if isinstance(data, np.ndarray | list | tuple) else None
    if rows is None:
        raise InvalidTable(f"networks: got {type(data).__name__}, expected an array, a DataFrame or a list")
    if not rows:
        raise InvalidTable("networks: no rows, expected at least one")
    return _objects(rows)


def _objects(rows: list[Any]) -> Given:
    kinds: tuple[tuple[Source, type], ...] = (("texts", str), ("settings", dict), ("networks", Architecture))
    for source, kind in kinds:
        if isinstance(rows[0], kind):
            strange = next((i for i, row in enumerate(rows) if not isinstance(row, kind)), None)
            if strange is not None:
                raise InvalidTable(
                    f"networks, row {strange}: got {type(rows[strange]).__name__}, expected {kind.__name__} as row 0"
                )
            return Given(source, len(rows), np.empty((len(rows), 0)), [], {NAME: rows})
    try:
        values = np.array(rows)
    except ValueError:
        raise InvalidTable("networks: rows of different lengths, expected an array (networks, columns)") from None
    if values.dtype.kind in "fiub":
        return _array(values)
    if values.ndim != 2:
        raise InvalidTable(f"networks, row 0: got {type(rows[0]).__name__}, expected numbers, texts or architectures")
    return _frame(pd.DataFrame([list(row) for row in rows], columns=[f"x{i}" for i in range(values.shape[1])]))


def _array(values: NDArray[Any]) -> Given:
    if values.ndim != 2:
        raise InvalidTable(f"networks: array of shape {values.shape}, expected (networks, columns)")
    if not values.size:
        raise InvalidTable(f"networks: array of shape {values.shape}, expected at least one row and one column")
    numbers = np.asarray(values, dtype=np.float64)
    return Given("array", len(numbers), numbers, [], {})


def array_names(width: int) -> list[str]:
    """Names of the columns of an array."""
    return [f"x{i}" for i in range(width)]


def _frame(data: pd.DataFrame) -> Given:
    names = [str(name) for name in data.columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidTable(f"table: {names.count(twice[0])} columns are named {twice[0]!r}; rename one")
    if not data.shape[0] or not data.shape[1]:
        raise InvalidTable(f"table: {data.shape[0]} rows and {data.shape[1]} columns, expected at least one of each")
    plain = [dtype.kind in "fiub" for dtype in data.dtypes]
    objects: dict[str, Sequence[Any]] = {}
    numeric = [name for name, is_plain in zip(names, plain, strict=True) if is_plain]
    numbers = data.loc[:, plain].to_numpy(dtype=np.float64)
    more: list[NDArray[np.float64]] = []
    for at, name in enumerate(names):
        if plain[at]:
            continue
        column = _column(data.iloc[:, at], name)
        if isinstance(column, np.ndarray):
            numeric.append(name)
            more.append(column)
        else:
            objects[name] = column
    if more:
        numbers = np.column_stack([numbers, *more])
    return Given("frame", len(data), numbers, numeric, objects)


def _column(column: pd.Series[Any], name: str) -> Sequence[Any] | NDArray[np.float64]:
    """Numbers that pandas keeps as objects, extension types or categories; else objects, None where missing."""
    if isinstance(column.dtype, pd.DatetimeTZDtype) or column.dtype.kind in "Mm":
        return [None if pd.isna(value) else str(value) for value in column]
    missing = column.isna().to_numpy()
    values = column.astype(object).tolist()
    kinds = {type(value) for value, absent in zip(values, missing, strict=True) if not absent}
    if all(issubclass(kind, int | float | np.number | np.bool_) for kind in kinds):
        return np.array(
            [np.nan if absent else float(v) for v, absent in zip(values, missing, strict=True)], dtype=np.float64
        )
    if len(kinds) == 1:
        return [None if absent else value for value, absent in zip(values, missing, strict=True)]
    if any(issubclass(kind, str) for kind in kinds) and all(
        issubclass(k, str | int | float | np.number) for k in kinds
    ):
        return [None if absent else str(value) for value, absent in zip(values, missing, strict=True)]
    raise InvalidTable(
        f"table, column {name!r}: values of types {', '.join(sorted(kind.__name__ for kind in kinds))}, expected one"
    )
