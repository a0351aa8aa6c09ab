"""Block tables of ProxylessNAS (YAML) and Once-for-all (CSV): inverted residuals by their sizes, as our own blocks.

A key reads ``expanded_conv-input:112x112x16-output:56x56x24-expand:3-kernel:5-stride:2-idskip:0``, sizes as height,
width, channels; ``expand`` is a factor in ProxylessNAS and the hidden width in Once-for-all, which adds ``se`` and
``hs`` (hard swish). ``Conv`` is the stem, ``Conv_1`` the 1x1 before pooling, ``Conv_2`` the 1x1 behind it, ``Logits``
the classifier. Rows that our blocks cannot be equal to are left out, counted in the notes with their reason.
Checked against: ProxylessNAS-Mobile, whose rows sum to 82.5 ms on a Pixel 1 (published: 78 ms, measured whole).
"""

from __future__ import annotations

import csv
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from hardware.device_table import DeviceTable, InvalidTable, PieceRow
from hardware.importers.text_lines import lines_of
from hardware.importers.uncovered import Uncovered
from hardware.row_checks import check_rows
from search_spaces.arch import Block
from search_spaces.blocks.kind import divisible_by_8
from search_spaces.layers import HARD_SWISH, RELU, RELU6, Shape

SOURCE = "github.com/han-cai/files (MIT)"
_SIZES = re.compile(r"([A-Za-z0-9_]+)-input:(\d+)x(\d+)x(\d+)-output:(\d+(?:x\d+x\d+)?)((?:-[a-z]+:\d+)*)")


class Entry(NamedTuple):
    """One line: where it stands, its key, milliseconds and how many measurements stand behind them."""

    place: str
    key: str
    latency_ms: float
    repeats: float


def read_mobile_blocks(path: Path, name: str, precision: str = "fp32") -> DeviceTable:
    """The table of a file: ``.yaml`` as ProxylessNAS wrote it, or CSV with ``op``, ``mean_ms`` and ``count``.

    Rows for one thing at several image sizes become their mean, weighed by their counts. Once-for-all's ``AvgPool2D``
    and ``Conv_2`` are one block here, whose latency is their sum.
    Raises: InvalidTable: naming the line.
    """
    entries = list(_yaml(path) if path.suffix in (".yaml", ".yml") else _csv(path))
    pooling = {_pooled_sizes(entry): entry for entry in entries if entry.key.startswith("AvgPool2D")}
    found: dict[tuple[object, ...], list[tuple[PieceRow, float]]] = {}
    places: dict[tuple[object, ...], str] = {}  # the first line of each
    uncovered: Counter[str] = Counter()
    for entry in entries:
        if entry.key.startswith(("AvgPool2D", "Conv_2")):
            continue
        try:
            row = _piece(entry)
        except Uncovered as reason:
            uncovered[str(reason)] += 1
            continue
        check_rows([row], path.name, [entry.place])  # before it becomes part of a mean
        found.setdefault(row.key, []).append((row, entry.repeats))
        places.setdefault(row.key, entry.place)
    for row, entry in _pooled_convs(entries, pooling):
        found.setdefault(row.key, []).append((row, entry.repeats))
        places.setdefault(row.key, entry.place)
    pieces = tuple(_mean(rows) for rows in found.values())
    notes = {"format": "mobile blocks", "uncovered": dict(uncovered)}
    return DeviceTable(name, "", precision, SOURCE, pieces=pieces, notes=notes).check(tuple(places.values()))


def _yaml(path: Path) -> Iterator[Entry]:
    """Entries of the three-line form, read line by line so that messages can name it."""
    place = key = ""
    values: dict[str, float] = {}
    for number, line in lines_of(path):
        head, _, value = line.rpartition(":")
        if not value.strip():
            if key:
                yield _entry(place, key, values.get("mean"), values.get("count"))
            place, key, values = f"{path.name}, line {number}", head, {}
        elif head in ("count", "mean", "var"):
            values[head] = _number(value, f"{path.name}, line {number}")
    if key:
        yield _entry(place, key, values.get("mean"), values.get("count"))


