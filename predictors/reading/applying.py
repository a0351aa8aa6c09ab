"""From rows of networks to the numeric matrix of a schema."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from predictors.reading import structures
from predictors.reading.given import NAME, Given, given, said_of
from predictors.reading.sequences import is_number
from predictors.reading.tokens import Tokens
from predictors.schema import Column, InvalidTable, Level, Schema, UnseenChoice

Floats = NDArray[np.float64]
UNKNOWN = -np.inf  # a symbol that is no level; below the lowest level of every column
SHOWN = 12  # levels in a message


class _Used(NamedTuple):
    """Tokens that went into columns, to be shown in messages."""

    tokens: Tokens
    take: Sequence[int]
    at: Sequence[int]


def apply(schema: Schema, data: Any) -> Floats:
    """Matrix of rows that no space explains; see ``predictors.reading.read``."""
    got = given(data)
    source = schema.source
    values = _fields(schema, got)
    matrix = np.empty((got.rows, len(schema.columns)))
    numbers = source["numbers"]
    if numbers["take"]:
        take = numbers["take"]
        index = take if got.source == "array" else [got.numeric.index(name) for name in take]
        found = got.numbers if index == list(range(got.numbers.shape[1])) else got.numbers[:, index]
        if len(take) == matrix.shape[1]:
            matrix = found.copy()
        else:
            matrix[:, numbers["at"]] = found
    used = [
        use for part in source["parts"] if part["field"] in values for use in _read_part(part, values, matrix, schema)
    ]
    hide_filler(matrix, source["gates"])
    check_matrix(schema, matrix, used)
    return matrix


def _fields(schema: Schema, got: Given) -> dict[str, Sequence[Any]]:
    """The fields with structures, after the fields were found to be those of the schema."""
    source = schema.source
    expected: list[str] = source["fields"]
    if got.source != source["input"]:
        if source["input"] == "frame" and got.source in ("texts", "settings", "networks") and len(expected) == 1:
            return {expected[0]: got.objects[NAME]}
        raise InvalidTable(f"networks: got {got.said}, the fitted ones were {said_of(source['input'])}; give the same")
    if got.source == "array":
        if got.numbers.shape[1] != source["width"]:
            raise InvalidTable(f"networks: {got.numbers.shape[1]} columns, the fitted table has {source['width']}")
        _check_constants(source["constants"], {}, got, [f"x{i}" for i in range(source["width"])])
        return {}
    if got.source != "frame":
        return dict(got.objects)
    names = {*got.numeric, *got.objects}
    missing = [name for name in expected if name not in names]
    if missing:
        raise InvalidTable(f"table: no column {missing[0]!r}, which the fitted table has; add it")
    extra = [name for name in (*got.numeric, *got.objects) if name not in expected and name not in source["dropped"]]
    if extra:
        raise InvalidTable(f"table: column {extra[0]!r} was not in the fitted table; leave it out")
    _check_constants(source["constants"], dict(got.objects), got, got.numeric)
    return _structures(schema, got)


def _structures(schema: Schema, got: Given) -> dict[str, Sequence[Any]]:
    """Texts of every structure; digit codes may come as numbers, numbers must not come as text."""
    values = dict(got.objects)
    coded = {part["field"]: part for part in schema.source["parts"]}
    for name in schema.source["fields"]:
        if name in coded and name in got.numeric:
            column = got.numbers[:, got.numeric.index(name)].tolist()
            length = coded[name]["spec"].get("length", 0)
            values[name] = structures.padded(column, length)
        elif name not in coded and name in got.objects:
            value = next((value for value in got.objects[name] if not is_number(value)), None)
            raise InvalidTable(f"table, column {name!r}: got the text {str(value)[:40]!r}, expected numbers")
    return values


def _check_constants(
    constants: dict[str, Level], objects: dict[str, Sequence[Any]], got: Given, numeric: Sequence[str]
) -> None:
    """What was the same in all fitted networks must be the same in new ones: nothing is known of another value."""
    for name, value in constants.items():
        if name in objects:
            other = next((found for found in objects[name] if found != value), value)
        elif name in numeric and isinstance(value, float):
            column = got.numbers[:, numeric.index(name)]
            differs = column != value
            other = float(column[differs][0]) if differs.any() else value
        else:
            continue
        if other != value:
            raise UnseenChoice(_unseen(name, other, (value,)))


def _read_part(part: dict[str, Any], values: dict[str, Sequence[Any]], matrix: Floats, schema: Schema) -> list[_Used]:
    field = part["field"]
    where = f"table, column {field!r}" if schema.source["input"] == "frame" else "networks"
    tokens = structures.tokens_of(part["form"], values[field], part["spec"], where)
    _check_fixed(part, tokens)
    used = []
    for use in part["uses"]:
        at = use["at"]
        codes = tokens.codes[:, use["take"]]
        matrix[:, at] = _table(tokens.symbols, schema.columns[at[0]])[codes]
        used.append(_Used(tokens, use["take"], at))
    return used


def _table(symbols: Sequence[Any], column: Column) -> Floats:
    """(symbols + 1,) value of each symbol in the matrix; the last stands for absence, whose code is -1."""
    if column.ordered:
        found = [np.nan if s is None else float(s) if is_number(s) else UNKNOWN for s in symbols]
    else:
        index = {level: float(i) for i, level in enumerate(column.levels)}
        found = [np.nan if s is None else index.get(str(s), UNKNOWN) for s in symbols]
    return np.array([*found, np.nan])


def _check_fixed(part: dict[str, Any], tokens: Tokens) -> None:
    """Positions that were the same in all fitted networks."""
    for fixed in part["fixed"]:
        symbol = fixed["symbol"]
        codes = tokens.codes[:, fixed["take"]]
        wanted = tokens.symbols.index(symbol) if symbol in tokens.symbols else None
        if wanted is not None and (codes == wanted).all():
            continue
        row, at = np.argwhere(codes != wanted)[0] if wanted is not None else (0, 0)
        code = codes[row, at]
        name = part["field"] + tokens.names[fixed["take"][at]]
        got = tokens.symbols[code] if code >= 0 else None
        raise UnseenChoice(_unseen(name, got, (symbol,)))


def hide_filler(matrix: Floats, gates: dict[str, list[int]]) -> None:
    """Make choices absent that a depth does not reach."""
    if gates["of"]:
        inside = matrix[:, gates["of"]]
        inside[~(matrix[:, gates["by"]] > gates["above"])] = np.nan
        matrix[:, gates["of"]] = inside


def check_matrix(schema: Schema, matrix: Floats, used: Sequence[_Used]) -> None:
    """Raise UnseenChoice for values beyond the levels, InvalidTable for missing ones and infinite numbers."""
    low, high = np.array(schema.source["low"]), np.array(schema.source["high"])
    if ((np.fmin.reduce(matrix) >= low) & (matrix.max(axis=0) <= high)).all():
        return  # no NaN either: the maximum would be NaN
    optional = np.array([column.optional for column in schema.columns])
    missing = np.isnan(matrix)
    bad = (matrix < low) | (matrix > high) | (missing & ~optional)
    if not bad.any():
        return
    row, at = (int(i) for i in np.argwhere(bad)[0])
    column, value = schema.columns[at], matrix[row, at]
    where = f"table, column {column.name!r}, row {row}"
    if column.kind != "choice":
        raise InvalidTable(
            f"{where}: {value:g}, expected a finite number of at most {high[at]:g}; leave the row out or the column"
        )
    if np.isnan(value):
        raise InvalidTable(f"{where}: nothing there, but every network of the fitted table has this choice")
    shown: Any = float(value)
    for tokens, take, columns in used:
        if at in columns:
            shown = tokens.symbols[tokens.codes[row, take[list(columns).index(at)]]]
    raise UnseenChoice(_unseen(column.name, shown, column.levels))


def _unseen(name: str, value: Any, levels: Sequence[Level]) -> str:
    said = [f"{level:g}" if isinstance(level, float) else str(level) for level in levels]
    known = ", ".join(said[:SHOWN]) + (f", … {said[-1]}" if len(said) > SHOWN else "")
    shown = f"{value:g}" if isinstance(value, float) else str(value)[:40]
    return f"column {name!r}: {shown} was in no network of the fitted table, known are {known}; label one with it first"
