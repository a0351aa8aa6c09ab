"""Cells that name the operation on every edge: ``|op~0|+|op~0|op~1|``; ``+`` ends a node, ``~i`` says what it reads."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any

from predictors.reading.tokens import Row, Tokens, laid_out
from predictors.schema import InvalidTable

_OPERATION = re.compile(r"([^|+~\s]+)(?=~)")
_BETWEEN = re.compile(r"\|?|~([0-9]+)\|(\+\|)?")
_EDGE = re.compile(r"\[([0-9]+)<-([0-9]+)\]")


def looks_like(text: str) -> bool:
    """Whether a text is meant to be such a cell."""
    return text.lstrip().startswith("|") and "~" in text


def read_graphs(texts: Sequence[str], spec: dict[str, Any], where: str) -> Tokens:
    """One column for each edge, ``[target<-source]``. Raises InvalidTable: not such a cell, or an unknown edge."""
    return laid_out(_rows(texts, where), edge_names, spec.get("names"), where)


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