def _csv(path: Path) -> Iterator[Entry]:
    lines = list(lines_of(path))
    rows = csv.DictReader([line for _, line in lines])
    if not {"op", "mean_ms"} <= set(rows.fieldnames or ()):
        raise InvalidTable(f"{path.name}: columns {', '.join(rows.fieldnames or ())}, expected op, mean_ms and count")
    for (number, _), row in zip(lines[1:], rows, strict=True):
        place = f"{path.name}, line {number}"
        yield _entry(place, row["op"], _number(row["mean_ms"], place), _number(row.get("count") or "1", place))


def _number(text: str | None, place: str) -> float:
    try:
        return float(text or "")
    except ValueError:
        raise InvalidTable(f"{place}: {text!r}, expected a number") from None


def _entry(place: str, key: str, latency_ms: float | None, count: float | None) -> Entry:
    if latency_ms is None or not (math.isfinite(latency_ms) and latency_ms > 0):
        raise InvalidTable(f"{place}: {key} has {latency_ms} ms, expected a positive number of milliseconds")
    return Entry(place, key, latency_ms, count or 1.0)


def _parsed(entry: Entry) -> tuple[str, Shape, tuple[int, ...], dict[str, int]]:
    """Operation, input (channels, height, width), output sizes as written, options."""
    match = _SIZES.fullmatch(entry.key)
    if not match:
        raise InvalidTable(f"{entry.place}: {entry.key!r}, expected operation-input:HxWxC-output:HxWxC and options")
    op, h, w, c, out, options = match.groups()
    pairs = dict(option.split(":") for option in options.split("-") if option)
    sizes = tuple(map(int, out.split("x")))
    return op, (int(c), int(h), int(w)), sizes, {key: int(value) for key, value in pairs.items()}


def _piece(entry: Entry) -> PieceRow:
    op, in_shape, out, options = _parsed(entry)
    if op == "Logits":
        return PieceRow(None, in_shape, True, 1, out[-1], entry.latency_ms)
    if op == "expanded_conv":
        block = _inverted(in_shape, out, options)
    elif op in ("Conv", "Conv_1"):
        stride = -(-in_shape[1] // out[0])
        act = RELU6 if out[-1] in (32, 1280) else HARD_SWISH  # ProxylessNAS at width 1.0; Once-for-all
        block = Block("conv", out[-1], 3 if op == "Conv" else 1, stride, act=act)
    else:
        raise Uncovered(f"operation {op}")
    row = PieceRow(block, in_shape, True, 1, None, entry.latency_ms)
    channels, height, width = row.piece[-1].shape
    if (height, width, channels) != out:
        raise InvalidTable(f"{entry.place}: {entry.key} has output {height}x{width}x{channels} by its stride")
    return row


def _inverted(in_shape: Shape, out: tuple[int, ...], options: dict[str, int]) -> Block:
    width, expand, stride = in_shape[0], options["expand"], options["stride"]
    expansion = expand if expand < width else round(expand / width)
    if expand >= width and divisible_by_8(width * expansion) != expand:
        raise Uncovered("hidden width that is no whole multiple of the input's")
    adds = stride == 1 and out[-1] == width
    if bool(options.get("idskip", adds)) != adds:
        raise Uncovered("inverted residual without its addition")
    act = RELU6 if "hs" not in options else HARD_SWISH if options["hs"] else RELU
    return Block("mbconv", out[-1], options["kernel"], stride, expansion=expansion, se=bool(options.get("se")), act=act)


def _pooled_sizes(entry: Entry) -> Shape:
    return _parsed(entry)[1]


def _pooled_convs(entries: list[Entry], pooling: dict[Shape, Entry]) -> Iterator[tuple[PieceRow, Entry]]:
    """One block for each size that is pooled, and the entry of its pooling: that and the 1x1 convolution behind it."""
    convs = [entry for entry in entries if entry.key.startswith("Conv_2")]
    for entry in convs[:1]:
        _, in_shape, out, _ = _parsed(entry)
        conv_ms = sum(each.latency_ms * each.repeats for each in convs) / sum(each.repeats for each in convs)
        block = Block("pooled_conv", out[-1], 1, act=HARD_SWISH)
        for shape, pool in pooling.items():
            if shape[0] == in_shape[0]:
                yield PieceRow(block, shape, True, 1, None, pool.latency_ms + conv_ms), pool


def _mean(rows: list[tuple[PieceRow, float]]) -> PieceRow:
    total = sum(count for _, count in rows)
    return replace(rows[0][0], latency_ms=sum(row.latency_ms * count for row, count in rows) / total)
