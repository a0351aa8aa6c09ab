"""AOTInductor: the network compiled ahead of time into a ``.pt2`` package with frozen weights, and run from it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from hardware.device import Device
from hardware.runtimes.contract import RuntimeRefused, Source
from hardware.runtimes.torch_module import TorchRunnable, random_images, torch_module, without_its_own_warnings
from hardware.runtimes.torch_module import torch_version as version

__all__ = ["load", "version"]


def load(source: Source, device: Device) -> TorchRunnable:
    """The package of the module for the device's batch and image size; making it takes tens of seconds.

    Raises: RuntimeRefused: like ``torch_module``, and where the compiler fails.
    """
    module = torch_module(source, device)
    images = torch.from_numpy(random_images(source, device)).to(device.name, next(module.parameters()).dtype)
    with without_its_own_warnings(), tempfile.TemporaryDirectory() as folder:
        from torch._inductor import aoti_compile_and_package, aoti_load_package
        from torch._inductor.exc import InductorError

        try:
            with torch.no_grad():
                program = torch.export.export(module, (images,))
                place = str(Path(folder) / "network.pt2")
                aoti_compile_and_package(program, package_path=place, inductor_configs={"freezing": True})
        except (InductorError, torch._dynamo.exc.TorchDynamoException) as error:
            reason = str(error).strip().splitlines()[0]
            raise RuntimeRefused(f"{source.name}: AOTInductor fails: {reason}") from None
        return TorchRunnable(aoti_load_package(place), source, device)
