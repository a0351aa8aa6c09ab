"""PyTorch eager with channels last in memory: quicker for some networks, slower for others, never equal."""

from __future__ import annotations

import torch
from torch import Tensor

from hardware.device import Device
from hardware.runtimes.contract import Images, Source
from hardware.runtimes.torch_module import TorchRunnable, torch_module
from hardware.runtimes.torch_module import torch_version as version

__all__ = ["load", "version"]


def load(source: Source, device: Device) -> ChannelsLast:
    """The module of the layers, weights and images with channels last. Raises RuntimeRefused like ``torch_module``."""
    module: torch.nn.Module = torch_module(source, device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return ChannelsLast(module, source, device)


class ChannelsLast(TorchRunnable):
    """A module whose images come with channels last."""

    def _to_device(self, images: Images) -> Tensor:
        return super()._to_device(images).to(memory_format=torch.channels_last)
