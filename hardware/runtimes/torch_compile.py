"""``torch.compile`` with the Inductor back-end and frozen weights; loading takes tens of seconds."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hardware.device import Device
from hardware.runtimes.contract import RuntimeRefused, Source
from hardware.runtimes.torch_module import TorchRunnable, torch_module, without_its_own_warnings
from hardware.runtimes.torch_module import torch_version as version

__all__ = ["load", "version"]


def load(source: Source, device: Device) -> CompiledModule:
    """The module compiled for the device's batch and image size.

    Raises: RuntimeRefused: like ``torch_module``, and where the compiler fails.
    """
    module = torch_module(source, device)
    with without_its_own_warnings():
        from torch._inductor import config
        from torch._inductor.exc import InductorError

        with config.patch(freezing=True):
            compiled = CompiledModule(torch.compile(module, dynamic=False), source, device)
            try:
                compiled.run_once(np.zeros((device.batch, *source.input_shape), np.float32))
            except (InductorError, torch._dynamo.exc.TorchDynamoException) as error:
                reason = str(error).strip().splitlines()[0]
                raise RuntimeRefused(f"{source.name}: torch.compile fails: {reason}") from None
    return compiled


class CompiledModule(TorchRunnable):
    """A compiled module; freezing asks for ``no_grad`` and not for inference mode."""

    @torch.no_grad()
    def _forward(self, images: Tensor) -> Tensor:
        return self._network(images)
