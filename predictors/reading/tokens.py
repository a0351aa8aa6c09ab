"""Structures in text or data as a table of tokens: one column for each position that any row has."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictors.schema import InvalidTable

ABSENT = -1
LONE_ROW = 10  # from so many rows on, one row that alone has another length is taken for a mistake
_NUMBERS = re.compile(r"[0-9]+")

Row = tuple[Hashable, Sequence[Hashable]]  # how a row is laid out, and its tokens in that order
Layout = Callable[[Hashable], list[str]]  # names of the columns of a layout


@dataclass(frozen=True)
class Tokens:
    """A table of tokens.

    Attributes:
        names: (k,) of the columns, to be put behind the name of the structure.
        codes: (n, k) positions in ``symbols``; ABSENT where a row has no such position.
        symbols: the different tokens: text, numbers, truth values, or None, which means absent too.
    """

    names: list[str]
    codes: NDArray[np.intp]
    symbols: list[Any]


def coded(tokens: Sequence[Hashable]) -> tuple[NDArray[np.intp], list[Any]]:
    """Tokens as positions among the different ones; equal numbers of different types are one token."""
    symbols = list(dict.fromkeys(tokens))
    table = {symbol: at for at, symbol in enumerate(symbols)}
    return np.fromiter(map(table.__getitem__, tokens), np.intp, len(tokens)), symbols


def present(codes: NDArray[np.intp], count: int) -> list[list[int]]:
    """Which of ``count`` codes each column has, ascending."""
    seen = np.zeros((codes.shape[1], count), dtype=bool)
    seen[np.arange(codes.shape[1]), codes] = True
    found: list[list[int]] = [[] for _ in range(codes.shape[1])]
    for column, code in zip(*(at.tolist() for at in np.nonzero(seen)), strict=True):
        found[column].append(code)
    return found


def laid_out(rows: Iterable[Row], layout: Layout, names: list[str] | None, where: str) -> Tokens:
    """Put tokens into columns.

    Args:
        rows: of one structure each.
        layout: names of the tokens of a row, in their order.
        names: of the columns that the table has; None takes those that any row has.
        where: what the rows are, for messages.
    Raises: InvalidTable: a row has a position that ``names`` lacks, or one row alone has another length.
    """
    kinds: list[Hashable] = []
    tokens: list[Hashable] = []
    for kind, found in rows:
        kinds.append(kind)
        tokens += found
    columns = {kind: layout(kind) for kind in dict.fromkeys(kinds)}
    if names is None:
        _check_lone(kinds, columns, where)
        names = _in_order([name for found in columns.values() for name in found])
    at = {name: i for i, name in enumerate(names)}
    codes, symbols = coded(tokens)
    if len(columns) == 1 and next(iter(columns.values())) == names:
        return Tokens(names, codes.reshape(len(kinds), len(names)), symbols)
    places = {kind: _positions(found, at, kinds.index(kind), where) for kind, found in columns.items()}
    table = np.full((len(kinds), len(names)), ABSENT, np.intp)
    lengths = np.array([len(columns[kind]) for kind in kinds])
    table[np.repeat(np.arange(len(kinds)), lengths), np.concatenate([places[kind] for kind in kinds])] = codes
    return Tokens(names, table, symbols)


def _positions(found: list[str], at: dict[str, int], row: int, where: str) -> NDArray[np.intp]:
    strange = [name for name in found if name not in at]
    if strange:
        raise InvalidTable(
            f"{where}, row {row}: has {strange[0].lstrip('.')}, which no network of the fitted table has; "
            f"the fitted ones have {len(at)} positions, this one {len(found)}"
        )
    return np.array([at[name] for name in found], np.intp)


def _check_lone(kinds: list[Hashable], columns: dict[Hashable, list[str]], where: str) -> None:
    """Lists may differ in length, but one row alone that does, while all others agree, is a mistake."""
    if len(columns) != 2 or len(kinds) < LONE_ROW:
        return
    for kind, other in (tuple(columns), tuple(columns)[::-1]):
        if kinds.count(kind) == 1:
            raise InvalidTable(
                f"{where}, row {kinds.index(kind)}: {len(columns[kind])} positions, all other rows have "
                f"{len(columns[other])}; correct it or leave it out"
            )


def _in_order(names: list[str]) -> list[str]:
    """Different names; those that differ only in numbers stand together, by their numbers."""
    unique = list(dict.fromkeys(names))
    first: dict[str, int] = {}
    for name in unique:
        first.setdefault(name.split("[")[0], len(first))
    return sorted(unique, key=lambda name: (first[name.split("[")[0]], *map(int, _NUMBERS.findall(name))))
