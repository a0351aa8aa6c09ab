"""OpenVINO on Intel-compatible CPUs, and on Intel GPUs where there is one; reads the ONNX model."""

from __future__ import annotations

import numpy as np
import openvino

from hardware.device import Device
from hardware.runtimes.contract import Images, RuntimeRefused, Source
from hardware.runtimes.onnx_input import check_image_input
from hardware.runtimes.onnx_precision import model_in_precision


def version() -> str:
    """Version of the library."""
    return str(openvino.__version__)


def load(source: Source, device: Device) -> OpenvinoRequest:
    """The model compiled for the least latency of one call at a time.

    Raises: RuntimeRefused: OpenVINO cannot read or compile it, it was made for another size, or there is no GPU.
    """
    check_image_input(source, device)
    core = openvino.Core()
    target = device.name.upper()
    if target not in (name.split(".")[0] for name in core.available_devices):
        found = ", ".join(core.available_devices)
        raise RuntimeRefused(f"{source.name}: OpenVINO finds no {target} here, only {found}")
    try:
        network = core.read_model(model_in_precision(source, device))
        network.reshape([device.batch, *source.input_shape])
        compiled = core.compile_model(network, target, _settings(device))
    except RuntimeError as error:
        raise RuntimeRefused(f"{source.name}: OpenVINO cannot run it: {_reason(error)}") from None
    return OpenvinoRequest(compiled.create_infer_request(), source, device)


def _settings(device: Device) -> dict[str, object]:
    """One stream; floats as asked for, since the default on some CPUs and on GPUs is half precision."""
    settings: dict[str, object] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f16" if device.precision == "fp16" else "f32",
    }
    if device.name == "cpu":  # the measuring process pins itself
        settings |= {"INFERENCE_NUM_THREADS": device.threads, "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False}
    return settings


def _reason(error: RuntimeError) -> str:
    """The line that says why; the first ones name places in OpenVINO's source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith(("Exception from", "Check '"))]
    return (said or lines or ["no reason given"])[0]


class OpenvinoRequest:
    """A compiled network with its input in place."""

    def __init__(self, request: openvino.InferRequest, source: Source, device: Device) -> None:
        self._request = request
        self._images = np.random.default_rng(0).standard_normal((device.batch, *source.input_shape), dtype=np.float32)
        request.set_input_tensor(openvino.Tensor(self._images, shared_memory=True))

    def run(self) -> None:
        """One inference on the allocated input."""
        self._request.infer()

    def run_once(self, images: Images) -> Images:
        """The first output for these images."""
        self._images[...] = images
        self._request.infer()
        output: Images = np.array(self._request.get_output_tensor(0).data, np.float32)
        return output
