"""The types of settings that Python gives as arguments: a dataclass of plain fields takes anything by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from numbers import Integral, Real
from typing import Any


def _is_truth(value: object) -> bool:
    return type(value).__name__ in {"bool", "bool_"}


_KINDS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {  # type, as it is written; words; numpy's numbers count
    "int": ("a whole number", lambda value: isinstance(value, Integral) and not _is_truth(value)),
    "float": ("a number", lambda value: isinstance(value, Real) and not _is_truth(value)),
    "bool": ("True or False", _is_truth),
    "str": ("a text", lambda value: isinstance(value, str)),
    "tuple": ("a tuple", lambda value: isinstance(value, tuple | list)),
    "Mapping": ("a mapping", lambda value: isinstance(value, Mapping)),
}


def check_types(settings: Any, where: str, error: type[ValueError]) -> None:
    """Raise ``error`` unless every field of a dataclass holds a value of its type.

    Args:
        settings: an instance; fields of other types than numbers, truth, text, tuples and mappings are passed over.
        where: what stands before a field's name in the message, as "recipe." or "chex: ".
        error: raised with the field, its value and what is expected.
    """
    for field in fields(settings):
        wanted, _, rest = str(field.type).partition(" | ")
        kind, value = _KINDS.get(wanted.partition("[")[0]), getattr(settings, field.name)
        if kind is None or rest not in {"", "None"} or (rest and value is None):
            continue
        words, fits = kind
        if not fits(value):
            raise error(f"{where}{field.name}={value!r}, expected {words}{' or None' if rest else ''}")
