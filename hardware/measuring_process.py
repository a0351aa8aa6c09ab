"""The process that runs the networks: one per device, so that thread pools and settings stay its own.

It reads one JSON object a line from standard input and answers with one a line: "load" a model, run a
"burst", tell the "profile". It ends when its input does, so nothing outlives the process that asked.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO, cast

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from hardware.device import COMMAND, Device
from hardware.models import LayerModel, Model, OnnxFile, model_from_dict
from hardware.numerics import check_numerics
from hardware.priority import Priority
from hardware.runtimes.contract import (
    NumericsMismatch,
    ProfiledRunnable,
    Runnable,
    RuntimeRefused,
    SelfTimed,
    Source,
    import_profiler,
    import_runtime,
)
from hardware.sentinels import RUNS_MS, sentinel_models
from search_spaces.layers import Shape
from search_spaces.onnx_graph import WeightsMismatch, onnx_model
from search_spaces.random_weights import random_weights

WARM_UP_RUNS = 3
WARM_UP_MS = 200.0  # a slow network is warm after fewer runs
LEAST_RUNS = 3
FLOAT_BYTES = 4


class Worker:
    """Loaded networks of one device and the means to time them."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.runtime = import_runtime(device.runtime)
        self.priority = Priority(device.threads, on_cpu=device.name == "cpu")
        self.loaded: list[Runnable | SelfTimed] = []
        self.sentinels: list[Runnable] = []

    def hello(self) -> dict[str, Any]:
        """How timing will be done."""
        mode = "command" if self.device.runtime == COMMAND else self.priority.mode
        return {"mode": mode, "runtime_version": self.runtime.version()}

    def load(self, model: dict[str, Any], profiled: bool = False) -> dict[str, Any]:
        """Load one network and pass it through the numerics gate if its output can be seen.

        What is loaded to be profiled was loaded plainly before, and passed.
        """
        source, working_set = read_source(model_from_dict(model), self.device)
        load = import_profiler(self.device.runtime) if profiled else self.runtime.load
        runnable = load(source, self.device)
        error = None if profiled or isinstance(runnable, SelfTimed) else check_numerics(runnable, source, self.device)
        self.loaded.append(runnable)
        return {"input_shape": source.input_shape, "working_set_bytes": working_set, "numerics_error": error}

    def burst(self, at: int, burst_ms: float, sentinels: bool = False) -> dict[str, Any]:
        """Warm up, then time single runs for ``burst_ms``, three at least; the sentinels right before, if asked."""
        runnable = self.loaded[at]
        if isinstance(runnable, SelfTimed):
            return {"times_ms": [runnable.latency_ms()]}
        with self.priority.burst():
            reading = [float(np.median(self._times_ms(each, RUNS_MS))) for each in self.sentinels if sentinels]
            times_ms = self._times_ms(runnable, burst_ms)
        return {"times_ms": times_ms, "sentinels_ms": reading}

    def load_sentinels(self) -> dict[str, Any]:
        """Load the sentinel networks; ONNX Runtime runs them, whatever the device's runtime."""
        device = Device(threads=self.device.threads)
        load = import_runtime(device.runtime).load
        self.sentinels = [cast("Runnable", load(read_source(model, device)[0], device)) for model in sentinel_models()]
        return {}

    def _times_ms(self, runnable: Runnable, burst_ms: float) -> list[float]:
        run, now_ns = runnable.run, self.priority.now_ns
        times_ns: list[int] = []
        began = now_ns()
        for _ in range(WARM_UP_RUNS):
            run()
            if now_ns() - began > WARM_UP_MS * 1e6:
                break
        before = began = now_ns()
        while len(times_ns) < LEAST_RUNS or before - began < burst_ms * 1e6:
            run()
            after = now_ns()
            times_ns.append(after - before)
            before = after
        return [t / 1e6 for t in times_ns]

    def profile(self, at: int) -> dict[str, Any]:
        """End the profile of a network that was loaded for it, and return it."""
        return cast("ProfiledRunnable", self.loaded[at]).finish().to_dict()


