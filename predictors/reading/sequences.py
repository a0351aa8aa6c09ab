"""Codes without separators (``j2213…``), lists with one (``4-8-4``, ``(0,2,3)``), and 0/1 matrices in a row."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from predictors.reading.tokens import ABSENT, Tokens, laid_out
from predictors.schema import InvalidTable

SEPARATORS = ",;:/|_- "
MOST_SYMBOLS = 64
MOST_SIGNS = 16  # different characters of a code
SHORTEST = 3  # characters of a code
MOST_OF = 0.9  # of the rows decide what the others should be
_BRACKETS = str.maketrans("", "", "()[]{}'\"")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_WORD = re.compile(r"[A-Za-z0-9]+")
_HASH = re.compile(r"[0-9a-fA-F]{8,}")


def is_number(token: Any) -> bool:
    """Whether a token is a number or reads as one."""
    if isinstance(token, str):
        return _NUMBER.fullmatch(token) is not None
    return isinstance(token, int | float | np.number) and token is not None


def code_spec(texts: Sequence[str]) -> dict[str, Any] | None:
    """How codes are read, if most texts are codes: one length, few different characters, not a hash."""
    length, often = Counter(map(len, texts)).most_common(1)[0]
    sample = [text for text in texts if len(text) == length]
    signs = set("".join(sample))
    if length < SHORTEST or often < MOST_OF * len(texts) or len(signs) > MOST_SIGNS:
        return None
    words = not any(map(str.isdigit, signs)) and len(signs) > length  # as relu, gelu, tanh
    if words or not all(map(_WORD.fullmatch, sample)):
        return None
    if any(map(str.isalpha, signs)) and len(signs) > MOST_SIGNS // 2 and all(map(_HASH.fullmatch, sample)):
        return None
    return {"length": length}


def read_codes(texts: Sequence[str], spec: dict[str, Any], where: str) -> Tokens:
    """One column for each character. Raises InvalidTable: a code of another length."""
    length = spec["length"]
    lengths = set(map(len, texts))
    if lengths != {length}:
        row = next(i for i, text in enumerate(texts) if len(text) != length)
        raise InvalidTable(f"{where}, row {row}: {texts[row][:60]!r}, expected a code of {length} characters")
    if len(texts) == 1:
        values = np.array([[ord(sign) for sign in texts[0]]], np.uint32)
    else:
        values = np.array(texts, dtype=f"U{length}").view(np.uint32).reshape(len(texts), length)
    found = np.flatnonzero(np.bincount(values.ravel())) if values.max() < 1 << 16 else np.unique(values)
    table = np.zeros(int(found[-1]) + 1, np.intp)
    table[found] = np.arange(len(found))
    return Tokens([f"[{i}]" for i in range(length)], table[values], [chr(sign) for sign in found])


def matrix_spec(texts: Sequence[str]) -> dict[str, Any] | None:
    """How 0/1 matrices of graphs are read, if most texts are such: square, nothing on or below the diagonal."""
    sound = [text for text in texts if _side(text) is not None]
    if len(sound) < MOST_OF * len(texts):
        return None
    return {"vertices": max(_side(text) or 0 for text in sound)}


def _side(text: str) -> int | None:
    """Number of vertices of a graph whose matrix is written in a row; None where it is no such text."""
    side = math.isqrt(len(text))
    if side < 2 or side * side != len(text) or not set(text) <= {"0", "1"}:
        return None
    return None if any("1" in text[i * side : i * side + i + 1] for i in range(side)) else side


def read_matrices(texts: Sequence[str], spec: dict[str, Any], where: str) -> Tokens:
    """One column for each edge; the last vertex of every graph is the last of the largest, its output.

    Raises: InvalidTable: no such matrix, or one with more vertices than the table has.
    """
    most = spec["vertices"]
    edges = [(i, j) for i in range(most) for j in range(i + 1, most)]
    at = {edge: k for k, edge in enumerate(edges)}
    codes = np.full((len(texts), len(edges)), ABSENT, np.intp)
    sides = {text: _side(text) for text in set(texts)}
    rows: dict[int, list[int]] = {}
    for row, text in enumerate(texts):
        side = sides[text]
        if side is None or side > most:
            raise InvalidTable(
                f"{where}, row {row}: {text[:60]!r}, expected the 0/1 matrix of a graph of at most {most} vertices, "
                "row after row, edges above the diagonal only"
            )
        rows.setdefault(side, []).append(row)
    for side, found in rows.items():
        signs = np.array([texts[row] for row in found]).view(np.uint32).reshape(len(found), side, side) - ord("0")
        moved = aligned(side, most)
        for i in range(side):
            for j in range(i + 1, side):
                codes[found, at[moved[i], moved[j]]] = signs[:, i, j]
    return Tokens([f"[{i},{j}]" for i, j in edges], codes, ["0", "1"])


def aligned(count: int, most: int) -> list[int]:
    """Where ``count`` vertices stand among ``most``: in order, the last one, the output, at the end."""
    return [*range(count - 1), most - 1]


def list_spec(texts: Sequence[str]) -> dict[str, Any] | None:
    """How lists are read, if most texts are lists of numbers, or of few symbols, with one separator."""
    bodies = [_body(text) for text in texts]
    best: tuple[float, float] | None = None
    chosen = ""
    for separator in SEPARATORS:
        parts = [body.split(separator) for body in bodies if separator in body]
        tokens = [token.strip() for part in parts for token in part]
        if len(parts) < MOST_OF * len(texts) or not all(tokens):
            continue
        different = set(tokens)
        numeric = sum(map(is_number, different)) / len(different)
        few = len(different) <= MOST_SYMBOLS and max(map(len, parts)) >= SHORTEST
        rank = (numeric, -len(different) / len(tokens))
        if (numeric == 1 or few) and (best is None or rank > best):
            best, chosen = rank, separator
    if best is None:
        return None
    most = max(len(body.split(chosen)) for body in bodies)
    return {"separator": chosen, "numbers": best[0] == 1, "most": most}


def read_lists(texts: Sequence[str], spec: dict[str, Any], where: str) -> Tokens:
    """One column for each position. Raises InvalidTable: more positions than the table has, or an empty one."""
    separator, names = spec["separator"], spec.get("names")
    bodies = [_body(text) for text in texts]
    counts = [body.count(separator) + 1 for body in bodies]
    joined = separator.join(bodies)
    tokens = joined.split(separator)
    if separator != " " and " " in joined:
        tokens = list(map(str.strip, tokens))
    if "" in tokens:
        row = int(np.searchsorted(np.cumsum(counts), tokens.index(""), side="right"))
        raise InvalidTable(f"{where}, row {row}: {texts[row][:60]!r} has an empty position")
    if names is not None and counts.count(len(names)) == len(counts):
        return _regular(tokens, names)
    ends = np.cumsum(counts).tolist()
    layout = _from_both_ends(spec["most"]) if spec.get("output") else _from_start
    rows = ((count, tokens[end - count : end]) for count, end in zip(counts, ends, strict=True))
    return laid_out(rows, layout, names, where)


def _regular(tokens: list[str], names: list[str]) -> Tokens:
    different = list(dict.fromkeys(tokens))
    table = {token: at for at, token in enumerate(different)}
    codes = np.fromiter(map(table.__getitem__, tokens), np.intp, len(tokens))
    return Tokens(names, codes.reshape(-1, len(names)), different)


def _from_start(count: Any) -> list[str]:
    return [f"[{i}]" for i in range(count)]


def _from_both_ends(most: int) -> Any:
    return lambda count: [f"[{i}]" for i in aligned(count, most)]


def _body(text: str) -> str:
    return text.translate(_BRACKETS).strip() if text[:1] in "([{'\" " or text[-1:] in ")]}'\" " else text
