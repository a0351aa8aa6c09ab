"""TinyNAS's convolution latencies: ``{Regular,32,64,14,14,64,3,1,0} 0.0258`` a line, or the same columns as CSV.

Columns: type (Regular or Depthwise), batch, input channels, height, width, output channels, kernel side, stride,
whether a residual addition is fused, and milliseconds for the whole batch; -1 where the authors' profiling failed.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from hardware.device_table import DeviceTable, InvalidTable, KernelRow
from hardware.importers.text_lines import lines_of
from hardware.kernels import DENSE, DEPTHWISE, POINTWISE, Kernel

COLUMNS = ("type", "batch", "cin", "h", "w", "cout", "k", "stride", "elmt_fused", "latency")
FAILED = -1.0
SOURCE = "github.com/alibaba/lightweight-neural-architecture-search (Apache-2.0)"


def read_tinynas_rows(path: Path, name: str, precision: str) -> DeviceTable:
    """The table of a file, plain or .gz, in either form. Failed rows are left out and counted in the notes.

    Args:
        path: of the file.
        name: of the device.
        precision: "fp32", "fp16" or "int8"; the file does not say.
    Raises: InvalidTable: naming the line.
    """
    failed, rows, places = 0, [], []
    for place, values in _records(path):
        kernel, latency_ms = _row(values, place)
        if latency_ms == FAILED:
            failed += 1
        else:
            rows.append(KernelRow(kernel, latency_ms))
            places.append(place)
    table = DeviceTable(name, "", precision, SOURCE, tuple(rows), notes={"failed_rows": failed, "format": "tinynas"})
    return table.check(places)


def _records(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Place and the ten texts of every row."""
    for number, line in lines_of(path):
        if number == 1 and line.split(",")[0] == COLUMNS[0]:
            continue
        text = line.replace("{", "").replace("}", ",") if line.startswith("{") else line
        yield f"{path.name}, line {number}", [part.strip() for part in next(csv.reader([text]))]


def _row(values: list[str], place: str) -> tuple[Kernel, float]:
    if len(values) != len(COLUMNS):
        raise InvalidTable(f"{place}: {len(values)} values, expected {len(COLUMNS)}: {', '.join(COLUMNS)}")
    kind, *texts, latency = values
    try:
        batch, cin, h, w, cout, k, stride, fused = map(int, texts)
        latency_ms = float(latency)
    except ValueError:
        raise InvalidTable(f"{place}: {','.join(values)} holds a text where a number was expected") from None
    if kind not in ("Regular", "Depthwise") or min(k, stride) < 1:
        raise InvalidTable(
            f"{place}: {','.join(values)}, expected Regular or Depthwise, kernel and stride of at least 1"
        )
    out = (cout, -(-h // stride), -(-w // stride))
    deep = kind == "Depthwise"
    dense = POINTWISE if k == 1 else DENSE
    groups = cout if deep else 1
    return Kernel(DEPTHWISE if deep else dense, (cin, h, w), out, k, stride, groups, "", fused == 1, batch), latency_ms
