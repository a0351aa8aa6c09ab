"""A device table as one CSV, for spreadsheets and other programs; JSON is the form that keeps every fact.

``hardware.importers.generic_csv`` reads the rows back; name, precision, conditions and notes of the device
are not in it.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

from hardware.device_table import DeviceTable, KernelRow, NetworkRow, PieceRow, Row

COLUMNS = (
    "what", "kind", "batch", "in_channels", "in_height", "in_width", "channels", "height", "width", "kernel", "stride",
    "groups", "act", "adds", "footprint", "runs", "arch", "first", "copies", "num_classes", "latency_ms", "low_ms",
    "high_ms",
)  # fmt: skip


def write_csv(table: DeviceTable, path: Path) -> None:
    """One line for each row: kernels by their sizes, pieces and networks by the JSON of their design."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(_line(row) for row in table.rows())


def _line(row: Row) -> dict[str, object]:
    if isinstance(row, KernelRow):
        kernel = row.kernel
        return {
            "what": "kernel", "kind": kernel.kind, "batch": kernel.batch, **_sides("in_", kernel.in_shape),
            **_sides("", kernel.shape), "kernel": kernel.kernel, "stride": kernel.stride, "groups": kernel.groups,
            "act": kernel.act, "adds": int(kernel.adds), "footprint": row.footprint, "runs": row.runs,
            "latency_ms": row.latency_ms,
        }  # fmt: skip
    if isinstance(row, PieceRow):
        block = "" if row.block is None else json.dumps(row.block.to_dict())
        return {
            "what": "piece", "batch": row.batch, **_sides("in_", row.in_shape), "arch": block, "first": int(row.first),
            "copies": row.copies, "num_classes": row.num_classes, "latency_ms": row.latency_ms,
        }  # fmt: skip
    assert isinstance(row, NetworkRow)
    return {
        "what": "network", "batch": row.batch, **_sides("in_", row.input_shape), "arch": row.arch.to_json(),
        "num_classes": row.num_classes, "latency_ms": row.latency_ms, "low_ms": row.low_ms, "high_ms": row.high_ms,
    }  # fmt: skip


def _sides(prefix: str, shape: tuple[int, int, int]) -> dict[str, int]:
    return dict(zip((f"{prefix}channels", f"{prefix}height", f"{prefix}width"), shape, strict=True))
