"""The PyTorch module of a source on a device: what every PyTorch runtime starts from."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from hardware.device import Device
from hardware.runtimes.contract import Images, RuntimeRefused, Source
from search_spaces.arch import Architecture
from search_spaces.build import Network


def torch_version() -> str:
    """Version of the library."""
    return str(torch.__version__)


def torch_module(source: Source, device: Device) -> torch.nn.Module:
    """The module of the layers in evaluation mode, with their weights, on the device, in its precision.

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
    return module.to(device.name, torch.float16 if device.precision == "fp16" else torch.float32)


def random_images(source: Source, device: Device) -> Images:
    """The input that is timed."""
    return np.random.default_rng(0).standard_normal((device.batch, *source.input_shape), dtype=np.float32)


@contextmanager
def without_its_own_warnings() -> Iterator[None]:
    """Keep quiet about what PyTorch's compiler warns itself of."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"torch\.")
        yield


class TorchRunnable:
    """Anything that maps a tensor of images to a tensor, with its input already on the device.

    ``run`` times the network alone; ``run_once`` copies to the device and back.
    """

    def __init__(self, network: Callable[[Tensor], Tensor], source: Source, device: Device) -> None:
        self._network = network
        self._device = torch.device(device.name)
        self._type = torch.float16 if device.precision == "fp16" else torch.float32
        self._images = self._to_device(random_images(source, device))

    def run(self) -> None:
        """One inference on the allocated input; waits for CUDA."""
        self._forward(self._images)
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def run_once(self, images: Images) -> Images:
        """The output for these images."""
        output: Images = self._forward(self._to_device(images)).float().cpu().numpy()
        return output

    def _to_device(self, images: Images) -> Tensor:
        return torch.from_numpy(images).to(self._device, self._type)

    @torch.inference_mode()
    def _forward(self, images: Tensor) -> Tensor:
        return self._network(images)
