"""The latency table of one space on one device: measured blocks, interpolated, composed and calibrated."""

from __future__ import annotations

import hashlib
import json
import shlex
from dataclasses import dataclass, field
from math import exp
from typing import Any, Self

import numpy as np

from hardware.calibration import Calibration
from hardware.conditions import Conditions, Surroundings
from hardware.device import Device
from hardware.kriging import Kriging, Vector
from hardware.roofline import DEMANDS, FEATURES, Work, work_of
from search_spaces.arch import Architecture, Block
from search_spaces.expand import CACHE_SIZE, SubLayer, expand_sub_layer, sub_layers
from search_spaces.layer_list import LayerList
from search_spaces.layers import INPUT, Layer, Shape

SCHEMA_VERSION = 2
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


@dataclass(frozen=True, eq=False)
class SubLayerModel:
    """Milliseconds of a sub-layer: cost of its demands, times an interpolated correction.

    Attributes:
        costs: (len(DEMANDS),) milliseconds per unit of demand.
        correction: of the logarithm of measured over cost, as a function of the sub-layer's features.
    """

    costs: Vector
    correction: Kriging

    def predict(self, work: Work) -> float:
        """Milliseconds of this work inside a network."""
        return self.cost(work) * exp(self.correction.predict(work.features))

    def cost(self, work: Work) -> float:
        """The parametric part alone, in milliseconds."""
        return float(work.demands @ self.costs)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        costs = dict(zip(DEMANDS, self.costs.tolist(), strict=True))
        return {"costs": costs, "features": list(FEATURES), "correction": self.correction.to_dict()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read what ``to_dict`` wrote."""
        if set(data["costs"]) != set(DEMANDS) or data["features"] != list(FEATURES):
            raise TableUnreadable("latency table: made with other features; renew it with netwright profile")
        costs = np.array([data["costs"][name] for name in DEMANDS])
        return cls(costs, Kriging.from_dict(data["correction"]))


_Part = tuple[float, float, Shape]  # milliseconds, megabytes of weights, output shape


@dataclass(frozen=True, eq=False)
class LatencyTable:
    """Predicts the latency of any architecture of a space in microseconds of work.

    Attributes:
        space: name of the search space.
        device: what was measured.
        input_shape: (channels, height, width) of one image.
        num_classes: outputs of the classifier.
        sub_layers: the model of sub-layers.
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
    sub_layers: SubLayerModel
    calibration: Calibration
    conditions: Conditions
    measured: tuple[tuple[float, float], ...] = ()
    space_spec: str = ""
    space_digest: str = ""
    _blocks: dict[tuple[Block, Shape], _Part] = field(default_factory=dict, init=False, repr=False)
    _sub_layers: dict[SubLayer, _Part] = field(default_factory=dict, init=False, repr=False)
    _heads: dict[Shape, tuple[float, float]] = field(default_factory=dict, init=False, repr=False)

    def estimate(self, arch: Architecture) -> Estimate:
        """Latency of one call with the device's batch.

        Raises: InvalidArchitecture.
        """
        mean_ms = self.calibration.predict(*self.summed(arch))
        return Estimate(mean_ms, mean_ms * self.calibration.upper_factor)

    def summed(self, arch: Architecture) -> tuple[float, float]:
        """Milliseconds of blocks and classifier before calibration, and megabytes of weights."""
        total_ms = weights_mb = 0.0
        shape = self.input_shape
        cache = self._blocks
        for block in arch.blocks:
            key = (block, shape)
            part = cache.get(key)
            if part is None:
                part = self._add_block(block, shape)
            total_ms += part[0]
            weights_mb += part[1]
            shape = part[2]
        head = self._heads.get(shape) or self._add_head(shape)
        return total_ms + head[0], weights_mb + head[1]

    def blocks_ms(self, arch: Architecture) -> tuple[float, ...]:
        """Share of each block in ``mean_ms``; the rest is classifier and call overhead. For drawing a waterfall."""
        parts, shape = [], self.input_shape
        for block in arch.blocks:
            parts.append(self._blocks.get((block, shape)) or self._add_block(block, shape))
            shape = parts[-1][2]
        weights_mb = self.summed(arch)[1]
        uncached = max(0.0, 1 - self.calibration.cached_mb / weights_mb)
        per_mb = self.calibration.per_megabyte_ms * uncached
        return tuple(self.calibration.factor * part_ms + per_mb * part_mb for part_ms, part_mb, _ in parts)

    def _add_block(self, block: Block, in_shape: Shape) -> _Part:
        total_ms = weights_mb = 0.0
        out_shape = in_shape
        for sub, times in sub_layers(block, in_shape):
            part = self._sub_layers.get(sub) or self._add_sub_layer(sub)
            total_ms += times * part[0]
            weights_mb += times * part[1]
            out_shape = part[2]
        if len(self._blocks) >= CACHE_SIZE:
            self._blocks.clear()
            self._sub_layers.clear()
        self._blocks[block, in_shape] = total_ms, weights_mb, out_shape
        return total_ms, weights_mb, out_shape

    def _add_sub_layer(self, sub: SubLayer) -> _Part:
        layers = expand_sub_layer(sub)
        work = work_of(layers)
        part = self.sub_layers.predict(work), _MEGABYTES * work.weights, layers[-1].shape
        self._sub_layers[sub] = part
        return part

    def _add_head(self, shape: Shape) -> tuple[float, float]:
        work = work_of(head_layers(shape, self.num_classes))
        self._heads[shape] = self.sub_layers.cost(work), _MEGABYTES * work.weights
        return self._heads[shape]

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
        return hashlib.sha256(json.dumps(self._content(), sort_keys=True).encode()).hexdigest()[:20]

    def _content(self) -> dict[str, Any]:
        return {
            "version": SCHEMA_VERSION,
            "space": self.space,
            "space_spec": self.space_spec,
            "space_digest": self.space_digest,
            "device": self.device.to_dict(),
            "input_shape": list(self.input_shape),
            "num_classes": self.num_classes,
            "sub_layers": self.sub_layers.to_dict(),
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
            if data["version"] != SCHEMA_VERSION:
                raise TableUnreadable(
                    f"latency table: schema version {data['version']!r}, this release reads {SCHEMA_VERSION}"
                )
            table = cls(
                space=data["space"],
                space_spec=data["space_spec"],
                space_digest=data["space_digest"],
                device=Device.from_dict(data["device"]),
                input_shape=tuple(data["input_shape"]),
                num_classes=data["num_classes"],
                sub_layers=SubLayerModel.from_dict(data["sub_layers"]),
                calibration=Calibration.from_dict(data["calibration"]),
                conditions=Conditions.from_dict(data["conditions"]),
                measured=tuple((predicted, measured) for predicted, measured in data["measured"]),
            )
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise TableUnreadable(f"latency table: cannot be read ({type(error).__name__}: {error})") from None
        if table.digest != data.get("digest"):
            raise TableUnreadable("latency table: its digest does not fit its content; it was cut or altered")
        return table

    def __str__(self) -> str:
        calibration, errors = self.calibration, self.calibration.held_out
        size = "x".join(map(str, self.input_shape))
        return (
            f"{self.space} at {size} on {self.device} ({self.conditions.cpu_model}): "
            f"held-out error {errors.mape:.1%}, {errors.within_10:.0%} within 10 %, "
            f"Spearman {errors.spearman:.3f} on {errors.networks} networks; "
            f"upper bound = {calibration.upper_factor:.3f} x mean at {calibration.confidence:.0%}"
        )


def head_layers(shape: Shape, num_classes: int) -> tuple[Layer, ...]:
    """Global pooling and classifier on a map of this shape."""
    head = LayerList(shape)
    head.linear(head.global_pool(INPUT, "head.pool"), "head.fc", num_classes)
    return tuple(head.layers)


def profile_command(space: str, device: Device, input_shape: Shape) -> str:
    """The command that makes the table of a space, named as ``load_space`` takes it."""
    channels, height, _ = input_shape
    where = f"--device {shlex.quote(str(device))} --resolution {height} --in-channels {channels}"
    return f"netwright profile --space {space} {where}"
