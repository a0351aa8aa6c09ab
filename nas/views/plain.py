"""Data that any JSON reader takes: no NaN, no infinity, no NumPy, no tuples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def plain(data: Any) -> Any:
    """The same as dictionaries, lists, text, numbers and None; what is not finite becomes None."""
    if data is None or isinstance(data, str | bool | int):
        return data
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, Mapping):
        return {str(key): plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple | set | frozenset):
        return [plain(value) for value in data]
    if hasattr(data, "tolist"):
        return plain(data.tolist())
    return str(data)


def as_view(data: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping in that form."""
    return {str(key): plain(value) for key, value in data.items()}
