"""Anybody's CSV: a line is a kernel (a convolution by its sizes) or a network (its design and the image's side).

Columns of a kernel: ``in_channels``, ``in_height``, ``in_width`` (the height without it), ``channels``, ``kernel``,
``stride``, ``groups``, ``act``, ``adds``, ``batch``; only the first two and ``channels`` are needed. Columns of a
network: ``arch`` (a published structure string, or the JSON of a design), ``in_channels``, ``in_height``,
``num_classes``, ``batch``, ``low_ms``, ``high_ms``. The latency of a call stands in ``latency_ms``, ``latency_us`` or
``latency_s``, or in ``latency`` with its unit in ``unit``. Columns that are empty or missing count as 1, none, or no
addition; lines without a latency are left out and counted in the notes.

What ``hardware.device_csv`` writes is read back: ``what`` (kernel, piece or network), ``kind`` (of a kernel that is no
convolution, too), ``height`` and ``width`` of its output, ``footprint`` and ``runs``; a piece has the JSON of its block
in ``arch`` (none: a classifier), ``first``, ``copies`` and ``num_classes``.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from hardware.device_table import DeviceTable, InvalidTable, KernelRow, NetworkRow, PieceRow, Row
from hardware.importers.text_lines import lines_of
from hardware.kernels import DENSE, DEPTHWISE, GROUPED, POINTWISE, Kernel
from search_spaces.arch import Architecture, Block, InvalidArchitecture
from search_spaces.formats import read_published
from search_spaces.layers import Shape

UNITS = {"ms": 1.0, "us": 1e-3, "s": 1e3}
LATENCIES = ("latency", *(f"latency_{unit}" for unit in UNITS))
BLANK = "no latency"
_MAY_BE_0 = ("adds", "first", "num_classes", "footprint", "runs")


def read_generic_csv(path: Path, name: str, precision: str = "fp32") -> DeviceTable:
    """The table of a file, plain or .gz. Raises InvalidTable: naming the line."""
    kernels: list[tuple[KernelRow, str]] = []
    pieces: list[tuple[PieceRow, str]] = []
    networks: list[tuple[NetworkRow, str]] = []
    blank = 0
    for place, values in _records(path):
        if not any((values.get(column) or "").strip() for column in LATENCIES):
            blank += 1
            continue
        row = _row(values, place)
        if isinstance(row, KernelRow):
            kernels.append((row, place))
        elif isinstance(row, PieceRow):
            pieces.append((row, place))
        else:
            networks.append((row, place))
    table = DeviceTable(
        name,
        precision=precision,
        source=path.name,
        kernels=tuple(row for row, _ in kernels),
        pieces=tuple(row for row, _ in pieces),
        networks=tuple(row for row, _ in networks),
        notes={"uncovered": {BLANK: blank}} if blank else {},
    )
    return table.check([place for _, place in (*kernels, *pieces, *networks)])


def _records(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Place and values by column of every line behind the header."""
    lines = lines_of(path)
    columns = next((next(csv.reader([line])) for _, line in lines), [])
    if not set(columns) & set(LATENCIES) or not set(columns) & {"arch", "channels"}:
        raise InvalidTable(
            f"{path.name}: columns {', '.join(columns) or 'none'}; expected latency_ms, latency_us, "
            "latency_s, or latency and unit, beside arch (networks) or in_channels, in_height and channels (kernels)"
        )
    for number, line in lines:
        place = f"{path.name}, line {number}"
        try:
            values = next(csv.reader([line]))
        except csv.Error as error:
            raise InvalidTable(f"{place}: {error}, expected a line of CSV") from None
        if len(values) != len(columns):
            raise InvalidTable(f"{place}: {len(values)} values, expected {len(columns)} as in the header")
        yield place, dict(zip(columns, values, strict=True))


def _row(row: Mapping[str, str], place: str) -> Row:
    what = (row.get("what") or "").strip() or ("network" if (row.get("arch") or "").strip() else "kernel")
    readers: dict[str, Callable[[Mapping[str, str], str], Row]] = {
        "kernel": _kernel,
        "piece": _piece,
        "network": _network,
    }
    if what not in readers:
        raise InvalidTable(f"{place}: what={what!r}, expected one of {', '.join(readers)}")
    return readers[what](row, place)


