"""MNN on the CPU; converts the ONNX model in the process, in milliseconds to seconds."""

from __future__ import annotations

import tempfile
from pathlib import Path

import MNN
import numpy as np

from hardware.device import Device
from hardware.runtimes.contract import Images, RuntimeRefused, Source
from hardware.runtimes.onnx_input import check_image_input


def version() -> str:
    """Version of the library."""
    return str(MNN.version())


def load(source: Source, device: Device) -> MnnModule:
    """The converted model in float32 on so many threads.

    Raises: RuntimeRefused: MNN cannot convert or load it, or it was made for another size.
    """
    import _tools  # the converter of the MNN distribution; its command line would report home

    model = check_image_input(source, device)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = device.batch
    [output] = model.graph.output[:1]
    with tempfile.TemporaryDirectory() as folder:
        onnx_path, path = Path(folder) / "network.onnx", Path(folder) / "network.mnn"
        onnx_path.write_bytes(model.SerializeToString())
        texts = ["mnnconvert", "-f", "ONNX", "--modelFile", str(onnx_path), "--MNNModel", str(path), "--bizCode", "net"]
        _tools.mnnconvert(texts)
        if not path.is_file():
            raise RuntimeRefused(f"{source.name}: MNN cannot convert it; an operator of the model is not supported")
        settings = {"backend": "CPU", "numThread": device.threads, "precision": "high"}
        manager = MNN.nn.create_runtime_manager((settings,))
        names = [model.graph.input[0].name], [output.name]
        module = MNN.nn.load_module_from_file(str(path), *names, runtime_manager=manager)
    return MnnModule(module, source, device)


class MnnModule:
    """A loaded module with its input in place."""

    def __init__(self, module: MNN.nn._Module, source: Source, device: Device) -> None:
        self._module = module
        self._shape = [device.batch, *source.input_shape]
        self._images = self._placed(np.random.default_rng(0).standard_normal(self._shape, dtype=np.float32))

    def run(self) -> None:
        """One inference on the allocated input; reading the output waits for it."""
        self._module.onForward([self._images])[0].read()

    def run_once(self, images: Images) -> Images:
        """The first output for these images."""
        return np.array(self._module.onForward([self._placed(images)])[0].read(), np.float32)

    def _placed(self, images: Images) -> MNN.expr.Var:
        return MNN.expr.const(images, self._shape, MNN.expr.NCHW)
