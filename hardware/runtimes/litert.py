"""LiteRT (TensorFlow Lite) on the CPU with its XNNPACK kernels; the flatbuffer is written from the layers."""

from __future__ import annotations

from importlib.metadata import version as distribution_version

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from hardware.device import Device
from hardware.folded_network import UncoveredLayer
from hardware.runtimes.contract import Images, RuntimeRefused, Source
from hardware.tflite_graph import tflite_model


def version() -> str:
    """Version of the library."""
    return distribution_version("ai-edge-litert")


def load(source: Source, device: Device) -> LitertInterpreter:
    """The network in an interpreter on so many threads.

    Raises: RuntimeRefused: a bare ONNX file, an operation that we cannot write, or LiteRT cannot prepare it.
    """
    if not source.layers:
        raise RuntimeRefused(f"{source.name}: LiteRT cannot run an ONNX file; measure it with runtime onnxruntime")
    try:
        model = tflite_model(source.layers, source.weights or {}, source.input_shape, batch=device.batch)
    except UncoveredLayer as error:
        raise RuntimeRefused(f"{source.name}: {error}") from None
    try:
        interpreter = Interpreter(model_content=model, num_threads=device.threads)
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise RuntimeRefused(f"{source.name}: LiteRT cannot run it: {reason}") from None
    return LitertInterpreter(interpreter, source, device)


class LitertInterpreter:
    """An interpreter with its input, (batch, H, W, C), in place."""

    def __init__(self, interpreter: Interpreter, source: Source, device: Device) -> None:
        self._interpreter = interpreter
        self._input = interpreter.get_input_details()[0]["index"]
        self._output = interpreter.get_output_details()[0]["index"]
        shape = (device.batch, *source.input_shape)
        self._place(np.random.default_rng(0).standard_normal(shape, dtype=np.float32))

    def run(self) -> None:
        """One inference on the allocated input."""
        self._interpreter.invoke()

    def run_once(self, images: Images) -> Images:
        """The output for these images, channels first again."""
        self._place(images)
        self._interpreter.invoke()
        output: Images = self._interpreter.get_tensor(self._output)
        return output.transpose(0, 3, 1, 2) if output.ndim == 4 else output

    def _place(self, images: Images) -> None:
        self._interpreter.set_tensor(self._input, np.ascontiguousarray(images.transpose(0, 2, 3, 1)))
