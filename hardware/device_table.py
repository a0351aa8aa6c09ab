"""Everything measured on one device as plain rows: kernels and networks with their latencies; grown, merged, exchanged.

A device that never runs this program has one, too: its rows come from somebody's file (``hardware.importers``, or the
CSV form of this table). Latency models are fitted to tables; a table holds no model.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from hardware.conditions import Conditions
from hardware.kernels import InvalidKernel, Kernel, check_kernel, kernels_of
from hardware.pieces import piece_layers
from search_spaces.arch import Architecture, Block, InvalidArchitecture
from search_spaces.expand import expand
from search_spaces.layers import Layer, Shape

SCHEMA_VERSION = 1
FASTEST_MACS_PER_MS = 1e12  # beyond every accelerator sold
SLOWEST_MACS_PER_MS = 100.0  # a tenth of the slowest microcontroller
CALL_MS = 1_000.0  # what one call may cost beside its arithmetic
OFF_BY = 1_000.0


class InvalidTable(ValueError):
    """A row or fact cannot be right; the message names the row and how to mend it."""


@dataclass(frozen=True, slots=True)
class KernelRow:
    """A kernel and its milliseconds per call inside a network.

    Attributes:
        kernel: what ran, its batch included.
        latency_ms: of one call, > 0.
        runs: how many measurements stand behind it; 0 where the source does not say.
        footprint: scalars of all weights and maps of the network that it stood in; 0 where unknown.
    """

    kernel: Kernel
    latency_ms: float
    runs: int = 0
    footprint: int = 0

    @property
    def key(self) -> tuple[Kernel, int]:
        """What two rows of one table must not share."""
        return self.kernel, self.footprint


@dataclass(frozen=True, slots=True)
class PieceRow:
    """Copies of a sub-layer, or a classifier, run alone, and their milliseconds per call.

    Attributes:
        block: the sub-layer's, of depth 1; None for pooling and classifier.
        in_shape: (channels, height, width) of its input.
        first: whether the sub-layer opens its block.
        copies: how many stand in a row.
        num_classes: of the classifier; None for a sub-layer.
        latency_ms: of one call, > 0.
        batch: images per call.
    """

    block: Block | None
    in_shape: Shape
    first: bool
    copies: int
    num_classes: int | None
    latency_ms: float
    batch: int = 1

    @property
    def key(self) -> tuple[Block | None, Shape, bool, int, int | None, int]:
        """What two rows of one table must not share."""
        return self.block, self.in_shape, self.first, self.copies, self.num_classes, self.batch

    @property
    def piece(self) -> tuple[Layer, ...]:
        """The layers of one copy."""
        return piece_layers(self.block, self.in_shape, self.first, self.num_classes)

    def kernels(self) -> tuple[Kernel, ...]:
        """What all copies consist of."""
        return self.copies * kernels_of(self.piece, self.batch)


@dataclass(frozen=True, slots=True)
class NetworkRow:
    """A network, or a block alone, and its milliseconds per call.

    Attributes:
        arch: the design.
        input_shape: (channels, height, width) of one image.
        num_classes: outputs of the classifier; None without one.
        latency_ms: of one call, > 0.
        low_ms, high_ms: interval of a repeat; None where unknown.
        batch: images per call.
    """

    arch: Architecture
    input_shape: Shape
    num_classes: int | None
    latency_ms: float
    low_ms: float | None = None
    high_ms: float | None = None
    batch: int = 1

    @property
    def key(self) -> tuple[Architecture, Shape, int | None, int]:
        """What two rows of one table must not share."""
        return self.arch, self.input_shape, self.num_classes, self.batch

    def kernels(self) -> tuple[Kernel, ...]:
        """What it consists of."""
        return kernels_of(expand(self.arch, self.input_shape, self.num_classes), self.batch)


Row = KernelRow | PieceRow | NetworkRow


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

    def check(self) -> Self:
        """Return the table, if its rows can be right.

        Raises: InvalidTable: naming the row, from 1, in the order of ``rows``.
        """
        check_rows(tuple(self.rows()), f"device {self.name}")
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
            mine, theirs = _identity(self.conditions), _identity(other.conditions)
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


def _identity(conditions: Conditions) -> dict[str, Any]:
    """What must be equal for rows to stand in one table; image sizes may differ."""
    return {key: value for key, value in conditions.identity().items() if key != "input_shape"}


def _kernel_row(values: Sequence[Any]) -> KernelRow:
    *kernel, latency_ms, runs, footprint = values
    kernel[1], kernel[2] = tuple(kernel[1]), tuple(kernel[2])
    return KernelRow(Kernel(*kernel), latency_ms, runs, footprint)


def piece_to_dict(row: PieceRow) -> dict[str, Any]:
    """JSON-ready form."""
    return {
        "block": None if row.block is None else row.block.to_dict(),
        "in_shape": list(row.in_shape),
        "first": row.first,
        "copies": row.copies,
        "num_classes": row.num_classes,
        "latency_ms": row.latency_ms,
        "batch": row.batch,
    }


def piece_from_dict(data: dict[str, Any]) -> PieceRow:
    """Read what ``piece_to_dict`` wrote."""
    block = None if data["block"] is None else Block.from_dict(data["block"])
    return PieceRow(**{**data, "block": block, "in_shape": tuple(data["in_shape"])})


def network_to_dict(row: NetworkRow) -> dict[str, Any]:
    """JSON-ready form."""
    return {
        "arch": row.arch.to_dict(),
        "input_shape": list(row.input_shape),
        "num_classes": row.num_classes,
        "latency_ms": row.latency_ms,
        "low_ms": row.low_ms,
        "high_ms": row.high_ms,
        "batch": row.batch,
    }


def network_from_dict(data: dict[str, Any]) -> NetworkRow:
    """Read what ``network_to_dict`` wrote."""
    known = {**data, "arch": Architecture.from_dict(data["arch"]), "input_shape": tuple(data["input_shape"])}
    return NetworkRow(**known)


def check_rows(rows: Sequence[Row], where: str) -> None:
    """Raise InvalidTable, naming the first row, from 1, that cannot be right.

    Refused are latencies that are not positive numbers, kernels that make no sense, two rows for one thing, and
    latencies a factor of 1,000 away from what any device, or the rest of this table, does: the unit is wrong.
    """
    seen: dict[Any, int] = {}
    macs: list[int] = []
    for number, row in enumerate(rows, 1):
        place = f"{where}, row {number}"
        _check_value(row, place)
        earlier = seen.setdefault(row.key, number)
        if earlier != number:
            raise InvalidTable(f"{place}: the same as row {earlier}; keep one of them, or their median")
        macs.append(macs_of(row))
        _check_unit(row, macs[-1], place)
    _check_outliers(rows, macs, where)


def _check_value(row: Row, place: str) -> None:
    ms = row.latency_ms
    if isinstance(ms, bool) or not isinstance(ms, int | float) or not math.isfinite(ms) or ms <= 0:
        raise InvalidTable(f"{place}: latency_ms={ms!r}, expected a positive number of milliseconds")
    if isinstance(row, KernelRow):
        try:
            check_kernel(row.kernel, place)
        except InvalidKernel as error:
            raise InvalidTable(str(error)) from None


def macs_of(row: Row) -> int:
    """Multiply-accumulates of one call."""
    return row.kernel.macs if isinstance(row, KernelRow) else sum(kernel.macs for kernel in row.kernels())


def _check_unit(row: Row, macs: int, place: str) -> None:
    if row.latency_ms * FASTEST_MACS_PER_MS < macs:
        raise InvalidTable(
            f"{place}: {row.latency_ms:g} ms for {macs:,} multiply-adds is faster than any device; "
            "is the column in seconds? Convert it to milliseconds per call"
        )
    if row.latency_ms > CALL_MS + macs / SLOWEST_MACS_PER_MS:
        raise InvalidTable(
            f"{place}: {row.latency_ms:g} ms for {macs:,} multiply-adds is slower than any device; "
            "is the column in microseconds or cycles? Convert it to milliseconds per call"
        )


def _check_outliers(rows: Sequence[Row], work: Sequence[int], where: str) -> None:
    """Raise for a row that is 1,000 times faster or slower than the others make one expect for its work.

    Small work costs what a call costs, not its arithmetic: rows may differ far more than that in multiply-adds per
    millisecond. So the fast are held against the fastest tenth, the slow against a call or work at the median rate.
    """
    if len(rows) < 3:
        return
    ms, macs = np.array([row.latency_ms for row in rows]), np.array(work) + 1e4
    call_ms = float(np.median(ms[np.argsort(macs)[: max(3, len(rows) // 4)]]))
    fast, usual = np.quantile(macs / ms, (0.9, 0.5))
    for factors, direction in ((macs / ms / fast, "faster"), (ms / np.maximum(call_ms, macs / usual), "slower")):
        worst = int(np.argmax(factors))
        if factors[worst] > OFF_BY:
            raise InvalidTable(
                f"{where}, row {worst + 1}: {factors[worst]:,.0f} times {direction} than the table's others at the "
                "same work; its unit differs, or it is damaged: mend or remove it"
            )
