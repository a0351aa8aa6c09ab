"""Every form that a structure can have, in one table, and which one a field of texts is in."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from predictors.reading import graphs, networks, sequences, settings
from predictors.reading.tokens import Tokens
from predictors.schema import InvalidTable
from search_spaces.arch import Architecture

Reader = Callable[[Sequence[Any], dict[str, Any], str], Tokens]
SAMPLE = 200  # texts that tell the form
FEW = 32  # texts that may be names of a choice
REPEATED = 3  # rows for each of them
LEAST_DIGITS, MOST_DIGIT = 4, 5  # of codes that were read as numbers: characters, and the highest of them
LEAST_SEEN = 40  # characters, before one believes that


def read_names(texts: Sequence[Any], spec: dict[str, Any], where: str) -> Tokens:
    """A text is one symbol; None where it is missing."""
    found = list(dict.fromkeys(texts))
    table = {text: at for at, text in enumerate(found)}
    codes = np.fromiter(map(table.__getitem__, texts), np.intp, len(texts))
    return Tokens([""], codes[:, None], found)


READERS: dict[str, Reader] = {
    "name": read_names,
    "graph": graphs.read_graphs,
    "settings": settings.read_settings,
    "matrix": sequences.read_matrices,
    "code": sequences.read_codes,
    "list": sequences.read_lists,
    "network": networks.read_networks,
}


def form_of(values: Sequence[Any]) -> tuple[str, dict[str, Any]] | None:
    """Form of a field and how to read it; None where it says nothing that can be read.

    Args:
        values: texts, dictionaries or architectures; none missing, at least one.
    """
    if not isinstance(values[0], str):
        kinds = {dict: "settings", Architecture: "network"}
        return next(((form, {}) for kind, form in kinds.items() if isinstance(values[0], kind)), None)
    sample = values[:: max(1, len(values) // SAMPLE)]
    for form, looks_like in (("graph", graphs.looks_like), ("settings", _is_settings)):
        if _mostly(looks_like, sample):
            return form, {}
    matrix = sequences.matrix_spec(values)
    if matrix is not None:
        return "matrix", matrix
    named = _few_names(values)
    found = _sequence(values, named)
    if found is None and _mostly(networks.looks_like, sample):
        found = "network", {}
    return found or (("name", {}) if named or _may_be_names(values) else None)


def _mostly(looks_like: Callable[[str], bool], sample: Sequence[str]) -> bool:
    return sum(map(looks_like, sample)) >= sequences.MOST_OF * len(sample)


def _is_settings(text: str) -> bool:
    if not settings.looks_like(text):
        return False
    data = settings.parsed(text)
    return isinstance(data, dict) and "blocks" not in data


def _sequence(values: Sequence[str], named: bool) -> tuple[str, dict[str, Any]] | None:
    code = sequences.code_spec(values)
    if code is not None and (not named or any(value.isdigit() for value in values)):
        return "code", code
    spec = sequences.list_spec(values)
    if spec is None or (named and not spec["numbers"]):
        return None
    if not spec["numbers"] and networks.looks_like(values[0]):
        return None
    return "list", spec


def _few_names(values: Sequence[str]) -> bool:
    different = len(set(values))
    return different <= FEW and len(values) >= REPEATED * different


def digits_of(values: np.ndarray[Any, np.dtype[np.float64]]) -> int:
    """Length of the digit codes that a column of whole numbers really is; 0 where it is none.

    Programs that read tables take ``00120210`` for 120210. All digits being small tells such a column.
    """
    if not np.isfinite(values).all() or (values != np.round(values)).any() or values.min() < 0:
        return 0
    length = len(str(int(values.max())))
    if length < LEAST_DIGITS or length > 15 or length * len(values) < LEAST_SEEN:
        return 0
    if len(np.unique(values)) <= FEW:
        return 0
    digits = values[:, None] // 10.0 ** np.arange(length) % 10
    return length if digits.max() <= MOST_DIGIT else 0


def padded(values: Sequence[Any], length: int) -> list[Any]:
    """Codes as text, also those that were read as numbers."""
    return [_padded(value, length) for value in values]


def _padded(value: Any, length: int) -> Any:
    if isinstance(value, str | None):
        return value
    if not math.isfinite(value) or value != int(value):
        return str(value)
    return str(int(value)).zfill(length)


def _may_be_names(values: Sequence[str]) -> bool:
    """Whether texts that are nothing else are names: a third of them repeats another."""
    different = len(set(values))
    return different <= FEW and 3 * different <= 2 * len(values)


def tokens_of(form: str, values: Sequence[Any], spec: dict[str, Any], where: str) -> Tokens:
    """Read a field; raises InvalidTable with the row."""
    if form != "name":
        row = next((i for i, value in enumerate(values) if value is None), None) if None in values else None
        if row is not None:
            raise InvalidTable(f"{where}, row {row}: nothing there, expected a structure as in the other rows")
    return READERS[form](values, spec, where)
