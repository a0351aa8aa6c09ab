"""Positions of lists that exist only where a depth reaches them, and which positions belong together.

Published settings often hold lists of one length, ``ks`` and ``e``, and a list of depths, ``d``: each depth says how
many of the positions of its stage are there, the rest is filler. This is found by the lengths and the values alone: a
list of S whole numbers, not all equal, beside lists of S times the highest of them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from predictors.reading.draft import NUMBERS, Draft, Part, numbers_of
from predictors.reading.tokens import ABSENT

_POSITION = re.compile(r"(.*)\[([0-9]+)\]")
_BLOCK = re.compile(r"\[([0-9]+)\.([0-9]+)\](\..*)?")


@dataclass(frozen=True)
class _List:
    """Positions of one part that form one list."""

    part: int
    field: str
    key: str
    take: tuple[int, ...]


def gate_depths(parts: Sequence[Part]) -> None:
    """Find lists of depths; note in the parts which token each depth decides, and make the filler absent."""
    lists = _lists(parts)
    for depths in lists:
        values = numbers_of(parts[depths.part].tokens, depths.take)
        if values is None or not _are_depths(values):
            continue
        most = int(values.max())
        for other in lists:
            part = parts[other.part]
            decided = {take for take, *_ in part.gates}
            if other is depths or len(other.take) != len(depths.take) * most or not decided.isdisjoint(other.take):
                continue
            for at, take in enumerate(other.take):
                stage, place = divmod(at, most)
                part.gates.append((take, depths.part, depths.take[stage], place))
                part.tokens.codes[values[:, stage] <= place, take] = ABSENT


def _are_depths(values: NDArray[np.float64]) -> bool:
    whole = bool((values == np.round(values)).all())
    return whole and values.min() >= 0 and values.max() >= 2 and values.min() < values.max()


def _lists(parts: Sequence[Part]) -> list[_List]:
    found = []
    for at, part in enumerate(parts):
        if part.form not in ("list", "settings"):
            continue
        keys: dict[str, list[int]] = defaultdict(list)
        for take, name in enumerate(part.tokens.names):
            match = _POSITION.fullmatch(name)
            keys[match[1] if match else name].append(take)
        found += [_List(at, part.field, key, tuple(takes)) for key, takes in keys.items()]
    return found


def place_tokens(parts: Sequence[Part], drafts: Sequence[Draft]) -> None:
    """Same positions of lists of one length are one place; what one depth decides is one stage, with the depth."""
    places = _shared_places(parts)
    stages: dict[tuple[int, int], str] = {}
    for at, part in enumerate(parts):
        for take, by, position, _ in part.gates:
            stages[at, take] = stages[by, position] = parts[by].full_name(position)
    for draft in drafts:
        if draft.part == NUMBERS:
            continue
        name, start = parts[draft.part].tokens.names[draft.take], parts[draft.part].field
        block = _BLOCK.fullmatch(name)
        key = (draft.part, draft.take)
        if block:
            draft.place, draft.stage = f"{start}[{block[1]}.{block[2]}]", f"{start}[{block[1]}]"
        elif name:
            draft.place, draft.stage = places.get(key, draft.name), stages.get(key, "")


def _shared_places(parts: Sequence[Part]) -> dict[tuple[int, int], str]:
    """Place of each (part, token) of lists that have their length in common with another."""
    lengths: dict[int, list[_List]] = defaultdict(list)
    for found in _lists(parts):
        lengths[len(found.take)].append(found)
    places: dict[tuple[int, int], str] = {}
    for length, same in lengths.items():
        if len(same) < 2 or length < 2:
            continue
        fields = {found.field for found in same}
        start = same[0].field if len(fields) == 1 else ""
        for found in same:
            places |= {(found.part, take): f"{start}[{i}]" for i, take in enumerate(found.take)}
    return places
