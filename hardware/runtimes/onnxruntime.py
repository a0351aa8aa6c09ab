"""ONNX Runtime on the CPU: the deployment runtime."""

from __future__ import annotations

import numpy as np
import onnxruntime

from hardware.device import Device
from hardware.runtimes.contract import Images, RuntimeRefused, Source


def version() -> str:
    """Version of the library."""
    return str(onnxruntime.__version__)


def load(source: Source, device: Device, *, optimise: bool = True) -> OnnxSession:
    """A session with all graph optimisations and no spinning threads.

    Args:
        source: any ONNX model with one float32 image input.
        device: its threads and batch.
        optimise: False runs the graph node by node as written, the reference for the numerics gate.
    Raises: RuntimeRefused: not a readable model, or made for another batch or image size.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = device.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimise else level.ORT_DISABLE_ALL
    model = source.onnx if isinstance(source.onnx, bytes) else str(source.onnx)
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except _LOAD_ERRORS as error:
        raise RuntimeRefused(f"{source.name}: ONNX Runtime cannot load it: {_first_line(error)}") from None
    return OnnxSession(session, source, device)


_errors = onnxruntime.capi.onnxruntime_pybind11_state
_LOAD_ERRORS = (
    _errors.Fail,
    _errors.InvalidArgument,
    _errors.InvalidGraph,
    _errors.InvalidProtobuf,
    _errors.NoSuchFile,
    _errors.NotImplemented,
)


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0]


class OnnxSession:
    """A session with its input bound once."""

    def __init__(self, session: onnxruntime.InferenceSession, source: Source, device: Device) -> None:
        shape = (device.batch, *source.input_shape)
        self._session = session
        self._input = _the_image_input(session, source.name, shape)
        self._outputs = [session.get_outputs()[0].name]
        self._feed = {self._input: np.random.default_rng(0).standard_normal(shape, dtype=np.float32)}

    def run(self) -> None:
        """One inference on the allocated input."""
        self._session.run(self._outputs, self._feed)

    def run_once(self, images: Images) -> Images:
        """The first output for these images."""
        output: Images = self._session.run(self._outputs, {self._input: images})[0]
        return output


def _the_image_input(session: onnxruntime.InferenceSession, name: str, shape: tuple[int, ...]) -> str:
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type != "tensor(float)":
        found = ", ".join(f"{i.name}: {i.type}" for i in inputs) or "none"
        raise RuntimeRefused(f"{name}: inputs are {found}; expected one float32 image input")
    declared = inputs[0].shape
    fits = len(declared) == len(shape) and all(
        want == have or not isinstance(have, int) for want, have in zip(shape, declared, strict=True)
    )
    if not fits:
        raise RuntimeRefused(f"{name}: its input is {declared}, the device asks for {list(shape)} (batch, C, H, W)")
    return str(inputs[0].name)