def _kernel(row: Mapping[str, str], place: str) -> KernelRow:
    cin, h, w = _in_shape(row, place)
    cout, k, stride = (
        _whole(row, name, place, least) for name, least in (("channels", None), ("kernel", 1), ("stride", 1))
    )
    groups, batch = _whole(row, "groups", place, 1), _whole(row, "batch", place, 1)
    wide = DENSE if k > 1 else POINTWISE
    conv = wide if groups == 1 else DEPTHWISE if groups == cin == cout else GROUPED
    kind, act = (row.get("kind") or "").strip() or conv, (row.get("act") or "").strip()
    out = (cout, _whole(row, "height", place, -(-h // stride)), _whole(row, "width", place, -(-w // stride)))
    kernel = Kernel(kind, (cin, h, w), out, k, stride, groups, act, _flag(row, "adds", place), batch)
    runs, footprint = _whole(row, "runs", place, 0), _whole(row, "footprint", place, 0)
    return KernelRow(kernel, _latency_ms(row, place), runs, footprint)


def _piece(row: Mapping[str, str], place: str) -> PieceRow:
    text = (row.get("arch") or "").strip()
    try:
        data = json.loads(text) if text else None
        if not isinstance(data, dict | None):
            raise InvalidArchitecture(f"got {text[:40]}, expected the JSON of a block")
        block = None if data is None else Block.from_dict(data)
    except (InvalidArchitecture, json.JSONDecodeError) as error:
        raise InvalidTable(f"{place}: arch: {error}") from None
    first, copies = _flag(row, "first", place, default=1), _whole(row, "copies", place, 1)
    classes, batch = _whole(row, "num_classes", place, 0) or None, _whole(row, "batch", place, 1)
    return PieceRow(block, _in_shape(row, place), first, copies, classes, _latency_ms(row, place), batch)


def _network(row: Mapping[str, str], place: str) -> NetworkRow:
    try:
        text = row.get("arch") or ""
        arch, in_channels = (Architecture.from_json(text), 3) if '"blocks"' in text else read_published(text)
    except InvalidArchitecture as error:
        raise InvalidTable(f"{place}: arch: {error}") from None
    shape, classes = _in_shape(row, place, in_channels), _whole(row, "num_classes", place, 0) or None
    low_ms, high_ms = (
        _positive(text, f"{place}: {column}") if (text := (row.get(column) or "").strip()) else None
        for column in ("low_ms", "high_ms")
    )
    return NetworkRow(arch, shape, classes, _latency_ms(row, place), low_ms, high_ms, _whole(row, "batch", place, 1))


def _in_shape(row: Mapping[str, str], place: str, channels: int | None = None) -> Shape:
    side = _whole(row, "in_height", place, None)
    return _whole(row, "in_channels", place, channels), side, _whole(row, "in_width", place, side)


def _flag(row: Mapping[str, str], column: str, place: str, default: int = 0) -> bool:
    value = _whole(row, column, place, default)
    if value > 1:
        raise InvalidTable(f"{place}: {column}={value}, expected 0 or 1")
    return value == 1


def _whole(row: Mapping[str, str], column: str, place: str, default: int | None) -> int:
    text = (row.get(column) or "").strip()
    if not text and default is not None:
        return default
    least = 0 if column in _MAY_BE_0 else 1
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < least:
        raise InvalidTable(f"{place}: {column}={text!r}, expected a whole number of at least {least}")
    return value


def _latency_ms(row: Mapping[str, str], place: str) -> float:
    given = [(unit, row[f"latency_{unit}"]) for unit in UNITS if (row.get(f"latency_{unit}") or "").strip()]
    if not given:
        given = [((row.get("unit") or "").strip(), row.get("latency") or "")]
    unit, text = given[0]
    if unit not in UNITS or len(given) > 1:
        raise InvalidTable(f"{place}: unit={unit!r}, expected one of {', '.join(UNITS)} and one latency a line")
    return _positive(text, f"{place}: latency") * UNITS[unit]


def _positive(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise InvalidTable(f"{where} {text!r}, expected a number") from None
    if not 0 < value < float("inf"):
        raise InvalidTable(f"{where} {text!r}, expected a positive number; leave failed rows out")
    return value
