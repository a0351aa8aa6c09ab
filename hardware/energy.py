"""Energy of a network from a table of what operations cost: an estimate, as good as the table, never a measurement.

The user brings the table, YAML or CSV: picojoules of a multiply-add and of a byte moved, by kind of kernel. Nothing
here reads an energy counter; published per-operation figures (Horowitz 2014, ISSCC) are a place to begin.
"""

from __future__ import annotations

import csv
import difflib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from hardware.kernels import KINDS, Kernel, kernels_of
from search_spaces.layers import Layer

DEFAULT = "default"
COLUMNS = ("op", "pj_per_mac", "pj_per_byte")
PJ_PER_MAC = (1e-4, 1e4)  # beyond what chips take, from analogue arrays to old CPUs
PJ_PER_BYTE = (1e-3, 1e5)
_YAML_KEYS = ("name", "source", "scalar_bytes", "rows")


class InvalidEnergyTable(ValueError):
    """The file is no energy table; the message names the place and how to mend it."""


class OpCost(NamedTuple):
    """Picojoules of one multiply-add, and of one byte read or written."""

    pj_per_mac: float
    pj_per_byte: float


@dataclass(frozen=True)
class EnergyTable:
    """What operations cost on one device.

    Attributes:
        name: of the device.
        costs: by kind of kernel (``hardware.kernels.KINDS``), or ``default`` for the kinds without a row.
        scalar_bytes: of one number.
        source: where the figures come from.
    """

    name: str
    costs: dict[str, OpCost]
    scalar_bytes: int = 4
    source: str = ""

    def energy_uj(self, layers: Sequence[Layer], batch: int = 1) -> float:
        """Estimated microjoules of one call: multiply-adds, and every kernel's inputs, outputs and weights.

        Raises: InvalidEnergyTable: a kind has no row, and there is no default.
        """
        return 1e-6 * sum(map(self._picojoules, kernels_of(layers, batch)))

    def _picojoules(self, kernel: Kernel) -> float:
        cost = self.costs.get(kernel.kind) or self.costs.get(DEFAULT)
        if cost is None:
            raise InvalidEnergyTable(
                f"energy table {self.name}: no row for {kernel.kind!r}; add one, or one for default"
            )
        return cost.pj_per_mac * kernel.macs + cost.pj_per_byte * self.scalar_bytes * kernel.traffic


def read_energy_table(path: Path) -> EnergyTable:
    """Read ``*.yaml`` (name, source, scalar_bytes, rows) or ``*.csv`` (op, pj_per_mac, pj_per_byte).

    Raises: InvalidEnergyTable: naming the row, from 1.
    """
    if path.suffix == ".csv":
        return EnergyTable(path.stem, _costs(_csv_rows(path), path), source=str(path.name))
    data = _yaml(path)
    unknown = sorted(set(data) - set(_YAML_KEYS))
    if unknown:
        raise InvalidEnergyTable(f"{path}: unknown key {unknown[0]!r}, expected {', '.join(_YAML_KEYS)}")
    scalar_bytes, rows = data.get("scalar_bytes", 4), data.get("rows")
    if scalar_bytes not in (1, 2, 4):
        raise InvalidEnergyTable(f"{path}: scalar_bytes={scalar_bytes!r}, expected 1, 2 or 4")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InvalidEnergyTable(f"{path}: rows={rows!r}, expected a list of rows with {', '.join(COLUMNS)}")
    name, source = str(data.get("name", path.stem)), str(data.get("source", ""))
    return EnergyTable(name, _costs(rows, path), scalar_bytes, source)


def _yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, OSError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InvalidEnergyTable(f"{path}: not YAML ({reason})") from None
    if not isinstance(data, dict):
        raise InvalidEnergyTable(f"{path}: holds a {type(data).__name__}, expected {', '.join(_YAML_KEYS)}")
    return data


def _csv_rows(path: Path) -> list[dict[str, Any]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise InvalidEnergyTable(f"{path}: columns {reader.fieldnames}, expected {', '.join(COLUMNS)}")
            return list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidEnergyTable(f"{path}: cannot be read ({error}); expected text, {', '.join(COLUMNS)}") from None


def _costs(rows: Iterable[dict[str, Any]], path: Path) -> dict[str, OpCost]:
    costs: dict[str, OpCost] = {}
    for number, row in enumerate(rows, 1):
        place = f"{path}, row {number}"
        if set(row) != set(COLUMNS):
            raise InvalidEnergyTable(f"{place}: has {', '.join(map(str, row))}, expected {', '.join(COLUMNS)}")
        op = row["op"]
        if op not in (*KINDS, DEFAULT):
            near = difflib.get_close_matches(str(op), (*KINDS, DEFAULT), n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"expected default, {', '.join(KINDS)}"
            raise InvalidEnergyTable(f"{place}: op={op!r} is no kind of kernel; {hint}")
        if op in costs:
            raise InvalidEnergyTable(f"{place}: a second row for {op!r}; keep one of them")
        mac = _picojoules(row["pj_per_mac"], PJ_PER_MAC, f"{place}: pj_per_mac")
        costs[op] = OpCost(mac, _picojoules(row["pj_per_byte"], PJ_PER_BYTE, f"{place}: pj_per_byte"))
    if not costs:
        raise InvalidEnergyTable(f"{path}: no rows, expected at least one for default")
    return costs


def _picojoules(value: Any, bounds: tuple[float, float], where: str) -> float:
    """A cost, 0 or within what chips take."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or number < 0:
        raise InvalidEnergyTable(f"{where}={value!r}, expected a number of picojoules, 0 or more")
    if number and not bounds[0] <= number <= bounds[1]:
        raise InvalidEnergyTable(
            f"{where}={number:g} pJ is beyond what chips take ({bounds[0]:g} to {bounds[1]:g}); "
            "is the column in another unit? Convert it to picojoules"
        )
    return number
