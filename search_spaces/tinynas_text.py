"""Reader and writer of the structures in which TinyNAS publishes its networks: a list of dictionaries.

``{'best_structures': [[{'class': 'ConvKXBNRELU', 'in': 3, 'out': 32, 'k': 3, 's': 2}, …]], 'space_arch': 'CnnNet'}``,
or the inner list alone; as a Python literal or JSON. Input channels are checked against the previous block.
Source: Sun et al. 2022 (MAE-DET, arXiv 2111.13336; QE-Score, NeurIPS), Shen et al. 2023 (DeepMAD, arXiv 2303.02165):
released structures. Video networks (SuperRes3D) are not read.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from typing import Any

from search_spaces.arch import Architecture, Block, InvalidArchitecture
from search_spaces.block_limits import check_block

_KINDS = {
    "ConvKXBNRELU": "conv",
    "SuperResK1KXK1": "tinynas_k1kxk1",
    "SuperResKXKX": "tinynas_kxkx",
    "SuperResK1KX": "tinynas_k1kx",
    "SuperResK1DWK1": "tinynas_k1dwk1",
    "SuperQuantResK1DWK1": "tinynas_k1dwk1",
    "SuperResK1DWSEK1": "tinynas_k1dwsek1",
}
_CLASSES = {kind: name for name, kind in _KINDS.items() if "Quant" not in name}
_FIELDS = {"in": None, "out": "channels", "k": "kernel", "s": "stride", "L": "depth", "btn": "inner"}
_BITS = {"nbitsA": "activation_bits", "nbitsW": "weight_bits"}
_IGNORED = ("class", "inner_class")
MAX_TEXT = 1_000_000  # characters


def looks_like(text: str) -> bool:
    """Whether the text is meant to be a TinyNAS structure."""
    return text.lstrip().startswith(("{", "[")) and ("'class'" in text or '"class"' in text)


def read(text: str) -> tuple[Architecture, int]:
    """Read a published structure.

    Returns: the architecture and its number of input channels.
    Raises: InvalidArchitecture: naming the block and the field.
    """
    blocks: list[Block] = []
    first = channels = 0
    for i, row in enumerate(_rows(text)):
        where = f"TinyNAS structure, block {i}"
        cin, block = _read_block(row, where)
        if blocks and cin != channels:
            raise InvalidArchitecture(f"{where}: takes {cin} channels ('in'), but gets {channels}")
        check_block(block, where)
        first, channels = first or cin, block.channels
        blocks.append(block)
    return Architecture(tuple(blocks)), first


def _rows(text: str) -> list[Any]:
    """The list of blocks inside the text."""
    if len(text) > MAX_TEXT:
        raise InvalidArchitecture(f"TinyNAS structure: {len(text)} characters, expected at most {MAX_TEXT}")
    try:
        data = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError) as error:
        line = getattr(error, "lineno", None)
        place = f", line {line}" if line else ""
        raise InvalidArchitecture(
            f"TinyNAS structure{place}: no Python literal or JSON; expected a list of {{'class': …, 'in': …, 'out': …}}"
        ) from None
    if isinstance(data, dict):
        data = data.get("best_structures")
    while isinstance(data, list) and len(data) == 1 and isinstance(data[0], list):
        data = data[0]
    if not isinstance(data, list) or not data or isinstance(data[0], list):
        raise InvalidArchitecture(
            "TinyNAS structure: expected one list of blocks, or {'best_structures': [[…]]} with one structure"
        )
    return data


def _read_block(row: Any, where: str) -> tuple[int, Block]:
    if not isinstance(row, dict) or row.get("class") not in _KINDS:
        name = row.get("class") if isinstance(row, dict) else row
        raise InvalidArchitecture(f"{where}: class {str(name)[:60]!r}, expected one of {', '.join(_KINDS)}")
    kind = _KINDS[row["class"]]
    unknown = sorted(str(key) for key in set(row) - set(_FIELDS) - set(_BITS) - set(_IGNORED))
    if unknown:
        raise InvalidArchitecture(f"{where}: unknown field {unknown[0]!r}, expected {', '.join((*_FIELDS, *_BITS))}")
    needed = ("in", "out", "k") if kind == "conv" else tuple(_FIELDS)
    for name in needed:
        if name not in row:
            raise InvalidArchitecture(f"{where}: field {name!r} is missing from {row['class']}")
    for name in set(row) & set(_FIELDS):
        if type(row[name]) is not int or row[name] < 1:
            raise InvalidArchitecture(f"{where}: {name}={str(row[name])[:60]}, expected a whole number of 1 or more")
    choices = {field: row[name] for name, field in _FIELDS.items() if field and name in row}
    return row["in"], Block(kind, **choices, **_read_bits(row, where))


def _read_bits(row: Mapping[str, Any], where: str) -> dict[str, Any]:
    bits = {}
    for name in set(row) & set(_BITS):
        value = row[name] if isinstance(row[name], list) else [row[name]]
        if not all(type(each) is int for each in value):
            raise InvalidArchitecture(f"{where}: {name}={str(value)[:60]}, expected whole numbers")
        bits[_BITS[name]] = tuple(value)
    return bits


def write(arch: Architecture, in_channels: int = 3) -> str:
    """The structure as JSON, which is also a Python literal, one block a line.

    Raises: InvalidArchitecture: a block that the format does not have.
    """
    if not any(block.kind.startswith("tinynas_") for block in arch.blocks):
        raise InvalidArchitecture("TinyNAS structure: no TinyNAS block in the architecture")
    rows = []
    for i, block in enumerate(arch.blocks):
        if block.kind not in _CLASSES or block.act != "relu" or (block.kind == "conv" and block.depth > 1):
            raise InvalidArchitecture(f"TinyNAS structure, block {i}: {block.kind} has no TinyNAS class; write JSON")
        rows.append(json.dumps(_write_block(block, in_channels)))
        in_channels = block.channels
    return '{"best_structures": [[\n' + ",\n".join(rows) + ']], "space_arch": "CnnNet"}'


def _write_block(block: Block, in_channels: int) -> dict[str, Any]:
    row: dict[str, Any] = {"class": _CLASSES[block.kind], "in": in_channels}
    fields = ("out", "k", "s") if block.kind == "conv" else ("out", "k", "s", "L", "btn")
    row |= {name: getattr(block, str(_FIELDS[name])) for name in fields}
    if block.weight_bits:
        bits: dict[str, Any] = {name: list(getattr(block, field)) for name, field in _BITS.items()}
        if block.kind == "conv":
            return row | {name: value[0] for name, value in bits.items()}
        return row | bits | {"class": "SuperQuantResK1DWK1", "inner_class": "ResK1DWK1"}
    return row
