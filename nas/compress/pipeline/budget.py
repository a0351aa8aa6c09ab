"""Which recipes may keep a latency budget: found by measuring shapes before anything is trained."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from hardware.integer_kernels import weight_bits_here
from nas.compress.chex.settings import ChexSettings
from nas.compress.coupling import coupled_channels
from nas.compress.errors import BudgetUnreachable
from nas.compress.onnx_file import write_onnx, write_quantised_onnx
from nas.compress.pipeline.recipe import Channels, Compression, Quantise
from nas.compress.quantise import QuantiseSettings, quantise_network
from nas.compress.quantise.fold import folded
from nas.compress.sliced_cost import SlicedCost
from nas.compress.slicing import sliced
from nas.compress.slimming import uniform_keep
from nas.narrator import Silent
from search_spaces.layers import Shape

Timer = Callable[[Path], float]  # ONNX file -> milliseconds

AIM = 0.95  # of the budget: two measurements of one file differ by some percent
_ROUNDS = 6
_STEP = 0.005  # of shares
_CALIBRATION = 32


def within_budget(
    model: nn.Module, input_shape: Shape, base: Compression, budget_ms: float, timer: Timer, narrator: Silent
) -> list[Compression]:
    """Recipes whose networks should keep the budget, the one that keeps most of the network first.

    For floating point and for integers, the largest share of multiply-accumulates whose uniformly slimmed network
    keeps the budget is found by bisection; channels, weights and rounding are those of no training. The network as it
    is comes first, alone, where it keeps the budget.

    Args:
        model: the network to compress.
        input_shape: (channels, height, width) of one image.
        base: what else the recipes do.
        budget_ms: milliseconds a call.
        timer: measures an ONNX file.
        narrator: is told what goes on.
    Raises: BudgetUnreachable: with the least latency that was seen.
    """
    shapes = _Shapes(model, input_shape, base, timer)
    found: list[tuple[float, Compression]] = []
    least = float("inf")
    for integers in (False, True):
        form = "integers" if integers else "floating point"
        narrator.say(f"budget: how much of the network fits {budget_ms:g} ms in {form}")
        share, lowest = _largest_share(shapes, integers, budget_ms * AIM)
        least = min(least, lowest)
        if share is None:
            narrator.say(f"budget: none of it; the smallest takes {lowest:.4g} ms")
            continue
        narrator.say(f"budget: {share:.0%} of its multiply-accumulates")
        found.append((share, _recipe(base, share, integers)))
        if share == 1 and not integers:
            return [found[0][1]]
    if not found:
        raise BudgetUnreachable(
            f"latency: {budget_ms:g} ms cannot be kept, the smallest network that channels and integers leave takes "
            f"{least:.4g} ms; give more, or search for a smaller network"
        )
    return [recipe for _, recipe in sorted(found, key=lambda pair: -pair[0])]


def _largest_share(shapes: _Shapes, integers: bool, most: float) -> tuple[float | None, float]:
    """The largest share that keeps the budget, and the least latency that was seen."""
    whole = shapes.milliseconds(1.0, integers)
    if whole <= most:
        return 1.0, whole
    low, high = shapes.least_share, 1.0
    if low == 1:
        return None, whole
    smallest = shapes.milliseconds(low, integers)
    if smallest > most:
        return None, min(whole, smallest)
    for _ in range(_ROUNDS):
        middle = (low + high) / 2
        if shapes.milliseconds(middle, integers) <= most:
            low = middle
        else:
            high = middle
    return low, smallest


def _recipe(base: Compression, share: float, integers: bool) -> Compression:
    """The base with these channels, in integers or not."""
    channels = None
    if share < 1:
        channels = (base.channels or Channels()).model_copy(update={"macs": share})
    trained = base.fine_tune if share < 1 or base.approximate or base.prune else None
    return base.model_copy(
        update={
            "channels": channels,
            "fine_tune": trained,
            "quantise": (base.quantise or Quantise()) if integers else None,
        }
    )


class _Shapes:
    """Latency of slimmed networks that nobody trained."""

    def __init__(self, model: nn.Module, input_shape: Shape, base: Compression, timer: Timer) -> None:
        self.model, self.input_shape, self.base, self.timer = model, input_shape, base, timer
        self.coupling = coupled_channels(model, input_shape)
        self.cost = SlicedCost(model, self.coupling)

    @cached_property
    def least_share(self) -> float:
        """The least share of multiply-accumulates that floors of channels allow, from above; 1 if none can go."""
        low, high = 0.0, 1.0
        if not self.coupling.groups or not self._reachable(1 - _STEP):
            return 1.0
        while high - low > _STEP:
            middle = (low + high) / 2
            low, high = (low, middle) if self._reachable(middle) else (middle, high)
        return high

    def _reachable(self, share: float) -> bool:
        try:
            uniform_keep(self.model, self.coupling, ChexSettings(macs=share), self.cost)
        except BudgetUnreachable:
            return False
        return True

    def milliseconds(self, share: float, integers: bool) -> float:
        """Of one call of the network with this share of its multiply-accumulates, at least ``least_share``."""
        network = self.model
        if share < 1:
            keep = uniform_keep(self.model, self.coupling, ChexSettings(macs=share), self.cost)
            network = sliced(self.model, self.coupling, keep)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "shape.onnx"
            path.write_bytes(self._file(network, integers))
            return self.timer(path)

    def _file(self, network: nn.Module, integers: bool) -> bytes:
        if not integers:
            return bytes(write_onnx(folded(network, self.input_shape), self.input_shape).SerializeToString())
        stage = self.base.quantise or Quantise()
        bits = weight_bits_here().bits if stage.weight_bits == "auto" else stage.weight_bits
        settings = QuantiseSettings(weight_bits=bits, activation_bits=stage.activation_bits, method="minmax")
        images = torch.randn(_CALIBRATION, *self.input_shape, generator=torch.Generator().manual_seed(0))
        return bytes(write_quantised_onnx(quantise_network(network, images, settings=settings)).SerializeToString())
