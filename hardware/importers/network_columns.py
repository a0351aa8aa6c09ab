"""Tables of whole networks with a latency column for each device, as HELP published them (Lee et al. 2021).

A line is a network of Once-for-all (``ks``, ``e``, ``d`` joined by ``_``, and ``r``, the image's side) or a structure
that ``arch`` holds in a published form (cells of NAS-Bench-201, for one). Columns are devices, ``titan_xp_32`` at batch
32; milliseconds a call. Networks are for ImageNet, or CIFAR-10 where ``arch`` says what they are.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from pathlib import Path

from hardware.device_table import DeviceTable, InvalidTable, NetworkRow
from hardware.importers.text_lines import lines_of
from search_spaces.arch import Architecture, InvalidArchitecture
from search_spaces.formats import read_published
from search_spaces.layers import Shape

SOURCE = "github.com/HayeonLee/HELP (MIT)"
DESIGN = ("arch", "idx", "ks", "e", "d", "r")
_BATCH = re.compile(r"_(\d+)$")


def read_network_columns(path: Path, name: str, precision: str = "fp32", column: str = "") -> DeviceTable:
    """The table of one column of a file, plain or .gz.

    Args:
        path: of the file.
        name: of the device.
        precision: of the measurements.
        column: which device; its number at the end is the batch.
    Raises: InvalidTable: naming the line, or the columns that there are.
    """
    lines = list(lines_of(path))
    rows = csv.DictReader([line for _, line in lines])
    columns = [found for found in rows.fieldnames or () if found not in DESIGN]
    if column not in columns:
        raise InvalidTable(f"{path.name}: column {column!r}, expected one of {', '.join(columns) or 'none'}")
    batch = int(match[1]) if (match := _BATCH.search(column)) else 1
    places = [f"{path.name}, line {number}" for number, _ in lines[1:]]
    networks = tuple(_row(row, column, batch, place) for place, row in zip(places, rows, strict=True))
    return DeviceTable(name, "", precision, SOURCE, networks=networks, notes={"column": column}).check(places)


def _row(row: Mapping[str, str | None], column: str, batch: int, place: str) -> NetworkRow:
    try:
        arch, shape, classes = _network(row, place)
        return NetworkRow(arch, shape, classes, float(row[column] or ""), batch=batch)
    except InvalidArchitecture as error:
        raise InvalidTable(f"{place}: {error}") from None
    except ValueError as error:
        if isinstance(error, InvalidTable):
            raise
        raise InvalidTable(f"{place}: {column}={row[column]!r}, expected milliseconds") from None


def _network(row: Mapping[str, str | None], place: str) -> tuple[Architecture, Shape, int]:
    if row.get("arch"):
        arch, in_channels = read_published(row["arch"] or "")
        return arch, (in_channels, 32, 32), 10
    lists = [f'"{key}": [{(row.get(key) or "").replace("_", ", ")}]' for key in ("ks", "e", "d", "r")]
    arch, in_channels = read_published("{" + ", ".join(lists) + "}")
    if not (row.get("r") or "").isdecimal():
        raise InvalidTable(f"{place}: r={row.get('r')!r}, expected the side of the image")
    side = int(row["r"] or "")
    return arch, (in_channels, side, side), 1000
