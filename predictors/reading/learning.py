"""From rows of networks to the schema of a table."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from predictors.reading import cells, existence, names, structures
from predictors.reading.draft import NUMBERS, Draft, Part
from predictors.reading.families import MOST_TOKENS, Levels, shared_levels
from predictors.reading.given import Given, given
from predictors.reading.numeric import is_digit_code, numeric_drafts
from predictors.schema import Column, InvalidTable, Level, Schema

LARGEST = 1e150  # of a number: its square is still finite
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([ T][0-9]{2}:[0-9]{2}.*)?")


def learn(data: Any, costs: Sequence[str] | None) -> Schema:
    """Schema of rows that no space explains; see ``predictors.reading.schema_of``."""
    got = given(data)
    dropped: dict[str, str] = {}
    constants: dict[str, Level] = {}
    parts = _parts(got, dropped, constants)
    drafts = numeric_drafts(got, costs, dropped, constants) + _token_drafts(parts)
    levels = _settle(drafts, parts, dropped, constants)
    kept = [draft for draft in drafts if draft.name not in dropped]
    if not kept:
        raise InvalidTable(f"table: no column says anything ({_reasons(dropped)})")
    _place(kept, parts)
    columns = tuple(
        Column(d.name, d.kind, levels[d.name].values if d.kind == "choice" else (), d.place, d.stage, d.optional)
        for d in kept
    )
    source = {
        "input": got.source,
        "fields": sorted({*_taken(got, kept), *(part.field for part in parts if part.field not in dropped)}),
        "width": got.numbers.shape[1] if got.source == "array" else 0,
        "numbers": _number_uses(got, kept),
        "parts": [_part_source(at, part, columns, kept, drafts) for at, part in enumerate(parts)],
        "gates": _gates(parts, kept),
        "dropped": dropped,
        "constants": constants,
        "cells": cells.found([column.name for column in columns], parts),
    } | limits(columns)
    return Schema(columns, source)


def limits(columns: Sequence[Column]) -> dict[str, list[float]]:
    """Lowest and highest value of each column in the matrix."""
    low, high = [], []
    for column in columns:
        if column.kind != "choice":
            low.append(-LARGEST)
            high.append(LARGEST)
        elif column.ordered:
            low.append(float(column.levels[0]))
            high.append(float(column.levels[-1]))
        else:
            low.append(0.0)
            high.append(len(column.levels) - 1.0)
    return {"low": low, "high": high}


def _reasons(dropped: dict[str, str]) -> str:
    return "; ".join(f"{name}: {reason}" for name, reason in list(dropped.items())[:3])


def _parts(got: Given, dropped: dict[str, str], constants: dict[str, Level]) -> list[Part]:
    """Structures and names among the fields that are not numbers, and digit codes among those that are."""
    fields: dict[str, tuple[str, dict[str, Any]]] = {}
    values: dict[str, Sequence[Any]] = dict(got.objects)
    for name, column in got.objects.items():
        reason = _nothing(name, column, constants, alone=got.source != "frame")
        form = None if reason else structures.form_of([value for value in column if value is not None])
        if form is None:
            dropped[name] = reason or "texts that are no structure and hardly repeat"
        else:
            fields[name] = form
    for at, name in enumerate(got.numeric):
        if got.source == "frame" and is_digit_code(got, at, name):
            length = structures.digits_of(got.numbers[:, at])
            fields[name] = ("code", {"length": length})
            values[name] = structures.padded(got.numbers[:, at].tolist(), length)
    parts = [Part(name, form, spec, _tokens(got, name, form, spec, values)) for name, (form, spec) in fields.items()]
    _align(parts, values)
    existence.gate_depths(parts)
    return parts


def _tokens(got: Given, name: str, form: str, spec: dict[str, Any], values: dict[str, Sequence[Any]]) -> Any:
    where = f"table, column {name!r}" if got.source == "frame" else "networks"
    return structures.tokens_of(form, values[name], spec, where)


def _nothing(name: str, column: Sequence[Any], constants: dict[str, Level], alone: bool) -> str | None:
    """Why a field of texts says nothing; None where it may say something."""
    given_values = [value for value in column if value is not None]
    if not given_values:
        return "empty"
    if not isinstance(given_values[0], str) or alone:
        return None
    different = set(given_values)
    if len(different) == 1 and len(given_values) == len(column):
        constants[name] = given_values[0]
        return f"always {given_values[0][:40]!r}"
    if all(map(_DATE.fullmatch, given_values)):
        return "dates"
    if len(different) == len(column) and names.is_id(name):
        return "names the rows"
    return None


def _align(parts: list[Part], values: dict[str, Sequence[Any]]) -> None:
    """A list beside the matrix of a graph, as long as the graph in each row, names its vertices: align their ends."""
    for matrix in parts:
        if matrix.form != "matrix":
            continue
        sides = [round(len(text) ** 0.5) for text in values[matrix.field]]
        for part in parts:
            if part.form != "list" or part.spec["most"] != matrix.spec["vertices"]:
                continue
            counts = [text.count(part.spec["separator"]) + 1 for text in values[part.field]]
            if counts == sides:
                part.spec["output"] = True
                part.tokens = structures.tokens_of("list", values[part.field], part.spec, part.field)
                matrix.spec["vertices_in"] = part.field


def _token_drafts(parts: Sequence[Part]) -> list[Draft]:
    drafts = []
    for at, part in enumerate(parts):
        absent = part.absent()
        for take, seen in enumerate(part.seen()):
            name = part.full_name(take)
            drafts.append(Draft(name, names.family_of(name), at, take, seen, optional=bool(absent[take])))
    return drafts


def _settle(
    drafts: Sequence[Draft], parts: Sequence[Part], dropped: dict[str, str], constants: dict[str, Level]
) -> dict[str, Levels]:
    """Levels of all choices; what is constant, empty or too rich is dropped."""
    chosen = [d for d in drafts if d.kind == "choice" and d.name not in dropped]
    shared = shared_levels([(draft.family, draft.seen) for draft in chosen])
    found = {draft.name: levels for draft, levels in zip(chosen, shared, strict=True)}
    same: dict[tuple[int, bytes], str] = {}
    for draft in chosen:
        levels = found[draft.name]
        if not levels.values:
            dropped[draft.name] = "empty"
        elif len(levels.values) == 1 and not draft.optional:
            dropped[draft.name] = f"always {levels.values[0]}"
            if draft.part == NUMBERS:
                constants[draft.name] = levels.values[0]
        elif not levels.ordered and len(levels.values) > MOST_TOKENS:
            dropped[draft.name] = f"{len(levels.values)} different symbols"
        elif draft.part != NUMBERS and parts[draft.part].form == "network":
            key = (draft.part, parts[draft.part].tokens.codes[:, draft.take].tobytes())
            if same.setdefault(key, draft.name) != draft.name:
                dropped[draft.name] = f"the same as {same[key]}"
    return found


def _place(kept: Sequence[Draft], parts: Sequence[Part]) -> None:
    plain = [d for d in kept if d.kind == "choice" and (d.part == NUMBERS or parts[d.part].form == "name")]
    places = names.places_of([draft.name for draft in plain])
    for draft in plain:
        draft.place, draft.stage = places.get(draft.name, ("", ""))
        if draft.family in ("x#", draft.name):
            draft.place = ""
    existence.place_tokens(parts, [draft for draft in kept if draft not in plain])


def _taken(got: Given, kept: Sequence[Draft]) -> list[str]:
    return [draft.name for draft in kept if draft.part == NUMBERS and got.source == "frame"]


def _number_uses(got: Given, kept: Sequence[Draft]) -> dict[str, list[Any]]:
    used = [(at, draft) for at, draft in enumerate(kept) if draft.part == NUMBERS]
    take: list[Any] = [draft.take if got.source == "array" else draft.name for _, draft in used]
    return {"take": take, "at": [at for at, _ in used]}


def _part_source(
    at: int, part: Part, columns: Sequence[Column], kept: Sequence[Draft], drafts: Sequence[Draft]
) -> dict[str, Any]:
    """How a part is read, where its tokens go, and what its constant tokens are."""
    column = {draft.take: i for i, draft in enumerate(kept) if draft.part == at}
    uses: dict[tuple[Level, ...], dict[str, list[int]]] = {}
    fixed: dict[Any, list[int]] = defaultdict(list)
    for draft in drafts:
        if draft.part != at:
            continue
        if draft.take in column:
            use = uses.setdefault(columns[column[draft.take]].levels, {"take": [], "at": []})
            use["take"].append(draft.take)
            use["at"].append(column[draft.take])
        elif len(draft.seen) == 1 and not draft.optional:
            fixed[next(iter(draft.seen))].append(draft.take)
    return {
        "field": part.field,
        "form": part.form,
        "spec": part.spec if part.form == "name" else part.spec | {"names": part.tokens.names},
        "uses": list(uses.values()),
        "fixed": [{"symbol": symbol, "take": take} for symbol, take in fixed.items()],
    }


def _gates(parts: Sequence[Part], kept: Sequence[Draft]) -> dict[str, list[int]]:
    column = {(draft.part, draft.take): at for at, draft in enumerate(kept)}
    found: dict[str, list[int]] = {"of": [], "by": [], "above": []}
    for at, part in enumerate(parts):
        for take, by, position, depth in part.gates:
            if (at, take) in column and (by, position) in column:
                found["of"].append(column[at, take])
                found["by"].append(column[by, position])
                found["above"].append(depth)
    return found
