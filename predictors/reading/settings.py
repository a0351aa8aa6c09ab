"""Dictionaries of lists, as JSON or as a Python literal: ``{'ks': [5, 7, …], 'e': […], 'd': […], 'r': [224]}``."""

from __future__ import annotations

import ast
import json
from collections.abc import Hashable, Sequence
from typing import Any

from predictors.reading.tokens import Row, Tokens, laid_out
from predictors.schema import InvalidTable

MOST_CHARACTERS = 20_000


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
    return laid_out([_row(row, at, where) for at, row in enumerate(rows)], _layout, spec.get("names"), where)


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
