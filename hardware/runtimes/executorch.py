"""ExecuTorch with XNNPACK kernels, as on phones; lowering a network takes tens of seconds.

Its thread pool has as many threads as this process may use CPUs: the measuring process is pinned to them.
"""

from __future__ import annotations

from importlib.metadata import version as distribution_version

import torch
from torch import Tensor

from hardware.device import Device
from hardware.runtimes.contract import RuntimeRefused, Source
from hardware.runtimes.torch_module import TorchRunnable, random_images, torch_module, without_its_own_warnings


def version() -> str:
    """Version of the library."""
    return distribution_version("executorch")


def load(source: Source, device: Device) -> TorchRunnable:
    """The network lowered to XNNPACK for the device's batch and image size.

    Raises: RuntimeRefused: a bare ONNX file, or ExecuTorch cannot lower the network.
    """
    module = torch_module(source, device)
    images = torch.from_numpy(random_images(source, device))
    with without_its_own_warnings():
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
        method = Runtime.get().load_program(lowered.buffer).load_method("forward")

    def forward(images: Tensor) -> Tensor:
        output: Tensor = method.execute([images])[0]
        return output

    return TorchRunnable(forward, source, device)
