"""Anybody's CSV: a line is a kernel (a convolution by its sizes) or a network (its design and the image's side).

Columns of a kernel: ``in_channels``, ``in_height``, ``in_width`` (the height without it), ``channels``, ``kernel``,
``stride``, ``groups``, ``act``, ``adds``, ``batch``; only the first two and ``channels`` are needed. Columns of a
network: ``arch`` (a published structure string, or the JSON of a design), ``in_channels``, ``in_height``,
``num_classes``, ``batch``. The latency of a call stands in ``latency_ms``, ``latency_us`` or ``latency_s``, or in
``latency`` with its unit in ``unit``. Columns that are empty or missing count as 1, none, or no addition.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from hardware.device_table import DeviceTable, InvalidTable, KernelRow, NetworkRow
from hardware.importers.text_lines import lines_of
from hardware.kernels import DENSE, DEPTHWISE, GROUPED, POINTWISE, Kernel
from search_spaces.arch import Architecture, InvalidArchitecture
from search_spaces.formats import read_published

UNITS = {"ms": 1.0, "us": 1e-3, "s": 1e3}


def read_generic_csv(path: Path, name: str, precision: str = "fp32") -> DeviceTable:
    """The table of a file, plain or .gz. Raises InvalidTable: naming the line."""
    lines = list(lines_of(path))
    rows = csv.DictReader([line for _, line in lines])
    columns = set(rows.fieldnames or ())
    if not columns & {"latency", *(f"latency_{unit}" for unit in UNITS)} or not columns & {"arch", "channels"}:
        raise InvalidTable(
            f"{path.name}: columns {', '.join(rows.fieldnames or ()) or 'none'}; expected latency_ms, latency_us, "
            "latency_s, or latency and unit, beside arch (networks) or in_channels, in_height and channels (kernels)"
        )
    kernels: list[KernelRow] = []
    networks: list[NetworkRow] = []
    first: dict[object, str] = {}
    for (number, _), row in zip(lines[1:], rows, strict=True):
        place = f"{path.name}, line {number}"
        found = _network(row, place) if row.get("arch") else _kernel(row, place)
        earlier = first.setdefault(found.key, place)
        if earlier != place:
            raise InvalidTable(f"{place}: the same as {earlier}; keep one of them, or their median")
        (kernels if isinstance(found, KernelRow) else networks).append(found)  # type: ignore[arg-type]
    return DeviceTable(name, "", precision, path.name, tuple(kernels), tuple(networks)).check()


def _kernel(row: Mapping[str, str | None], place: str) -> KernelRow:
    cin, h, cout = (_whole(row, column, place, None) for column in ("in_channels", "in_height", "channels"))
    w, k, stride = _whole(row, "in_width", place, h), _whole(row, "kernel", place, 1), _whole(row, "stride", place, 1)
    groups, batch = _whole(row, "groups", place, 1), _whole(row, "batch", place, 1)
    wide = DENSE if k > 1 else POINTWISE
    kind = wide if groups == 1 else DEPTHWISE if groups == cin == cout else GROUPED
    out = (cout, -(-h // stride), -(-w // stride))
    adds, act = _whole(row, "adds", place, 0) == 1, (row.get("act") or "").strip()
    return KernelRow(Kernel(kind, (cin, h, w), out, k, stride, groups, act, adds, batch), _latency_ms(row, place))


def _network(row: Mapping[str, str | None], place: str) -> NetworkRow:
    try:
        text = row["arch"] or ""
        arch, in_channels = (Architecture.from_json(text), 3) if '"blocks"' in text else read_published(text)
    except InvalidArchitecture as error:
        raise InvalidTable(f"{place}: arch: {error}") from None
    side = _whole(row, "in_height", place, None)
    shape = (_whole(row, "in_channels", place, in_channels), side, _whole(row, "in_width", place, side))
    classes = _whole(row, "num_classes", place, 0) or None
    return NetworkRow(arch, shape, classes, _latency_ms(row, place), batch=_whole(row, "batch", place, 1))


def _whole(row: Mapping[str, str | None], column: str, place: str, default: int | None) -> int:
    text = (row.get(column) or "").strip()
    if not text and default is not None:
        return default
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < (0 if column in ("adds", "num_classes") else 1):
        raise InvalidTable(f"{place}: {column}={text!r}, expected a whole number of at least 1")
    return value


def _latency_ms(row: Mapping[str, str | None], place: str) -> float:
    given = [(unit, row[f"latency_{unit}"]) for unit in UNITS if row.get(f"latency_{unit}")]
    if not given:
        given = [((row.get("unit") or "").strip(), row.get("latency"))]
    unit, text = given[0]
    if unit not in UNITS or len(given) > 1:
        raise InvalidTable(f"{place}: unit={unit!r}, expected one of {', '.join(UNITS)} and one latency a line")
    try:
        value = float(text or "")
    except ValueError:
        raise InvalidTable(f"{place}: latency {text!r}, expected a number") from None
    if not 0 < value < float("inf"):
        raise InvalidTable(f"{place}: latency {text!r}, expected a positive number; leave failed rows out")
    return value * UNITS[unit]
