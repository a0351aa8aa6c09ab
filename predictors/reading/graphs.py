"""Cells that name the operation on every edge: ``|op~0|+|op~0|op~1|``; ``+`` ends a node, ``~i`` says what it reads."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Sequence
from itertools import chain
from typing import Any

from predictors.reading.tokens import Row, Tokens, coded, laid_out, present
from predictors.schema import InvalidTable

_OPERATION = re.compile(r"([^|+~\s]+)(?=~)")
_BETWEEN = re.compile(r"\|?|~([0-9]+)\|(\+\|)?")
_EDGE = re.compile(r"\[([0-9]+)<-([0-9]+)\]")


def looks_like(text: str) -> bool:
    """Whether a text is meant to be such a cell."""
    return text.lstrip().startswith("|") and "~" in text


def read_graphs(texts: Sequence[str], spec: dict[str, Any], where: str) -> Tokens:
    """One column for each edge, ``[target<-source]``. Raises InvalidTable: not such a cell, or an unknown edge."""
    names = spec.get("names")
    alike = _alike(texts)
    if alike is not None and names in (None, alike.names):
        return alike
    return laid_out(_rows(texts, where), edge_names, names, where)


def _alike(texts: Sequence[str]) -> Tokens | None:
    """Cells that all have the same edges, as nearly always, read at once; None for others."""
    rows = [text.split("|") for text in texts]
    width = len(rows[0])
    if any(len(row) != width for row in rows):
        return None
    codes, pieces = coded(list(chain.from_iterable(rows)))
    codes = codes.reshape(len(rows), width)
    operations, ends = zip(*(piece.partition("~")[::2] for piece in pieces), strict=True)
    layout, edges = [""], []
    for at, there in enumerate(present(codes, len(pieces))):
        sources = {ends[i] for i in there}
        if len(sources) != 1 or (len(there) > 1 and sources == {""}):
            return None
        (source,) = sources
        if source:
            layout.append(f"~{source}|")
            edges.append(at)
        elif operations[there[0]] == "+":
            layout[-1] += "+|"
    if not edges or not all(map(_BETWEEN.fullmatch, layout)) or not _is_whole(rows[0], edges):
        return None
    table, symbols = coded(operations)
    return Tokens(edge_names(layout), table[codes[:, edges]], symbols)


def _is_whole(row: list[str], edges: list[int]) -> bool:
    """Whether there is nothing but edges, ends of nodes between them, and the bars at both ends."""
    rest = [piece for at, piece in enumerate(row) if at not in edges]
    return not row[0] and not row[-1] and all(piece == "+" for piece in rest[1:-1]) and "" not in row[1:-1]


def _rows(texts: Sequence[str], where: str) -> list[Row]:
    rows: list[Row] = []
    known: set[Hashable] = set()
    for at, text in enumerate(texts):
        pieces = _OPERATION.split(text.strip())
        layout = tuple(pieces[::2])
        if layout not in known:
            if len(pieces) < 3 or not all(map(_BETWEEN.fullmatch, layout)):
                raise InvalidTable(f"{where}, row {at}: {text[:60]!r}, expected a cell such as |op~0|+|op~0|op~1|")
            known.add(layout)
        rows.append((layout, pieces[1::2]))
    return rows


def edge_names(layout: Any) -> list[str]:
    """Names of the edges, from the text between the operations; a second edge of the same nodes gets a number."""
    names: list[str] = []
    node, often = 1, Counter[str]()
    for between in layout[1:]:
        match = _BETWEEN.fullmatch(between)
        source = match[1] if match else "0"
        name = f"[{node}<-{source}]"
        often[name] += 1
        names.append(name if often[name] == 1 else f"{name}.{often[name]}")
        node += between.endswith("+|")
    return names


def edge_of(name: str) -> tuple[int, int] | None:
    """(source, target) of an edge's column; None for other columns."""
    match = _EDGE.fullmatch(name)
    return None if match is None else (int(match[2]), int(match[1]))


def operations_of(text: str) -> tuple[list[str], list[str]]:
    """Names and operations of the edges of one cell; raises InvalidTable."""
    ((layout, operations),) = _rows([text], "cell")
    return edge_names(layout), [str(operation) for operation in operations]