_WORK: dict[str, Callable[..., dict[str, Any]]] = {
    "load": Worker.load,
    "burst": Worker.burst,
    "profile": Worker.profile,
    "load sentinels": Worker.load_sentinels,
}


def read_source(model: Model, device: Device) -> tuple[Source, float]:
    """The model as runtimes receive it, and its weights plus largest activation in bytes."""
    if isinstance(model, LayerModel):
        return _source_of_layers(model, device)
    return _source_of_file(model, device)


def _source_of_layers(model: LayerModel, device: Device) -> tuple[Source, float]:
    weights = random_weights(model.layers, model.seed) if model.weights is None else _weights_of_file(model.weights)
    try:
        onnx_bytes = onnx_model(model.layers, weights, model.input_shape, batch=device.batch).SerializeToString()
    except WeightsMismatch as error:
        raise RuntimeRefused(f"{model.weights}: {error}") from None
    source = Source(model.name, model.input_shape, onnx_bytes, model.layers, weights)
    largest = max(math.prod(layer.shape) for layer in model.layers)
    params = sum(layer.weight_count for layer in model.layers)
    return source, FLOAT_BYTES * float(params + device.batch * largest)


def _weights_of_file(path: Path) -> dict[str, NDArray[np.float32]]:
    try:
        return dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise RuntimeRefused(f"{path}: not a readable safetensors file: {str(error).splitlines()[0]}") from None


def _source_of_file(model: OnnxFile, device: Device) -> tuple[Source, float]:
    path = Path(model.path)
    if not path.is_file():
        raise RuntimeRefused(f"{path}: no such file, expected an ONNX model")
    try:
        graph = onnx.shape_inference.infer_shapes(onnx.load(path, load_external_data=False)).graph
    except (onnx.shape_inference.InferenceError, ValueError, DecodeError) as error:
        raise RuntimeRefused(f"{path}: not a readable ONNX model: {str(error).splitlines()[0]}") from None
    if not graph.node:
        raise RuntimeRefused(f"{path}: not an ONNX model: it holds no operation")
    shape = model.input_shape or _declared_shape(graph, path)
    weights = sum(math.prod(tensor.dims) for tensor in graph.initializer)
    maps = [math.prod(_dimensions(value, device.batch)) for value in graph.value_info]
    largest = max([*maps, device.batch * math.prod(shape)])
    return Source(model.name, shape, path), FLOAT_BYTES * float(weights + largest)


def _declared_shape(graph: onnx.GraphProto, path: Path) -> Shape:
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    sizes = _dimensions(inputs[0], 1) if inputs else []
    if len(sizes) != 4 or min(sizes[1:]) < 1:
        raise RuntimeRefused(f"{path}: its input is {sizes}, expected (batch, channels, height, width) of known size")
    return sizes[1], sizes[2], sizes[3]


def _dimensions(value: onnx.ValueInfoProto, batch: int) -> list[int]:
    sizes = [d.dim_value for d in value.type.tensor_type.shape.dim]
    return [sizes[0] or batch, *sizes[1:]] if sizes else []


def serve(commands: TextIO, answers: TextIO) -> None:
    """Answer commands until there are no more; the first one names the device."""
    worker: Worker | None = None
    for line in commands:
        command = json.loads(line)
        do = command.pop("do")
        try:
            if worker is None:
                worker = Worker(Device.from_dict(command["device"]))
                answer = worker.hello()
            else:
                answer = _WORK[do](worker, **command)
        except (RuntimeRefused, NumericsMismatch) as error:
            answer = {"error": type(error).__name__, "message": str(error)}
        print(json.dumps(answer), file=answers, flush=True)


def main() -> None:
    """Serve standard input and output."""
    pipe = os.fdopen(os.dup(1), "w")  # libraries that print must not disturb the protocol
    os.dup2(2, 1)
    serve(sys.stdin, pipe)
