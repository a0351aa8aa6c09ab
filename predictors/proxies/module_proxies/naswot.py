"""NASWOT: how differently the network's activations switch from image to image."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from predictors.proxies.module_proxies.specimen import specimen

_SWITCHES = (
    "relu",
    "leaky_relu",
    "prelu",
    "_prelu_kernel",
    "rrelu",
    "rrelu_with_noise",
    "elu",
    "gelu",
    "silu",
    "mish",
    "hardswish",
)
_SWITCHES_AT = {"hardtanh": 1, "threshold": 1}  # rectifiers if that argument is 0, as in ReLU6
_EXACT_FLOAT32 = 1 << 24


def naswot(
    module: nn.Module, images: Tensor, labels: Tensor | None = None, *, seed: int = 0, device: str = "cpu"
) -> float:
    """Logarithm of the determinant of the kernel of activation codes.

        score = ln |K|,    K_ij = number of activations - Hamming distance of the codes of images i and j

    The code of an image has one bit for each input of a rectifier: whether it is above 0. Rectifiers are found
    while the module runs, be they modules or functions.

    Args:
        module: (N, C, H, W) -> (N, ...); its weights count as they are.
        images: (N, C, H, W) float32, N >= 2, no two the same.
        labels: ignored.
        seed: of randomness inside the module, if there is any.
        device: where to compute.
    Returns: nats; higher is better. Grows with N and, by N a factor, with the logarithm of the activations.
    Raises: ProxyFailed: the module does not fit or has no rectifier; two images switch everything alike.
    Source: Mellor et al. 2021, arXiv 2006.04647.
    Deviations: beside ReLU and ReLU6 counts the smooth ones (GELU, SiLU, hard swish, Mish, ELU), by the sign of
        their input; sigmoid, tanh and clamp do not count.
    """
    with specimen("naswot", module, images, labels, seed=seed, device=device) as trial:
        if len(trial.images) < 2:
            raise trial.failed("images: 1, expected at least 2 to tell apart")
        codes = _Codes(len(trial.images))
        with torch.no_grad(), codes:
            output = trial.forward(trial.images)
        if codes.activations == 0:
            raise trial.failed(f"no rectifier ran, expected one of {', '.join(_SWITCHES)}")
        if not output.isfinite().all():
            raise trial.failed(f"the output is not finite; {trial.trouble()}")
        kernel = codes.kernel.cpu()
        alike = (kernel - torch.diag(kernel.diag())).argmax().item()
        i, j = divmod(int(alike), len(kernel))
        if kernel[i, j] == codes.activations:
            raise trial.failed(
                f"images {i} and {j} switch all {codes.activations} activations alike, so that |K| is 0; "
                f"{trial.trouble()}"
            )
        eigenvalues = torch.linalg.eigvalsh(kernel)
        if eigenvalues[0] <= len(kernel) * torch.finfo(torch.float64).eps * eigenvalues[-1]:
            raise trial.failed("the kernel is singular, expected codes that differ; take fewer images")
        return float(eigenvalues.log().sum())


class _Codes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the kernel over the rectifiers that run while it is active."""

    def __init__(self, images: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.images = images
        self.activations = 0
        self.kernel = torch.zeros(images, images, dtype=torch.float64)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__.removesuffix("_")
        if _is_rectifier(name, args):
            self._add(args[0])
        return func(*args, **(kwargs or {}))

    def _add(self, before: Tensor) -> None:
        if before.shape[0] != self.images:  # not one row an image: tokens folded into the batch
            if before.numel() % self.images:
                return
            before = before.reshape(self.images, -1)
        on = (before.flatten(1) > 0).to(torch.float32 if before[0].numel() < _EXACT_FLOAT32 else torch.float64)
        both = (on @ on.T).double()
        count = both.diag()
        size = on.shape[1]
        self.kernel = self.kernel.to(both.device) + (size - count[:, None] - count[None, :] + 2 * both)
        self.activations += size


def _is_rectifier(name: str, args: tuple[Any, ...]) -> bool:
    at = _SWITCHES_AT.get(name, len(args))
    return name in _SWITCHES or (at < len(args) and args[at] == 0)
