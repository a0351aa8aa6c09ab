"""Quantities as people write them: ``2ms``, ``1.5M``, ``300KB``."""

from __future__ import annotations

import re
from math import inf

_NUMBER = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*([A-Za-zµ]*)\s*")
_MILLISECONDS = {"us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3}
_SECONDS = {"": 1.0, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}
_COUNTS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9}
_BYTES = {"": 1.0, "b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30}
_COUNT_WORDS = ("params", "macs", "layers")


class InvalidQuantity(ValueError):
    """The text is not a positive number with one of the expected units."""


def parse_latency_ms(text: str | float) -> float:
    """``2ms``, ``500us`` or ``0.01s`` -> milliseconds. A bare number is refused: its unit would be a guess."""
    return _parse(text, _MILLISECONDS, "latency", "a number with unit us, ms or s, for example 2ms")


def parse_seconds(text: str | float) -> float:
    """``90``, ``90s``, ``5min`` or ``2h`` -> seconds."""
    return _parse(text, _SECONDS, "duration", "a number with unit s, min or h, for example 5min")


def parse_count(text: str | float) -> float:
    """``162M``, ``1.5MMACs`` or ``18`` -> the number."""
    plain = str(text).strip()
    for word in _COUNT_WORDS:
        if plain.lower().endswith(word):
            plain = plain[: -len(word)]
    return _parse(plain, _COUNTS, "count", "a number, optionally with k, M or G, for example 4.2M")


def parse_bytes(text: str | float) -> float:
    """``300KB``, ``2MiB`` or ``4096`` -> bytes."""
    return _parse(text, _BYTES, "size", "a number with unit B, KB, MB, KiB or MiB, for example 300KB")


def _parse(text: str | float, units: dict[str, float], what: str, expected: str) -> float:
    match = _NUMBER.fullmatch(str(text))
    unit = match[2] if match and match[2] in units else (match[2].lower() if match else "")
    if match is None or unit not in units or not 0 < float(match[1]) < inf:
        raise InvalidQuantity(f"{what} {text!r}: expected {expected}")
    return float(match[1]) * units[unit]
