"""Dictionaries of lists, as JSON or as a Python literal: ``{'ks': [5, 7, …], 'e': […], 'd': […], 'r': [224]}``."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Hashable, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictors.reading.tokens import ABSENT, Row, Tokens, coded, laid_out, present
from predictors.schema import InvalidTable

MOST_CHARACTERS = 20_000
_PIECE = re.compile(r"([^0-9-]*)(-?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?)?([^0-9]*)")


def looks_like(text: str) -> bool:
    """Whether a text is meant to be a dictionary."""
    return text.lstrip().startswith("{")


def parsed(text: str) -> Any:
    """What the text holds; None where it is no data."""
    if len(text) > MOST_CHARACTERS:
        return None
    try:
        return json.loads(
            text.replace("'", '"').replace("None", "null").replace("True", "true").replace("False", "false")
        )
    except (ValueError, RecursionError):
        try:
            return ast.literal_eval(text.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            return None


def read_settings(rows: Sequence[str | dict[str, Any]], spec: dict[str, Any], where: str) -> Tokens:
    """One column for each value, such as ``.ks[3]``.

    Args:
        rows: texts, or dictionaries.
        spec: with "names" the columns of the fitted table.
        where: what the rows are.
    Raises: InvalidTable: not a dictionary, or one with other keys or longer lists than the fitted table has.
    """
    names = spec.get("names")
    alike = _alike(rows)
    if alike is not None and names in (None, alike.names):
        return alike
    return laid_out([_row(row, at, where) for at, row in enumerate(rows)], _layout, names, where)


def _alike(rows: Sequence[str | dict[str, Any]]) -> Tokens | None:
    """Texts that differ in their numbers only, read at once; None for others, which need a parser for each row."""
    if not all(isinstance(row, str) and len(row) <= MOST_CHARACTERS for row in rows):
        return None
    cut = [str(row).split(",") for row in rows]
    width = len(cut[0])
    if any(len(row) != width for row in cut) or not isinstance(parsed(str(rows[0])), dict):
        return None
    codes, pieces = coded(list(chain.from_iterable(cut)))
    matches = [_PIECE.fullmatch(piece) for piece in pieces]
    codes = codes.reshape(len(rows), width)
    numeric = []
    for at, there in enumerate(present(codes, len(pieces))):
        found = [matches[i] for i in there]
        if len({match and (match[1], match[3], match[2] is None) for match in found}) != 1 or found[0] is None:
            return None
        if found[0][2] is not None:
            numeric.append(at)
    paths, leaves = _row(rows[0], 0, "")
    numbers = [None if match is None or match[2] is None else _number(match[2]) for match in matches]
    if [leaf for leaf in leaves if leaf is not None] != [numbers[i] for i in codes[0, numeric]]:
        return None  # a key with digits, texts, truth values
    table = np.full((len(rows), len(leaves)), ABSENT, np.intp)
    table[:, [at for at, leaf in enumerate(leaves) if leaf is not None]] = codes[:, numeric]
    return Tokens(_layout(paths), *_merged(table, numbers))


def _merged(table: NDArray[np.intp], numbers: list[float | None]) -> tuple[NDArray[np.intp], list[Any]]:
    """The same numbers, read from different pieces, as one symbol each."""
    codes, symbols = coded(numbers)
    return np.append(codes, ABSENT)[table], symbols


def _number(text: str) -> float:
    return int(text) if text.lstrip("-").isdigit() else float(text)


def _row(row: str | dict[str, Any], at: int, where: str) -> Row:
    data = parsed(row) if isinstance(row, str) else row
    if not isinstance(data, dict):
        raise InvalidTable(f"{where}, row {at}: {str(row)[:60]!r}, expected a dictionary such as {{'ks': [3, 5]}}")
    paths: list[Hashable] = []
    tokens: list[Hashable] = []
    for key, value in data.items():
        if isinstance(value, list | tuple) and not any(isinstance(item, list | tuple | dict) for item in value):
            paths.append((key, len(value)))
            tokens += value
        else:
            _flatten(f".{key}", value, paths, tokens)
    return tuple(paths), tokens


def _flatten(path: str, value: Any, paths: list[Hashable], tokens: list[Hashable]) -> None:
    """Nested lists are flattened to one; nested dictionaries get longer names."""
    if isinstance(value, dict):
        for key, inner in value.items():
            _flatten(f"{path}.{key}", inner, paths, tokens)
    elif isinstance(value, list | tuple):
        flat = list(_leaves(value))
        paths.append((path[1:], len(flat)))
        tokens += flat
    else:
        paths.append(path)
        tokens.append(value)


def _leaves(value: Any) -> Any:
    if isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, dict):
        yield json.dumps(value, sort_keys=True)
    else:
        yield value


def _layout(paths: Any) -> list[str]:
    names: list[str] = []
    for path in paths:
        names += [path] if isinstance(path, str) else [f".{path[0]}[{i}]" for i in range(path[1])]
    return names
