"""A network in integers: what every method of quantisation makes, and what simulation and the ONNX writer read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, fx

from search_spaces.layers import Shape


@dataclass(frozen=True, slots=True, eq=False)
class WeightCodes:
    """Weights of one convolution or linear layer: value = scale * code.

    Attributes:
        codes: int8, of the shape of the weight (after folding), -(2**(bits - 1)) .. 2**(bits - 1) - 1; symmetric, so
            the zero point is 0.
        scale: float32 (out,), one for each output channel (dimension 0 of ``codes``).
        bits: of a code.
    """

    codes: Tensor
    scale: Tensor
    bits: int


@dataclass(frozen=True, slots=True)
class Grid:
    """The values that an activation may have: scale * (code - zero_point), code in 0 .. 2**bits - 1."""

    scale: float
    zero_point: int
    bits: int


@dataclass(frozen=True, slots=True, eq=False)
class Quantised:
    """A network with norms folded, its weights as codes and its activations on grids.

    Attributes:
        graph: the folded network of ``nas.compress.executed_graph``, in float32, biases corrected where the method
            does; it runs any number of images. Its weights are those before rounding.
        weights: by name of the node (``fx.Node.name``) of a convolution or linear layer; layers without stay float.
        activations: by name of the node, placeholder included, that produces the tensor; every reader reads the
            rounded tensor.
        input_shape: (channels, height, width) of one image.
    """

    graph: fx.GraphModule
    weights: Mapping[str, WeightCodes]
    activations: Mapping[str, Grid]
    input_shape: Shape
