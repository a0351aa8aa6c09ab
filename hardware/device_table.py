"""Everything measured on one device as plain rows: kernels and networks with their latencies; grown, merged, exchanged.

A device that never runs this program has one, too: its rows come from somebody's file (``hardware.importers``, or the
CSV form of this table). Latency models are fitted to tables; a table holds no model.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from hardware.conditions import Conditions
from hardware.kernels import Kernel
from hardware.row_checks import InvalidTable, check_rows
from hardware.rows import (
    KernelRow,
    NetworkRow,
    PieceRow,
    Row,
    network_from_dict,
    network_to_dict,
    piece_from_dict,
    piece_to_dict,
)
from search_spaces.arch import InvalidArchitecture

__all__ = ["DeviceTable", "InvalidTable", "KernelRow", "NetworkRow", "PieceRow", "Row"]

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class DeviceTable:
    """The rows of one device. ``check`` says whether they can be right.

    Attributes:
        name: of the device, for ``--device``: letters, digits, ``.``, ``_`` and ``-``.
        device: how it is measured here, as ``str(Device)``; "" for a device that is not here.
        precision: "fp32", "fp16" or "int8".
        source: who measured: "measured here", or where the rows come from, with licence.
        kernels, pieces, networks: the rows.
        overhead_ms: of one call of an empty network; 0 where unknown.
        conditions: of the measurements; None for a device that is not here.
        notes: further facts of the source, and rows that could not be expressed.
    """

    name: str
    device: str = ""
    precision: str = "fp32"
    source: str = ""
    kernels: tuple[KernelRow, ...] = ()
    networks: tuple[NetworkRow, ...] = ()
    pieces: tuple[PieceRow, ...] = ()
    overhead_ms: float = 0.0
    conditions: Conditions | None = None
    notes: dict[str, Any] = field(default_factory=dict)

    def rows(self) -> Iterator[Row]:
        """All rows: kernels, pieces, networks."""
        yield from self.kernels
        yield from self.pieces
        yield from self.networks

    def check(self, places: Sequence[str] = ()) -> Self:
        """Return the table, if its rows can be right.

        Args:
            places: where each row comes from, in the order of ``rows``, for messages: "rows.csv, line 4".
        Raises: InvalidTable: naming the row's place, or its number from 1, in the order of ``rows``.
        """
        check_rows(tuple(self.rows()), f"device {self.name}", places)
        return self

    def merged(self, other: DeviceTable) -> DeviceTable:
        """Both tables' rows; where both have a row for the same thing, the other's wins.

        Raises: InvalidTable: the tables are of different devices or conditions.
        """
        for fact in ("name", "device", "precision"):
            mine, theirs = getattr(self, fact), getattr(other, fact)
            if mine != theirs:
                raise InvalidTable(f"merge: {fact} {mine!r} and {theirs!r} differ, expected tables of one device")
        if self.conditions and other.conditions:
            mine, theirs = self.conditions.machine_identity(), other.conditions.machine_identity()
            changed = [f"{key} was {mine[key]}, now {theirs[key]}" for key in mine if mine[key] != theirs[key]]
            if changed:
                raise InvalidTable(f"merge: {'; '.join(changed)}; expected rows measured under the same conditions")
        kernels = {row.key: row for row in (*self.kernels, *other.kernels)}
        networks = {row.key: row for row in (*self.networks, *other.networks)}
        return replace(
            self,
            kernels=tuple(kernels.values()),
            networks=tuple(networks.values()),
            pieces=tuple({row.key: row for row in (*self.pieces, *other.pieces)}.values()),
            overhead_ms=other.overhead_ms or self.overhead_ms,
            source=self.source if other.source in self.source else f"{self.source}; {other.source}",
            conditions=other.conditions or self.conditions,
            notes={**self.notes, **other.notes},
        )

    @property
    def digest(self) -> str:
        """Content address of everything that the table says: 20 hexadecimal digits."""
        return hashlib.sha256(json.dumps(self._content(), sort_keys=True).encode()).hexdigest()[:20]

    def _content(self) -> dict[str, Any]:
        return {
            "version": SCHEMA_VERSION,
            "name": self.name,
            "device": self.device,
            "precision": self.precision,
            "source": self.source,
            "conditions": self.conditions.to_dict() if self.conditions else None,
            "notes": self.notes,
            "overhead_ms": self.overhead_ms,
            "kernels": [[*row.kernel, row.latency_ms, row.runs, row.footprint] for row in self.kernels],
            "pieces": [piece_to_dict(row) for row in self.pieces],
            "networks": [network_to_dict(row) for row in self.networks],
        }

    def to_json(self) -> str:
        """Text with the content's digest."""
        return json.dumps({**self._content(), "digest": self.digest})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what ``to_json`` wrote. Raises InvalidTable."""
        try:
            data = json.loads(text)
            if data["version"] != SCHEMA_VERSION:
                raise InvalidTable(f"device table: schema version {data['version']!r}, expected {SCHEMA_VERSION}")
            table = cls(
                name=data["name"],
                device=data["device"],
                precision=data["precision"],
                source=data["source"],
                kernels=tuple(map(_kernel_row, data["kernels"])),
                networks=tuple(map(network_from_dict, data["networks"])),
                pieces=tuple(map(piece_from_dict, data["pieces"])),
                overhead_ms=data["overhead_ms"],
                conditions=Conditions.from_dict(data["conditions"]) if data["conditions"] else None,
                notes=data["notes"],
            )
        except (json.JSONDecodeError, KeyError, TypeError, InvalidArchitecture) as error:
            raise InvalidTable(f"device table: cannot be read ({type(error).__name__}: {error})") from None
        if table.digest != data.get("digest"):
            raise InvalidTable("device table: its digest does not fit its content; it was cut or altered")
        return table

    def __str__(self) -> str:
        where = self.device or "not here"
        return (
            f"{self.name} ({where}, {self.precision}): {len(self.kernels)} kernels, {len(self.pieces)} pieces, "
            f"{len(self.networks)} networks"
        )


def _kernel_row(values: Sequence[Any]) -> KernelRow:
    *kernel, latency_ms, runs, footprint = values
    kernel[1], kernel[2] = tuple(kernel[1]), tuple(kernel[2])
    return KernelRow(Kernel(*kernel), latency_ms, runs, footprint)
