"""Numeric fields of a table: costs, numbers, choices, and those that say nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from predictors.reading import names, structures
from predictors.reading.draft import NUMBERS, Draft
from predictors.reading.families import are_choices, pooled_arrays
from predictors.reading.given import Given, array_names
from predictors.schema import InvalidTable, Level


def numeric_drafts(
    got: Given, costs: Sequence[str] | None, dropped: dict[str, str], constants: dict[str, Level]
) -> list[Draft]:
    """Drafts of all numeric fields; adds to ``dropped`` and ``constants``. Raises InvalidTable: unknown costs."""
    found = array_names(got.numbers.shape[1]) if got.source == "array" else got.numeric
    _check_costs(costs, found, got)
    coded = {name for at, name in enumerate(found) if got.source == "frame" and is_digit_code(got, at, name)}
    drafts = []
    for at, name in enumerate(found):
        if name in coded:
            continue
        values = got.numbers[:, at]
        draft = Draft(name, name if got.source == "array" else names.family_of(name), NUMBERS, at, frozenset())
        draft.kind = "cost" if (name in costs if costs is not None else names.is_cost(name)) else "number"
        reason = _no_number(name, values, named=got.source == "frame")
        if reason:
            dropped[name] = reason
        drafts.append(draft)
    _find_choices([draft for draft in drafts if draft.kind == "number" and draft.name not in dropped], got)
    for draft in drafts:
        if (
            draft.kind != "choice"
            and draft.name not in dropped
            and (got.numbers[:, draft.take] == got.numbers[0, draft.take]).all()
        ):
            dropped[draft.name] = f"always {got.numbers[0, draft.take]:g}"
            if draft.kind == "number":
                constants[draft.name] = float(got.numbers[0, draft.take])
    return drafts


def is_digit_code(got: Given, at: int, name: str) -> bool:
    """Whether the numbers of a field are really codes of digits."""
    if names.is_cost(name) or names.is_id(name):
        return False
    return structures.digits_of(got.numbers[:, at]) > 0


def _check_costs(costs: Sequence[str] | None, found: Sequence[str], got: Given) -> None:
    if isinstance(costs, str):
        raise InvalidTable(f"costs: got the text {costs!r}, expected a list of names of columns")
    strange = [name for name in costs or () if name not in found]
    if strange:
        why = "holds no numbers" if strange[0] in got.objects else "is no column"
        raise InvalidTable(f"costs: {strange[0]!r} {why}; numeric columns are {', '.join(found) or 'none'}")


def _no_number(name: str, values: np.ndarray[Any, np.dtype[np.float64]], named: bool) -> str | None:
    if np.isnan(values).all():
        return "empty"
    if not named or len(values) < 3 or not np.isfinite(values).all() or (values != np.round(values)).any():
        return None
    if len(np.unique(values)) < len(values):
        return None
    if names.is_id(name) or (np.diff(values) == 1).all():
        return "numbers the rows"
    return None


def _find_choices(drafts: Sequence[Draft], got: Given) -> None:
    """Settle which numeric columns are choices, and what each of those has."""
    families: dict[str, list[Draft]] = defaultdict(list)
    for draft in drafts:
        families[draft.family].append(draft)
    for family in families.values():
        together = are_choices(got.numbers[:, [draft.take for draft in family]])
        for draft in family:
            if together or are_choices(got.numbers[:, [draft.take]]):
                values = got.numbers[:, draft.take]
                missing = np.isnan(values)
                draft.kind, draft.optional = "choice", bool(missing.any())
                draft.seen = frozenset(np.unique(values[~missing]).tolist())
    chosen = [draft for draft in drafts if draft.kind == "choice"]
    if got.source == "array" and chosen and pooled_arrays(got.numbers, [draft.take for draft in chosen]):
        for draft in chosen:
            draft.family = "x#"
