"""TF-NAS's block tables: ``MBInvertedResBlock_size_in_se_out_k3_s2_relu``, hidden width, milliseconds a line, as CSV.

Only widths that are a whole multiple of the input's and blocks without a gate are blocks of ours (its gates differ in
size and activation); the others are counted in the notes with their reason, as are values below zero, which are the
authors' regression. ``base`` is the constant part of a network.
Source: Hu et al. 2020 (arXiv 2008.05314), released tables.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from pathlib import Path

from hardware.device_table import DeviceTable, InvalidTable, PieceRow
from hardware.importers.text_lines import lines_of
from search_spaces.arch import Block
from search_spaces.layers import RELU, SILU

SOURCE = "github.com/AberHu/TF-NAS (MIT)"
COLUMNS = ["op", "mid_channels", "latency_ms"]
_KEY = re.compile(r"MBInvertedResBlock_(\d+)_(\d+)_(\d+)_(\d+)_k(\d+)_s(\d+)_(relu|swish)")


def read_tfnas_blocks(path: Path, name: str, precision: str = "fp32", batch: int = 1) -> DeviceTable:
    """The table of a file, plain or .gz.

    Args:
        path: of the file.
        name: of the device.
        precision: of the measurements.
        batch: images per call: 32 in the authors' GPU table, 1 in that of the CPU.
    Raises: InvalidTable: naming the line.
    """
    pieces: list[PieceRow] = []
    places: list[str] = []
    uncovered: Counter[str] = Counter()
    base_ms = 0.0
    for number, line in lines_of(path):
        place, values = f"{path.name}, line {number}", next(csv.reader([line]))
        if number == 1 and values == COLUMNS:
            continue
        key, hidden, latency_ms = _values(values, place)
        if key == "base":
            base_ms = latency_ms
            continue
        found = _piece(key, hidden, latency_ms, batch, place)
        if isinstance(found, str):
            uncovered[found] += 1
        else:
            pieces.append(found)
            places.append(place)
    notes = {"format": "tfnas", "base_ms": base_ms, "uncovered": dict(uncovered)}
    return DeviceTable(name, "", precision, SOURCE, pieces=tuple(pieces), notes=notes).check(places)


def _values(values: list[str], place: str) -> tuple[str, int, float]:
    try:
        key, hidden, latency = values
        return key, int(hidden), float(latency)
    except ValueError:
        raise InvalidTable(f"{place}: {','.join(values)}, expected {', '.join(COLUMNS)}") from None


def _piece(key: str, hidden: int, latency_ms: float, batch: int, place: str) -> PieceRow | str:
    """The row, or why there is none."""
    match = _KEY.fullmatch(key)
    if not match:
        raise InvalidTable(f"{place}: {key!r}, expected MBInvertedResBlock_size_in_se_out_k3_s1_relu")
    side, width, gate, out, kernel, stride = map(int, match.groups()[:-1])
    if latency_ms <= 0:
        return "not above zero: extrapolated by the authors"
    if gate:
        return "gate of another size and activation than ours"
    if hidden % width or hidden == width or hidden % 8:
        return "hidden width that is no whole multiple of the input's"
    act = SILU if match[7] == "swish" else RELU
    block = Block("mbconv", out, kernel, stride, expansion=hidden // width, act=act)
    return PieceRow(block, (width, side, side), True, 1, None, latency_ms, batch)
