"""Architectures of a space: its knobs are the columns, with all choices that the space has."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictors.reading import cells, names
from predictors.reading.applying import apply, check_matrix, hide_filler
from predictors.reading.given import given
from predictors.reading.learning import limits
from predictors.schema import Column, InvalidTable, Schema
from search_spaces.arch import Architecture, InvalidArchitecture

Floats = NDArray[np.float64]
MOST_PROBES = 20_000  # architectures decoded to find which knobs decide about others


def schema_of_space(data: Any, space: Any, costs: Sequence[str] | None) -> Schema:
    """Schema of architectures of a space; see ``predictors.reading.schema_of``. Raises InvalidTable."""
    got = given(data)
    if got.source != "networks":
        raise InvalidTable(f"networks: got {got.said}, with a space expected a list of architectures")
    if costs:
        raise InvalidTable(f"costs: {costs[0]!r} is no column, architectures have none; give a table to have costs")
    if not _has_knobs(space):
        return _schema_of_encoding(space, _encoded(space, got.objects["arch"]))
    knobs = [knob for knob in space.knobs if len(knob.choices) > 1]
    if not knobs:
        raise InvalidTable(f"space {space.name}: no knob with two choices, so nothing can be learnt about it")
    gates = _gates(space, knobs)
    places = names.places_of([knob.name for knob in knobs])
    columns = []
    for at, knob in enumerate(knobs):
        place, stage = places.get(knob.name, (knob.name, ""))
        columns.append(Column(knob.name, "choice", _levels(knob.choices), place, stage, at in gates["of"]))
    source = {
        "input": "networks",
        "space": space.name,
        "knobs": [knob.name for knob in knobs],
        "gates": gates,
        "dropped": {knob.name: f"always {knob.choices[0]}" for knob in space.knobs if len(knob.choices) == 1},
        "cells": cells.found([column.name for column in columns], ()),
    } | limits(columns)
    schema = Schema(tuple(columns), source)
    read_networks(schema, data, space)
    return schema


def _schema_of_encoding(space: Any, encoded: Floats) -> Schema:
    """A space without knobs says in ``encode`` what matters: numbers, which may take any value later."""
    take = [int(at) for at in np.flatnonzero(np.ptp(encoded, axis=0) > 0)]
    if not take:
        raise InvalidTable(f"networks: all have the same encoding in the space {space.name}; give some that differ")
    columns = tuple(Column(f"encode[{at}]", "number") for at in take)
    dropped = {f"encode[{at}]": f"always {encoded[0, at]:g}" for at in range(encoded.shape[1]) if at not in take}
    source = {
        "input": "array",
        "space": space.name,
        "knobs": [],
        "fields": [],
        "width": encoded.shape[1],
        "numbers": {"take": take, "at": list(range(len(take)))},
        "parts": [],
        "gates": {"of": [], "by": [], "above": []},
        "dropped": dropped,
        "constants": {},
        "cells": [],
    } | limits(columns)
    return Schema(columns, source)


def read_networks(schema: Schema, data: Any, space: Any) -> Floats:
    """Matrix of architectures of the space.

    Raises: InvalidTable: no architectures, or not of the space.
    """
    got = given(data)
    if got.source != "networks":
        raise InvalidTable(f"networks: got {got.said}, the fitted ones were architectures of {schema.source['space']}")
    rows = got.objects["arch"]
    if not schema.source["knobs"]:
        return apply(schema, _encoded(space, rows))
    tables = [_numbers(column) for column in schema.columns]
    matrix = np.empty((len(rows), len(tables)))
    for i, arch in enumerate(rows):
        try:
            values = space.values_of(arch)
            matrix[i] = [table[values[name]] for table, name in zip(tables, schema.source["knobs"], strict=True)]
        except InvalidArchitecture as error:
            raise InvalidTable(f"networks, row {i}: {error}") from None
    hide_filler(matrix, schema.source["gates"])
    check_matrix(schema, matrix, ())
    return matrix


def _has_knobs(space: Any) -> bool:
    return hasattr(space, "knobs") and hasattr(space, "values_of")


def _encoded(space: Any, rows: Sequence[Architecture]) -> Floats:
    found = []
    for i, arch in enumerate(rows):
        try:
            space.validate(arch)
        except InvalidArchitecture as error:
            raise InvalidTable(f"networks, row {i}: {error}") from None
        found.append(np.asarray(space.encode(arch), dtype=np.float64))
    return np.stack(found)


def _levels(choices: Sequence[Any]) -> tuple[float | str, ...]:
    if all(isinstance(choice, int | float) for choice in choices):
        return tuple(sorted(float(choice) for choice in choices))
    return tuple(sorted(str(choice) for choice in choices))


def _numbers(column: Column) -> Any:
    """From a knob's value to its number in the matrix."""
    if column.ordered:
        return _Same()
    return {level: float(at) for at, level in enumerate(column.levels)}


class _Same:
    """Numbers stand for themselves."""

    def __getitem__(self, value: Any) -> float:
        return float(value)


def _gates(space: Any, knobs: Sequence[Any]) -> dict[str, list[int]]:
    """Which ordered knob decides whether another has an effect: found by decoding.

    Of a knob without effect when all others are at their least, some knob is looked for that alone, put from its most
    to its least, takes the effect away; the highest choice that does so is the gate.
    """
    found: dict[str, list[int]] = {"of": [], "by": [], "above": []}
    if not hasattr(space, "decode") or len(knobs) ** 2 > MOST_PROBES:
        return found
    least = {knob.name: knob.choices[0] for knob in space.knobs}
    most = {knob.name: knob.choices[-1] for knob in space.knobs}
    deciding = [at for at, knob in enumerate(knobs) if _is_depth(knob.choices)]
    for at, knob in enumerate(knobs):
        if _matters(space, knob, least) or not _matters(space, knob, most):
            continue
        for by in deciding:
            off = [c for c in knobs[by].choices if by != at and not _matters(space, knob, most | {knobs[by].name: c})]
            if off:
                found["of"].append(at)
                found["by"].append(by)
                found["above"].append(int(max(off)))
                break
    return found


def _is_depth(choices: Sequence[Any]) -> bool:
    return all(type(choice) is int for choice in choices) and list(choices) == sorted(choices)


def _matters(space: Any, knob: Any, values: dict[str, Any]) -> bool:
    """Whether another choice of the knob makes another architecture."""
    try:
        here = space.decode(values)
        others = (c for c in knob.choices if c != values[knob.name])
        return any(space.decode(values | {knob.name: other}) != here for other in islice(others, 2))
    except InvalidArchitecture:
        return True
