"""The table of operations: how each ATen operation is written as ONNX."""

from __future__ import annotations

from nas.compress.onnx_file.layers import LAYER_RULES
from nas.compress.onnx_file.pointwise import POINTWISE_RULES
from nas.compress.onnx_file.shapes import SHAPE_RULES
from nas.compress.onnx_file.writer import Rule

RULES: dict[str, Rule] = {**POINTWISE_RULES, **LAYER_RULES, **SHAPE_RULES}
