"""ExecuTorch with XNNPACK kernels, as on phones; lowering a network takes tens of seconds.

Its thread pool has as many threads as this process may use CPUs: the measuring process is pinned to them.
"""

from __future__ import annotations

import warnings
from importlib.metadata import version as distribution_version
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hardware.device import Device
from hardware.runtimes.contract import RuntimeRefused, Source
from hardware.runtimes.torch_module import TorchRunnable, random_images, torch_module

if TYPE_CHECKING:
    from executorch.runtime import Program


def version() -> str:
    """Version of the library."""
    return distribution_version("executorch")


def load(source: Source, device: Device) -> TorchRunnable:
    """The network lowered to XNNPACK for the device's batch and image size.

    Raises: RuntimeRefused: a bare ONNX file, or ExecuTorch cannot lower the network.
    """
    module = torch_module(source, device)
    images = torch.from_numpy(random_images(source, device))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its imports warn of themselves
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower
        from executorch.runtime import Runtime

        try:
            with torch.no_grad():
                program = torch.export.export(module, (images,))
            lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch()
        except (RuntimeError, ValueError, TypeError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise RuntimeRefused(f"{source.name}: ExecuTorch cannot lower it: {reason}") from None
        return TorchRunnable(LoweredNetwork(Runtime.get().load_program(lowered.buffer), lowered.buffer), source, device)


class LoweredNetwork:
    """The method of a program; the runtime keeps neither the program nor its bytes alive."""

    def __init__(self, program: Program, content: bytes) -> None:
        self._content = content
        self._program = program
        self._method = program.load_method("forward")

    def __call__(self, images: Tensor) -> Tensor:
        """(batch, C, H, W) -> the output."""
        output: Tensor = self._method.execute([images])[0]
        return output.clone()  # the next run writes into the same memory
