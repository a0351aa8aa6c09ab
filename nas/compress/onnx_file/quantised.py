"""A quantised network as an ONNX model that integer kernels run: rounding is written around every operation.

Activations are unsigned bytes with one scale a tensor, weights signed bytes with one scale an output channel and zero
point 0, biases 32-bit integers with the product of both scales. Fewer than 8 bits are clipped while they are bytes, so
that the 8-bit kernel computes with them exactly.
"""

from __future__ import annotations

import numpy as np
import onnx
from torch import fx

from nas.compress.graph import argument, operation
from nas.compress.onnx_file.writer import Writer
from nas.compress.quantise.quantised import Grid, Quantised

_INT32 = 2**31 - 1
_ROUNDED_LOWER = ("relu", "relu6", "hardtanh", "clamp", "clamp_min")
_MOVES = (
    "flatten", "view", "reshape", "_unsafe_view", "permute", "transpose", "t", "squeeze", "unsqueeze", "slice",
    "select", "expand", "max_pool2d", "clone", "contiguous", "alias",
)  # fmt: skip


def write_quantised_onnx(quantised: Quantised, *, batch: int | None = 1) -> onnx.ModelProto:
    """The network with QuantizeLinear and DequantizeLinear around its operations.

    Args:
        quantised: of ``nas.compress.quantise.quantise_network``.
        batch: images per call; None leaves it open.
    Raises: CannotCompress: an operation that cannot be written; the message names its place.
    Source: Jacob et al. 2018, arXiv 1712.05877, section 2 (affine activations, integer bias).
    """
    return QuantisedWriter(quantised, batch).model()


class QuantisedWriter(Writer):
    """Writes integers where the quantised network has them."""

    def __init__(self, quantised: Quantised, batch: int | None) -> None:
        super().__init__(quantised.graph, quantised.input_shape, batch)
        self.quantised = quantised

    def made(self, node: fx.Node) -> None:
        """Round what lies on a grid; a ReLU whose work the rounding does is taken back."""
        grid = self.quantised.activations.get(node.name)
        found = self.names.get(node)
        if grid is None or not isinstance(found, str):
            return
        if operation(node) in _ROUNDED_LOWER and self._rounding_clips(node, grid):
            found = self.take_back(found)
        self.names[node] = self._rounded(node, found, grid)

    def layer_tensors(self, node: fx.Node, *, transposed: bool) -> list[str]:
        """Integers for weight and bias, where the layer has codes."""
        codes = self.quantised.weights.get(node.name)
        if codes is None:
            return super().layer_tensors(node, transposed=transposed)
        base = str(getattr(node.args[1], "target", node.name))
        values, scale = codes.codes.numpy().astype(np.int8), codes.scale.numpy().astype(np.float32)
        axis = 1 if transposed else 0
        inputs = [
            self.constant(f"{base}_codes", values.T if transposed else values),
            self.constant(f"{base}_scale", scale),
            self.constant(f"{base}_zero", np.zeros(len(scale), np.int8)),
        ]
        names = [str(self.step("DequantizeLinear", inputs, f"{base}_rounded", axis=axis))]
        if argument(node, 2, "bias") is not None:
            names.append(self._bias(node, scale))
        return names

    def _bias(self, node: fx.Node, scale: np.ndarray) -> str:
        source, bias = node.args[0], argument(node, 2, "bias")
        grid = self.quantised.activations.get(source.name) if isinstance(source, fx.Node) else None
        if grid is None:
            return self.value(bias)
        base = str(getattr(bias, "target", f"{node.name}_bias"))
        step = scale.astype(np.float64) * grid.scale
        codes = np.clip(np.rint(self.array(bias).astype(np.float64) / step), -_INT32, _INT32).astype(np.int32)
        inputs = [
            self.constant(f"{base}_codes", codes),
            self.constant(f"{base}_scale", step.astype(np.float32)),
            self.constant(f"{base}_zero", np.zeros(len(step), np.int32)),
        ]
        return str(self.step("DequantizeLinear", inputs, f"{base}_rounded", axis=0))

    def _rounding_clips(self, node: fx.Node, grid: Grid) -> bool:
        """Whether the grid begins at the clip's lower bound, and ends below its upper one."""
        source = node.args[0]
        if not isinstance(source, fx.Node) or len(source.users) > 1 or source.name in self.quantised.activations:
            return False
        op = operation(node)
        lower = {"relu": 0, "relu6": 0}.get(op, argument(node, 1, "min_val" if op == "hardtanh" else "min"))
        upper = {"relu": None, "relu6": 6, "clamp_min": None}.get(op, argument(node, 2, "max_val", None))
        if op == "clamp":
            upper = argument(node, 2, "max")
        top = grid.scale * (2**grid.bits - 1 - grid.zero_point)
        return grid.zero_point == 0 and lower == 0 and (upper is None or top <= upper)

    def _rounded(self, node: fx.Node, found: str, grid: Grid) -> str:
        inputs = [
            self.constant(f"{node.name}_step", np.float32(grid.scale)),
            self.constant(f"{node.name}_zero", np.uint8(grid.zero_point)),
        ]
        codes = self.step("QuantizeLinear", [found, *inputs], f"{node.name}_codes")
        if grid.bits < 8 and not self._moved(node, grid):
            bounds = [self.constant("byte", np.uint8(0)), self.constant("byte", np.uint8(2**grid.bits - 1))]
            codes = self.step("Clip", [codes, *bounds], f"{node.name}_clipped")
        return str(self.step("DequantizeLinear", [codes, *inputs], f"{node.name}_rounded"))

    def _moved(self, node: fx.Node, grid: Grid) -> bool:
        """Whether the values come from the same grid, so that none is out of range."""
        source = node.args[0] if node.args else None
        same = isinstance(source, fx.Node) and self.quantised.activations.get(source.name) == grid
        return operation(node) in _MOVES and same
