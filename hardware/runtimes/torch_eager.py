"""PyTorch eager, on the CPU or on CUDA: what a network costs before any export."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hardware.device import Device
from hardware.runtimes.contract import Images, RuntimeRefused, Source
from search_spaces.arch import Architecture
from search_spaces.build import Network


def version() -> str:
    """Version of the library."""
    return str(torch.__version__)


def load(source: Source, device: Device) -> EagerModule:
    """The module of the layers in evaluation mode, contiguous memory, on the device.

    Raises: RuntimeRefused: a bare ONNX file, or CUDA asked for and absent.
    """
    if not source.layers:
        raise RuntimeRefused(f"{source.name}: PyTorch cannot run an ONNX file; measure it with runtime onnxruntime")
    if device.name == "cuda" and not torch.cuda.is_available():
        raise RuntimeRefused(f"{source.name}: device cuda asked for, but PyTorch finds no CUDA device here")
    torch.set_num_threads(device.threads)
    no_design = Architecture(())  # the layers say it all
    module = Network(source.layers, no_design, 0, source.input_shape[0]).eval()
    weights = {name: torch.from_numpy(np.array(value)) for name, value in (source.weights or {}).items()}
    module.load_state_dict(weights, strict=False)
    return EagerModule(module.to(device.name), source, device)


class EagerModule:
    """A module with its input already on the device."""

    def __init__(self, module: torch.nn.Module, source: Source, device: Device) -> None:
        self._module = module
        self._device = torch.device(device.name)
        shape = (device.batch, *source.input_shape)
        self._images = self._to_device(np.random.default_rng(0).standard_normal(shape, dtype=np.float32))

    def run(self) -> None:
        """One inference on the allocated input; waits for CUDA."""
        self._forward(self._images)
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def run_once(self, images: Images) -> Images:
        """The output for these images."""
        output: Images = self._forward(self._to_device(images)).cpu().numpy()
        return output

    def _to_device(self, images: Images) -> Tensor:
        return torch.from_numpy(images).to(self._device)

    @torch.inference_mode()
    def _forward(self, images: Tensor) -> Tensor:
        output: Tensor = self._module(images)
        return output
