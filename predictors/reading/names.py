"""What the name of a column says: costs, places of blocks, families of columns that share their choices."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

COSTS = frozenset(
    (unit + word + plural)
    for word, units in (("param", ("",)), ("parameter", ("",)), *((w, ("", "m", "g")) for w in ("mac", "flop", "madd")))
    for unit in units
    for plural in ("", "s")
) | {"latency", "memory"}
_SIZE = re.compile(r"(model|weights?|file)? ?size( (b|kb|mb|kib|mib|bytes))?")  # but not kernel size, image size
_RUN = re.compile(r"[A-Za-z]+")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_DIGITS = re.compile(r"[0-9]+")
_ID = re.compile(r"(.*[ _-])?(id|idx|index|uuid|hash)|row|unnamed.*", re.IGNORECASE)


def is_cost(name: str) -> bool:
    """Whether a column of this name is known without training: parameters, operations, latency, memory, size."""
    words = [word.lower() for word in (*_RUN.findall(name), *_WORD.findall(name))]
    return not COSTS.isdisjoint(words) or _SIZE.fullmatch(" ".join(_RUN.findall(name)).lower()) is not None


def is_id(name: str) -> bool:
    """Whether a column of this name numbers the rows, if all its values differ."""
    return _ID.fullmatch(name.strip()) is not None


def family_of(name: str) -> str:
    """Columns whose names differ only in numbers are of one family."""
    return _DIGITS.sub("#", name)


def places_of(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Place and stage of every column whose name has numbers which columns of other families have too.

    ``block3_k`` and ``block3_e`` stand at the place ``block3``; ``2.1.kernel`` and ``2.depth`` in the stage ``2``.
    """
    numbers = {name: tuple(_DIGITS.findall(name)) for name in names}
    members: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for name in names:
        members[family_of(name)].add(numbers[name])
    firsts = {found[0] for found in numbers.values() if len(found) > 1}
    stages = {found[0] for found in numbers.values() if len(found) == 1} & firsts
    found: dict[str, tuple[str, str]] = {}
    for name in names:
        at = numbers[name]
        if not at:
            continue
        same = [other for other in names if numbers[other] == at]
        stage = at[0] if at[0] in stages else ""
        found[name] = (_common(same), stage) if len(same) > 1 else (name, stage)
    alone = all(len(group) == 1 for group in members.values())  # numbers that count nothing
    return {} if alone else found


def _common(names: Sequence[str]) -> str:
    """The common beginning of names, up to its last number; else that number."""
    first, last = min(names), max(names)
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    digits = list(_DIGITS.finditer(first[:length]))
    if digits:
        return first[: digits[-1].end()]
    number = _DIGITS.search(first)
    return f"[{number[0]}]" if number else ""
