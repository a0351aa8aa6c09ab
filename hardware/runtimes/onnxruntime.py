"""ONNX Runtime, the deployment runtime: on the CPU, or on CUDA with the package onnxruntime-gpu."""

from __future__ import annotations

import numpy as np
import onnxruntime

from hardware.device import Device
from hardware.runtimes.contract import Images, RuntimeRefused, Source
from hardware.runtimes.onnx_precision import model_in_precision

CUDA = "CUDAExecutionProvider"


def version() -> str:
    """Version of the library."""
    return str(onnxruntime.__version__)


def load(
    source: Source, device: Device, *, optimise: bool = True, profile_prefix: str = "", optimised_path: str = ""
) -> OnnxSession:
    """A session with all graph optimisations and no spinning threads.

    Args:
        source: any ONNX model with one float32 image input.
        device: its threads, batch and precision.
        optimise: False runs the graph node by node as written, the reference for the numerics gate.
        profile_prefix: path before the name of the profile's file; "" profiles nothing.
        optimised_path: where to write the optimised graph; "" writes none.
    Raises: RuntimeRefused: not a readable model, made for another batch or image size, or no CUDA here.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = device.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimise else level.ORT_DISABLE_ALL
    model = model_in_precision(source, device)
    if profile_prefix:
        options.enable_profiling = True
        options.profile_file_prefix = profile_prefix
    if optimised_path:
        options.optimized_model_filepath = optimised_path
    try:
        session = onnxruntime.InferenceSession(model, options, providers=[_provider(source, device)])
    except _LOAD_ERRORS as error:
        raise RuntimeRefused(f"{source.name}: ONNX Runtime cannot load it: {_first_line(error)}") from None
    return OnnxSession(session, source, device) if device.name == "cpu" else CudaSession(session, source, device)


def _provider(source: Source, device: Device) -> str:
    if device.name == "cpu":
        return "CPUExecutionProvider"
    if CUDA not in onnxruntime.get_available_providers():
        get = "pip uninstall onnxruntime, then pip install 'netwright[onnxruntime-gpu]'"
        raise RuntimeRefused(f"{source.name}: this ONNX Runtime runs on the CPU only; for cuda: {get}")
    return CUDA


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

    def end_profiling(self) -> str:
        """Path of the profile's file; only of a session that was loaded with a prefix."""
        return str(self._session.end_profiling())


class CudaSession(OnnxSession):
    """A session with input and output in the memory of the GPU, so that no copy is timed."""

    def __init__(self, session: onnxruntime.InferenceSession, source: Source, device: Device) -> None:
        if CUDA not in session.get_providers():  # ONNX Runtime falls back to the CPU with a mere warning
            raise RuntimeRefused(f"{source.name}: ONNX Runtime finds no CUDA device, or not its libraries")
        super().__init__(session, source, device)
        self._binding = session.io_binding()
        images = onnxruntime.OrtValue.ortvalue_from_numpy(self._feed[self._input], "cuda", 0)
        self._binding.bind_ortvalue_input(self._input, images)
        self._binding.bind_output(self._outputs[0], "cuda")

    def run(self) -> None:
        """One inference on the allocated input; waits for the GPU."""
        self._session.run_with_iobinding(self._binding)
        self._binding.synchronize_outputs()


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
