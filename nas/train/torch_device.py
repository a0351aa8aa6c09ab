"""Where a training computes: the names that are accepted, checked before anything is trained."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_NAME = re.compile(r"cpu|cuda(?::(?P<index>[0-9]{1,4}))?")


class InvalidTorchDevice(ValueError):
    """No such device, or not on this machine."""


def check_torch_device(device: str | torch.device, where: str = "train_device") -> str:
    """Check the name of a device that PyTorch is to compute on.

    Args:
        device: "cpu", "cuda" or "cuda:N", or PyTorch's own object.
        where: how the message calls the setting.
    Returns: the name.
    Raises: InvalidTorchDevice: another name, or a CUDA device that this machine does not have.
    """
    name = str(device)
    match = _NAME.fullmatch(name)
    if match is None:
        raise InvalidTorchDevice(f"{where}={name!r}, expected cpu, cuda or cuda:N")
    if name == "cpu":
        return name
    import torch

    if not torch.cuda.is_available():
        raise InvalidTorchDevice(f"{where}={name!r}: PyTorch {torch.__version__} finds no CUDA device here; use cpu")
    count = torch.cuda.device_count()
    if int(match["index"] or 0) >= count:
        raise InvalidTorchDevice(f"{where}={name!r}: this machine has {count}, expected cuda:0 to cuda:{count - 1}")
    return name
