"""PyTorch eager, on the CPU or on CUDA: what a network costs before any export."""

from __future__ import annotations

from hardware.device import Device
from hardware.runtimes.contract import Source
from hardware.runtimes.torch_module import TorchRunnable, torch_module
from hardware.runtimes.torch_module import torch_version as version

__all__ = ["load", "version"]


def load(source: Source, device: Device) -> TorchRunnable:
    """The module of the layers, contiguous memory. Raises RuntimeRefused like ``torch_module``."""
    return TorchRunnable(torch_module(source, device), source, device)
