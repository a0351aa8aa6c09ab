"""ONNX files of any executed graph, in floating point or in integers, written node by node."""

from nas.compress.onnx_file.quantised import write_quantised_onnx
from nas.compress.onnx_file.writer import write_onnx

__all__ = ["write_onnx", "write_quantised_onnx"]
