"""Small networks that teach the latency of a space's sub-layers: which to measure, and the fit."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from typing import Self

import numpy as np

from hardware.device_table import PieceRow
from hardware.kriging import Matrix, Vector, fit_kriging
from hardware.models import LayerModel
from hardware.pieces import in_a_row
from hardware.roofline import Work, edge_demand, fit_costs, work_of
from hardware.sub_layer_model import SubLayerModel
from search_spaces.arch import Architecture, Block
from search_spaces.expand import SubLayer, block_inputs, expand_sub_layer, sub_layers
from search_spaces.layers import CONV, Layer, Shape

COPIES = 3  # of a sub-layer that fits behind itself: nearer to its life inside a network
HEADS = 5
LARGEST_SHARE = 1 / 60  # of the time for one sub-layer: giants teach nothing about networks that anyone wants
LARGE_MS = 200.0
LEAST_SUB_LAYERS, MOST_SUB_LAYERS = 20, 180

_BURSTS, _BURST_MS = 6, 8.0  # to plan with, like the next three
_MACS_PER_MS = 12e6
_LOAD_MS, _LOAD_MS_PER_WEIGHT = 25.0, 6e-5


@dataclass(frozen=True)
class Probe:
    """A small network of some copies of one piece.

    Attributes:
        model: what to measure.
        row: what it is in a device table, not yet measured.
    """

    model: LayerModel
    row: PieceRow

    @classmethod
    def of(cls, row: PieceRow, name: str) -> Self:
        """The network of a row."""
        return cls(LayerModel(name, in_a_row(row.piece, row.copies), row.in_shape), row)

    @cached_property
    def piece(self) -> tuple[Layer, ...]:
        """The layers of one copy."""
        return self.row.piece

    @cached_property
    def work(self) -> Work:
        """Of one copy."""
        return work_of(self.piece)

    @property
    def copies(self) -> int:
        """How many stand in a row."""
        return self.row.copies

    @property
    def demand(self) -> Vector:
        """Of the whole probe, between plain tensors."""
        return self.copies * self.work.demands + edge_demand(self.model.input_shape, self.piece[-1].shape)


def choose_probes(
    archs: Sequence[Architecture],
    input_shape: Shape,
    num_classes: int,
    budget_ms: float,
    rng: np.random.Generator,
    batch: int = 1,
) -> list[Probe]:
    """Sub-layers of these networks, far apart or frequent, and a few classifiers, as many as the time allows.

    Args:
        archs: sampled networks.
        input_shape: (channels, height, width) of one image.
        num_classes: of the classifiers.
        budget_ms: estimated time for loading and timing all of them.
        rng: of the choice.
        batch: images per call.
    """
    seen = Counter[SubLayer]()
    shapes: set[Shape] = set()
    for arch in archs:
        for block, in_shape in block_inputs(arch, input_shape):
            seen.update(dict(sub_layers(block, in_shape)))
        shapes.add(_last_shape(block, in_shape))
    subs = sorted(seen, key=repr)  # a Counter's order depends on the archs only, but hashes differ between runs
    points = np.array([work_of(expand_sub_layer(sub)).features for sub in subs])
    order = _interleave(
        farthest_first(points, MOST_SUB_LAYERS), _weighted_order(np.array([seen[sub] for sub in subs]), rng)
    )
    probes: list[Probe] = []
    most_ms = max(LARGEST_SHARE * budget_ms, LARGE_MS)
    for at in order:
        probe = _sub_layer_probe(subs[at], len(probes), batch)
        cost_ms = planned_ms(probe.model.layers)
        if cost_ms > most_ms:
            continue
        budget_ms -= cost_ms
        if len(probes) >= LEAST_SUB_LAYERS and (budget_ms < 0 or len(probes) >= MOST_SUB_LAYERS):
            break
        probes.append(probe)
    some = sorted(shapes)[:: max(1, len(shapes) // HEADS)]
    return probes + [_head_probe(shape, num_classes, batch) for shape in some]


def _last_shape(block: Block, in_shape: Shape) -> Shape:
    return expand_sub_layer(sub_layers(block, in_shape)[-1][0])[-1].shape


def planned_ms(layers: Sequence[Layer]) -> float:
    """A rough guess of what loading and timing this network takes."""
    run_ms = sum(layer.macs for layer in layers) / _MACS_PER_MS
    load_ms = _LOAD_MS + _LOAD_MS_PER_WEIGHT * sum(layer.weight_count for layer in layers)
    return load_ms + _BURSTS * max(_BURST_MS + 3 * run_ms, 6 * run_ms)


def farthest_first(points: Matrix, most: int) -> list[int]:
    """Greedy k-center: each next point is the one farthest from all chosen before; starts near the middle."""
    spread = points.std(axis=0)
    z = (points - points.mean(axis=0)) / np.where(spread > 1e-9, spread, 1.0)
    chosen = [int(np.argmin((z**2).sum(axis=1)))]
    distance = ((z - z[chosen[0]]) ** 2).sum(axis=1)
    while len(chosen) < min(most, len(points)) and distance.max() > 0:
        chosen.append(int(np.argmax(distance)))
        distance = np.minimum(distance, ((z - z[chosen[-1]]) ** 2).sum(axis=1))
    return chosen


def _weighted_order(counts: Vector, rng: np.random.Generator) -> list[int]:
    return [int(i) for i in rng.choice(len(counts), len(counts), replace=False, p=counts / counts.sum())]


def _interleave(first: Sequence[int], second: Sequence[int]) -> list[int]:
    """One from each in turn, without repeats."""
    turns = zip_longest(first, second)
    return [at for at in dict.fromkeys(at for turn in turns for at in turn) if at is not None]


def _sub_layer_probe(sub: SubLayer, number: int, batch: int) -> Probe:
    copies = 1 if sub.first or expand_sub_layer(sub)[-1].shape != sub.in_shape else COPIES
    row = PieceRow(sub.block, sub.in_shape, sub.first, copies, None, math.nan, batch)
    return Probe.of(row, f"probe {number} ({sub.block.kind})")


def _head_probe(shape: Shape, num_classes: int, batch: int) -> Probe:
    row = PieceRow(None, shape, True, 1, num_classes, math.nan, batch)
    return Probe.of(row, f"classifier on {shape[0]} channels")


def fit_sub_layers(rows: Sequence[PieceRow], overhead_ms: float, seed: int) -> SubLayerModel:
    """Costs of demands from all pieces, then the correction between sub-layers by Kriging.

    Args:
        rows: measured pieces.
        overhead_ms: of one call of an empty network.
        seed: of the fit.
    """
    probes = [Probe.of(row, "") for row in rows]
    whole_ms = np.array([row.latency_ms for row in rows])
    latency_ms = np.maximum(whole_ms - overhead_ms, 0.05 * whole_ms)
    asked = np.array([probe.demand for probe in probes])
    costs = fit_costs(asked, latency_ms)
    inside = np.array([probe.copies * probe.work.demands for probe in probes])
    edges_ms = (asked - inside) @ costs
    part_ms = np.maximum(latency_ms - edges_ms, 0.2 * latency_ms)
    cost_ms = inside @ costs
    use = np.array([any(layer.op == CONV for layer in probe.piece) for probe in probes]) & (cost_ms > 0)
    points = np.array([probe.work.features for probe in probes])
    correction = fit_kriging(points[use], np.log(part_ms[use] / cost_ms[use]), seed)
    return SubLayerModel(costs, correction)
