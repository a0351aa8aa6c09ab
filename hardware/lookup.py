"""The latency table of one space on one device: measured blocks, interpolated, composed and calibrated."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, Self

from hardware.analytic_pieces import AnalyticPieces
from hardware.calibration import Calibration
from hardware.conditions import Conditions, Surroundings
from hardware.device import Device
from hardware.kernel_model import KernelModel, footprint_of
from hardware.pieces import Piece, head_layers
from hardware.sub_layer_model import SubLayerModel
from search_spaces.arch import Architecture, Block
from search_spaces.expand import CACHE_SIZE, SubLayer, expand_sub_layer, sub_layers
from search_spaces.layers import Shape

SCHEMA_VERSION = 3
_MEGABYTES = 4e-6  # of one float32 weight


class TableUnreadable(ValueError):
    """The text is not a latency table of this release, or it was altered."""


class ConditionsChanged(ValueError):
    """The table was made under other conditions; the message names them and the command that renews it."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A predicted latency.

    Attributes:
        mean_ms: expected milliseconds per call.
        upper_ms: bound that the measurement keeps at the table's confidence.
    """

    mean_ms: float
    upper_ms: float


class PieceModel(Protocol):
    """Milliseconds of pieces of networks: a ``SubLayerModel`` or a ``KernelModel``."""

    def cell(self, footprint: float) -> int:
        """What a network's footprint, in scalars of weights and maps, changes: pieces of one cell are summed."""
        ...

    def pieces_ms(self, pieces: Sequence[Piece], cell: int) -> list[float]:
        """Milliseconds of sub-layers or classifiers inside networks of that cell."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        ...


class _Facts(NamedTuple):
    """What is kept of a block, or of the classifier, beside its milliseconds."""

    parts: tuple[tuple[SubLayer | Shape, int], ...]  # a shape stands for the classifier on it; and how many times
    weights_mb: float
    footprint: int
    shape: Shape


@dataclass(frozen=True, eq=False)
class LatencyTable:
    """Predicts the latency of any architecture of a space in microseconds of work.

    Attributes:
        space: name of the search space.
        device: what was measured.
        input_shape: (channels, height, width) of one image.
        num_classes: outputs of the classifier.
        pieces: the model of sub-layers or kernels.
        calibration: from their sum to whole networks, with the upper bound and the held-out errors.
        conditions: of the measurements.
        measured: (predicted ms, measured ms) of the calibration networks.
        space_spec: how ``load_space`` names the space.
        space_digest: of the space, see ``hardware.spaces.space_digest``.
    """

    space: str
    device: Device
    input_shape: Shape
    num_classes: int
    pieces: PieceModel
    calibration: Calibration
    conditions: Conditions
    measured: tuple[tuple[float, float], ...] = ()
    space_spec: str = ""
    space_digest: str = ""
    _facts: dict[tuple[Block | None, Shape], _Facts] = field(default_factory=dict, init=False, repr=False)
    _pieces: dict[SubLayer | Shape, Piece] = field(default_factory=dict, init=False, repr=False)
    _ms: dict[tuple[SubLayer | Shape, int], float] = field(default_factory=dict, init=False, repr=False)

    def estimate(self, arch: Architecture) -> Estimate:
        """Latency of one call with the device's batch.

        Raises: InvalidArchitecture.
        """
        mean_ms = self.calibration.predict(*self.summed(arch))
        return Estimate(mean_ms, mean_ms * self.calibration.upper_factor)

    def summed(self, arch: Architecture) -> tuple[float, float]:
        """Milliseconds of blocks and classifier before calibration, and megabytes of weights."""
        facts = self._facts_of(arch)
        return sum(self._blocks_ms(facts)), sum(fact.weights_mb for fact in facts)

    def blocks_ms(self, arch: Architecture) -> tuple[float, ...]:
        """Share of each block in ``mean_ms``; the rest is classifier and call overhead. For drawing a waterfall."""
        facts = self._facts_of(arch)
        weights_mb = sum(fact.weights_mb for fact in facts)
        uncached = max(0.0, 1 - self.calibration.cached_mb / weights_mb)
        per_mb = self.calibration.per_megabyte_ms * uncached
        shares = zip(self._blocks_ms(facts), facts[:-1], strict=False)
        return tuple(self.calibration.factor * ms + per_mb * fact.weights_mb for ms, fact in shares)

    def _facts_of(self, arch: Architecture) -> list[_Facts]:
        """Of every block, and of the classifier at the end."""
        known = self._facts
        if len(known) >= CACHE_SIZE:
            known.clear()
            self._pieces.clear()
            self._ms.clear()
        found, shape = [], self.input_shape
        for block in (*arch.blocks, None):
            facts = known.get((block, shape))
            if facts is None:
                facts = known[block, shape] = self._new_facts(block, shape)
            found.append(facts)
            shape = facts.shape
        return found

    def _new_facts(self, block: Block | None, in_shape: Shape) -> _Facts:
        parts = ((in_shape, 1),) if block is None else sub_layers(block, in_shape)
        weights = footprint = 0.0
        for part, times in parts:
            piece = self._pieces.get(part) or self._new_piece(part)
            weights += times * piece.work.weights
            footprint += times * footprint_of(piece.kernels)
        return _Facts(parts, _MEGABYTES * weights, int(footprint), piece.shape)

    def _new_piece(self, part: SubLayer | Shape) -> Piece:
        layers = expand_sub_layer(part) if isinstance(part, SubLayer) else head_layers(part, self.num_classes)
        self._pieces[part] = piece = Piece.of(layers, self.device.batch)
        return piece

    def _blocks_ms(self, facts: Sequence[_Facts]) -> list[float]:
        """Milliseconds of each block and of the classifier before calibration."""
        cell = self.pieces.cell(sum(fact.footprint for fact in facts))
        known = self._ms
        new = list(dict.fromkeys(part for fact in facts for part, _ in fact.parts if (part, cell) not in known))
        if new:
            found_ms = self.pieces.pieces_ms([self._pieces[part] for part in new], cell)
            known.update(zip(((part, cell) for part in new), found_ms, strict=True))
        return [sum(times * known[part, cell] for part, times in fact.parts) for fact in facts]

    def check_conditions(
        self, space: str, device: Device, input_shape: Shape, *, space_digest: str = "", spec: str = ""
    ) -> None:
        """Refuse a table that does not hold for this space, device and machine.

        Args:
            space: its name.
            device: where latencies are wanted.
            input_shape: (channels, height, width) of one image.
            space_digest: of the space as it is now; "" leaves its choices unchecked.
            spec: how ``load_space`` names the space, for the command; "" means as when the table was made.
        Raises: ConditionsChanged: naming what changed and the command that renews the table.
        """
        wanted = {"space": space, **Surroundings().conditions(device, input_shape).identity()}
        stored = {"space": self.space, **self.conditions.identity()}
        changed = [f"{key} was {stored[key]}, now {now}" for key, now in wanted.items() if stored[key] != now]
        if space_digest and space_digest != self.space_digest and space == self.space:
            changed.append(f"the choices of {space} changed, or another space has its name")
        if changed:
            made_with = self.space_spec if space == self.space else ""
            command = profile_command(spec or made_with or space, device, input_shape)
            raise ConditionsChanged(f"latency table: {'; '.join(changed)}. Renew it: {command}")

    @property
    def digest(self) -> str:
        """Content address of everything that the table says: 20 hexadecimal digits."""
        return _digest_of(self._content())

    def _content(self) -> dict[str, Any]:
        return {
            "version": SCHEMA_VERSION,
            "space": self.space,
            "space_spec": self.space_spec,
            "space_digest": self.space_digest,
            "device": self.device.to_dict(),
            "input_shape": list(self.input_shape),
            "num_classes": self.num_classes,
            "pieces": {_PIECES_NAMES[type(self.pieces)]: self.pieces.to_dict()},
            "calibration": self.calibration.to_dict(),
            "conditions": {**self.conditions.to_dict(), "input_shape": list(self.input_shape)},
            "measured": [list(pair) for pair in self.measured],
        }

    def to_json(self) -> str:
        """Text with the content's digest."""
        return json.dumps({**self._content(), "digest": self.digest}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what ``to_json`` wrote. Raises TableUnreadable."""
        try:
            data = json.loads(text)
            if data["version"] not in (2, SCHEMA_VERSION):
                raise TableUnreadable(
                    f"latency table: schema version {data['version']!r}, this release reads 2 and {SCHEMA_VERSION}"
                )
            table = cls(
                space=data["space"],
                space_spec=data["space_spec"],
                space_digest=data["space_digest"],
                device=Device.from_dict(data["device"]),
                input_shape=tuple(data["input_shape"]),
                num_classes=data["num_classes"],
                pieces=_read_pieces(data),
                calibration=Calibration.from_dict(data["calibration"]),
                conditions=Conditions.from_dict(data["conditions"]),
                measured=tuple((predicted, measured) for predicted, measured in data["measured"]),
            )
            if _digest_of({key: value for key, value in data.items() if key != "digest"}) != data.get("digest"):
                raise TableUnreadable("latency table: its digest does not fit its content; it was cut or altered")
        except TableUnreadable:
            raise
        except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise TableUnreadable(f"latency table: cannot be read ({type(error).__name__}: {error})") from None
        return table

    def __str__(self) -> str:
        calibration, errors = self.calibration, self.calibration.held_out
        size = "x".join(map(str, self.input_shape))
        if not errors.networks:
            return (
                f"{self.space} at {size} on {self.conditions.cpu_model}: no network was measured; "
                f"upper bound = {calibration.upper_factor:.3f} x mean, an assumption at any confidence"
            )
        return (
            f"{self.space} at {size} on {self.device} ({self.conditions.cpu_model}): "
            f"held-out error {errors.mape:.1%}, {errors.within_10:.0%} within 10 %, "
            f"Spearman {errors.spearman:.3f} on {errors.networks} networks; "
            f"upper bound = {calibration.upper_factor:.3f} x mean at {calibration.confidence:.0%}"
        )


def _digest_of(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:20]


_PIECES: dict[str, type[SubLayerModel] | type[KernelModel] | type[AnalyticPieces]] = {
    "sub_layers": SubLayerModel,
    "kernels": KernelModel,
    "analytic": AnalyticPieces,
}
_PIECES_NAMES: dict[type, str] = {cls: name for name, cls in _PIECES.items()}


def _read_pieces(data: dict[str, Any]) -> PieceModel:
    """The model of pieces; tables of schema version 2 have one of sub-layers."""
    if data["version"] == 2:
        return SubLayerModel.from_dict(data["sub_layers"])
    [(name, content)] = data["pieces"].items()
    return _PIECES[name].from_dict(content)


def profile_command(space: str, device: Device, input_shape: Shape) -> str:
    """The command that makes the table of a space, named as ``load_space`` takes it."""
    channels, height, _ = input_shape
    where = f"--device {shlex.quote(str(device))} --resolution {height} --in-channels {channels}"
    return f"netwright profile --space {space} {where}"
