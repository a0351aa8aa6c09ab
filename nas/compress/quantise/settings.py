"""Settings of post-training quantisation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from nas.compress.errors import CannotCompress
from nas.typed_fields import check_types

Method = Literal["unit", "layer", "nearest", "minmax"]
Importance = Literal["none", "output"]
LEAST_BITS, MOST_BITS = 2, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantiseSettings:
    """How a network is quantised.

    Attributes:
        weight_bits: of weights, 2..8; 7 where CPUs without VNNI run the network (their 8-bit kernel saturates).
        activation_bits: of the inputs of layers, 2..8; None leaves all activations in floating point.
        method: "unit" learns the rounding of neighbouring layers together, "layer" of each layer by itself
            (AdaRound); "nearest" rounds to nearest on ranges of least error, "minmax" on ranges that clip nothing.
        edge_bits: least bits of weights and inputs of the first and the last layers.
        layer_bits: weight bits of single layers, by the name of their weight in the state dict.
        iterations: steps for each layer; a unit of n layers is trained for n times as many.
        batch_size: images of a step.
        rounding_rate: Adam's learning rate of the rounding for 20,000 steps; for n it is sqrt(20,000 / n) times that.
        step_rate: Adam's learning rate of the logarithm of activation steps.
        drop: share of elements of activations that stay unrounded in a training step (QDrop); 0 rounds all.
        importance: weight of an element of a unit's output in its loss: "none" for 1, "output" for the square of the
            gradient of the network's outputs with respect to it.
        penalty: weight of the term that drives the rounding to 0 or 1.
        warm_up: share of the steps without that term.
        most_layers: of a unit.
        bias_correction: after everything else, shift biases so that layers keep their mean outputs.
    """

    weight_bits: int = 8
    activation_bits: int | None = 8
    method: Method = "unit"
    edge_bits: int = 8
    layer_bits: Mapping[str, int] = field(default_factory=dict)
    iterations: int = 250
    batch_size: int = 32
    rounding_rate: float = 1.5e-3
    step_rate: float = 1e-3
    drop: float = 0.5
    importance: Importance = "none"
    penalty: float = 0.01
    warm_up: float = 0.2
    most_layers: int = 4
    bias_correction: bool = False

    def __post_init__(self) -> None:
        check_types(self, "quantise: ", CannotCompress)
        self._check_bits()
        for name, allowed in (("method", get_args(Method)), ("importance", get_args(Importance))):
            if getattr(self, name) not in allowed:
                raise CannotCompress(
                    f"quantise: {name} is {getattr(self, name)!r}, expected one of {', '.join(allowed)}"
                )
        for name in ("iterations", "batch_size", "most_layers"):
            if getattr(self, name) < 1:
                raise CannotCompress(f"quantise: {name} is {getattr(self, name)}, expected at least 1")
        for name in ("drop", "warm_up"):
            if not 0 <= getattr(self, name) < 1:
                raise CannotCompress(f"quantise: {name} is {getattr(self, name)}, expected 0 <= {name} < 1")
        for name in ("rounding_rate", "step_rate", "penalty"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise CannotCompress(f"quantise: {name} is {getattr(self, name)}, expected a number of at least 0")

    def _check_bits(self) -> None:
        bits = {"weight_bits": self.weight_bits, "edge_bits": self.edge_bits}
        bits |= {f"layer_bits of {name}": value for name, value in self.layer_bits.items()}
        if self.activation_bits is not None:
            bits["activation_bits"] = self.activation_bits
        for name, value in bits.items():
            if not (isinstance(value, int) and LEAST_BITS <= value <= MOST_BITS):
                raise CannotCompress(f"quantise: {name} is {value!r}, expected {LEAST_BITS}..{MOST_BITS}")
