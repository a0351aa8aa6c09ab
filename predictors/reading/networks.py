"""Architectures, their JSON and published structure texts: one column for each field of each block."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import fields
from typing import Any

from predictors.reading import graphs
from predictors.reading.tokens import Row, Tokens, laid_out
from predictors.schema import InvalidTable
from search_spaces.arch import Architecture, Block, InvalidArchitecture
from search_spaces.formats import format_of, read_published

_PLAIN = tuple(f.name for f in fields(Block) if f.name not in ("ops", "weight_bits", "activation_bits"))


def looks_like(text: str) -> bool:
    """Whether a text is an architecture's JSON or a published structure that can be read."""
    try:
        network_of(text)
    except InvalidArchitecture:
        return False
    return True


def network_of(text: str) -> Architecture:
    """The architecture of a text; raises InvalidArchitecture."""
    if text.lstrip().startswith("{") and format_of(text) is None:
        return Architecture.from_json(text)
    return read_published(text)[0]


def read_networks(rows: Sequence[str | Architecture], spec: dict[str, Any], where: str) -> Tokens:
    """Columns such as ``[1.0].kernel``: of the first block after one halving of the image.

    Args:
        rows: texts or architectures.
        spec: with "names" the columns of the fitted table.
        where: what the rows are.
    Raises: InvalidTable: cannot be read, or has more blocks at a resolution than the fitted table.
    """
    found: list[Row] = []
    for at, row in enumerate(rows):
        try:
            found.append(_row(network_of(row) if isinstance(row, str) else row))
        except InvalidArchitecture as error:
            raise InvalidTable(f"{where}, row {at}: {error}") from None
    return laid_out(found, list, spec.get("names"), where)  # type: ignore[arg-type]  # the layout is the names


def _row(arch: Architecture) -> Row:
    names: list[str] = []
    tokens: list[Hashable] = []
    stage, place = 0, -1
    for i, block in enumerate(arch.blocks):
        opens = i > 0 and block.stride > 1
        stage, place = (stage + 1, 0) if opens else (stage, place + 1)
        start = f"[{stage}.{place}]"
        names += [f"{start}.{name}" for name in _PLAIN]
        tokens += [getattr(block, name) for name in _PLAIN]
        if block.ops:
            edges, operations = graphs.operations_of(block.ops) if graphs.looks_like(block.ops) else ([""], [block.ops])
            names += [f"{start}.ops{edge}" for edge in edges]
            tokens += operations
        for name in ("weight_bits", "activation_bits"):
            bits = getattr(block, name)
            names += [f"{start}.{name}[{j}]" for j in range(len(bits))]
            tokens += bits
    return tuple(names), tokens
