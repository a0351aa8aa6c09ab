"""Mixed precision: half-precision arithmetic where a GPU has it, and the scale that keeps gradients from vanishing."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch


class Precision:
    """Of one training on one device.

    Attributes:
        scaler: of losses; does nothing where no half precision needs it.
    """

    def __init__(self, device: torch.device, *, mixed: bool) -> None:
        """Choose.

        Args:
            device: of the training; the CPU always computes in float32.
            mixed: whether half precision is wanted.
        """
        self._device = device
        self._half = _half_type(device) if mixed else None
        self.scaler = torch.amp.GradScaler("cuda", enabled=self._half == torch.float16)

    def autocast(self) -> AbstractContextManager[Any]:
        """Compute in it."""
        return torch.autocast(self._device.type, dtype=self._half or torch.bfloat16, enabled=self._half is not None)


def _half_type(device: torch.device) -> torch.dtype | None:
    if device.type != "cuda":
        return None
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
