"""ncnn on the CPU, one image a call; its files are written from the layers."""

from __future__ import annotations

import tempfile
from pathlib import Path

import ncnn
import numpy as np

from hardware.device import Device
from hardware.folded_network import UncoveredLayer
from hardware.ncnn_graph import ncnn_model
from hardware.runtimes.contract import Images, RuntimeRefused, Source
from search_spaces.layers import LINEAR
from search_spaces.onnx_graph import INPUT_NAME, OUTPUT_NAME


def version() -> str:
    """Version of the library."""
    return str(ncnn.__version__)


def load(source: Source, device: Device) -> NcnnNetwork:
    """The network on so many threads, in float32, with ncnn's packed layouts, Winograd and SGEMM kernels.

    Raises: RuntimeRefused: a bare ONNX file, an operation that we cannot write, or ncnn cannot load it.
    """
    if not source.layers:
        raise RuntimeRefused(f"{source.name}: ncnn cannot run an ONNX file; measure it with runtime onnxruntime")
    try:
        model = ncnn_model(source.layers, source.weights or {}, source.input_shape)
    except UncoveredLayer as error:
        raise RuntimeRefused(f"{source.name}: {error}") from None
    network = ncnn.Net()
    network.opt.num_threads = device.threads
    network.opt.use_vulkan_compute = False
    for storage in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
        setattr(network.opt, storage, False)
    with tempfile.TemporaryDirectory() as folder:
        param, weights = Path(folder) / "network.param", Path(folder) / "network.bin"
        param.write_text(model.param)
        weights.write_bytes(model.weights)
        if network.load_param(str(param)) != 0 or network.load_model(str(weights)) != 0:
            raise RuntimeRefused(f"{source.name}: ncnn cannot load it; an operation is missing in this build")
    return NcnnNetwork(network, source)


class NcnnNetwork:
    """A loaded network with its image in place; every run needs an extractor of its own."""

    def __init__(self, network: ncnn.Net, source: Source) -> None:
        self._network = network
        self._name = source.name
        output = source.layers[-1]
        self._shape = (1, output.channels) if output.op == LINEAR else (1, *output.shape)
        image = np.random.default_rng(0).standard_normal(source.input_shape, dtype=np.float32)
        self._image = ncnn.Mat(image).clone()

    def run(self) -> None:
        """One inference on the allocated input."""
        self._extract(self._image)

    def run_once(self, images: Images) -> Images:
        """The output for these images, one of them."""
        output = np.array(self._extract(ncnn.Mat(np.ascontiguousarray(images[0])).clone()), np.float32)
        return output.reshape(self._shape)

    def _extract(self, image: ncnn.Mat) -> ncnn.Mat:
        extractor = self._network.create_extractor()
        extractor.input(INPUT_NAME, image)
        code, output = extractor.extract(OUTPUT_NAME)
        if code != 0:
            raise RuntimeRefused(f"{self._name}: ncnn fails to run it (code {code})")
        return output
