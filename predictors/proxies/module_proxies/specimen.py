"""A private copy of the user's module to experiment on; the module itself is never run nor touched."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.parameter import UninitializedParameter

from predictors.proxies.failure import ProxyFailed

NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, nn.LocalResponseNorm)
WEIGHT_LAYERS = (_ConvNd, nn.Linear)
_USER_ERRORS = (RuntimeError, ValueError, TypeError, IndexError)  # what torch raises on shapes that do not fit
_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


@dataclass
class Specimen:
    """A copy in training mode without dropout, all of whose parameters take gradients, and a batch of images.

    Attributes:
        proxy: name that starts every error.
        module: the copy; yours to change.
        images: (N, C, H, W) float on the device of the module.
        labels: (N,) int64 or None: drawn when first needed.
        generator: on the CPU, of those labels.
    """

    proxy: str
    module: nn.Module
    images: Tensor
    labels: Tensor | None
    generator: torch.Generator
    _running: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name, part in self.module.named_modules():
            part.register_forward_pre_hook(lambda _m, _i, name=name: self._running.append(name))
            part.register_forward_hook(lambda _m, _i, _o: self._leave())

    def _leave(self) -> None:
        self._running.pop()

    def failed(self, message: str) -> ProxyFailed:
        """The error to raise."""
        return ProxyFailed(f"{self.proxy}: {message}")

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> what the module returns, a floating-point tensor (N, ...); raises ProxyFailed."""
        self._running.clear()
        try:
            output = self.module(images)
        except _USER_ERRORS as error:
            shape = tuple(images.shape)
            raise self.failed(f"{self._here()} fails on images {shape}: {_first_line(error)}") from error
        if not isinstance(output, Tensor):
            raise self.failed(f"the module returns {type(output).__name__}, expected a tensor of logits; wrap it")
        if output.dim() < 2 or len(output) != len(images) or not output.is_floating_point():
            got = f"{output.dtype} {tuple(output.shape)}"
            raise self.failed(f"the module returns {got}, expected floating-point logits ({len(images)}, ...)")
        return output

    def _here(self) -> str:
        name = self._running[-1] if self._running else ""
        return self.title(name)

    def title(self, name: str) -> str:
        """Name of a submodule with its class, for messages."""
        part = self.module.get_submodule(name)
        return f"{name} ({type(part).__name__})" if name else f"the module ({type(part).__name__})"

    def loss(self) -> Tensor:
        """Mean cross-entropy of the batch; random labels if none were given."""
        logits = self.forward(self.images)
        if logits.dim() != 2 or logits.shape[1] < 2:
            raise self.failed(f"logits {tuple(logits.shape)}, expected (N, classes) with at least 2 classes")
        if self.labels is None:
            drawn = torch.randint(logits.shape[1], (len(logits),), generator=self.generator)
            self.labels = drawn.to(logits.device)
        if int(self.labels.max()) >= logits.shape[1] or int(self.labels.min()) < 0:
            span = f"{int(self.labels.min())}..{int(self.labels.max())}"
            raise self.failed(f"labels {span}, expected 0..{logits.shape[1] - 1} for logits {tuple(logits.shape)}")
        return F.cross_entropy(logits, self.labels)

    def weights(self) -> dict[str, nn.Parameter]:
        """What multiplies: weights of convolutions, linear layers, attention and the user's own matrices.

        Not counted: biases, norms, embedding tables, vectors, and what is broadcast over the images (a first
        dimension of 1, such as class tokens and position embeddings). Shared weights count once.
        """
        found = {
            f"{prefix}.{name}" if prefix else name: parameter
            for prefix, owner in self.module.named_modules()
            for name, parameter in owner.named_parameters(recurse=False)
            if _multiplies(owner, parameter)
        }
        unique = {id(parameter): (name, parameter) for name, parameter in reversed(found.items())}
        if not unique:
            raise self.failed("the module has no convolution, linear layer or other matrix of weights to score")
        return dict(reversed(unique.values()))

    def gradients(
        self, value: Tensor, inputs: Sequence[Tensor], *, create_graph: bool = False, retain_graph: bool | None = None
    ) -> tuple[Tensor, ...]:
        """Differentiate a scalar by the inputs, zeros where there is no path; raises ProxyFailed."""
        try:
            return torch.autograd.grad(
                value,
                inputs,
                retain_graph=retain_graph,
                create_graph=create_graph,
                allow_unused=True,
                materialize_grads=True,
            )
        except RuntimeError as error:
            raise self.failed(f"the module cannot be differentiated: {_first_line(error)}") from error

    def loss_gradients(self, named: dict[str, nn.Parameter]) -> tuple[Tensor, ...]:
        """Gradients of the loss, in order; raises ProxyFailed unless finite and not all zero."""
        gradients = self.gradients(self.loss(), list(named.values()))
        self.checked_gradients(named, gradients)
        return gradients

    def trouble(self, images: Tensor | None = None) -> str:
        """Name the first layer in the forward pass whose output is not finite, or zero all over."""
        seen: list[str] = []

        def look(name: str, output: object) -> None:
            if isinstance(output, Tensor) and output.is_floating_point() and not seen:
                if not output.isfinite().all():
                    seen.append(f"first layer whose output is not finite: {self.title(name)}")
                elif not output.any():
                    seen.append(f"first layer whose output is zero everywhere: {self.title(name)}")

        handles = [
            part.register_forward_hook(lambda _m, _i, output, name=name: look(name, output))
            for name, part in self.module.named_modules()
        ]
        with torch.no_grad():
            self.forward(self.images if images is None else images)
        for handle in handles:
            handle.remove()
        return seen[0] if seen else "every layer's output is finite and alive; the trouble is on the way back"

    def checked_gradients(self, named: dict[str, nn.Parameter], gradients: Sequence[Tensor]) -> None:
        """Raise ProxyFailed unless all gradients are finite and one of them is not zero."""
        for name, gradient in zip(named, gradients, strict=True):
            if not gradient.isfinite().all():
                raise self.failed(f"the gradient of {name} is not finite; {self.trouble()}")
        if not any(bool(gradient.any()) for gradient in gradients):
            raise self.failed(f"dead network: the gradients of all {len(named)} weights are zero; {self.trouble()}")


@contextmanager
def specimen(
    proxy: str, module: nn.Module, images: Tensor, labels: Tensor | None, *, seed: int, device: str
) -> Iterator[Specimen]:
    """Lend a copy of the module; the global random state, gradient mode and autocast are restored afterwards.

    Args:
        proxy: name that starts every error.
        module: any module (N, C, H, W) -> (N, ...); its weights count as they are. Its own hooks do not run,
            except those of ``torch.nn.utils`` that make a weight.
        images: (N, C, H, W) floating point, finite, N >= 1.
        labels: (N,) integer classes, or None for random ones.
        seed: of random labels, and of randomness inside the module; dropout is off.
        device: where to compute.
    Raises: ProxyFailed.
    """
    target = _device(proxy, device)
    _check_batch(proxy, images, labels)
    seeded = [] if target.type == "cpu" else [target.index or 0]
    kind = "cuda" if target.type == "cpu" else target.type
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast(target.type, enabled=False),
        torch.random.fork_rng(seeded, device_type=kind),
        sdpa_kernel(SDPBackend.MATH),  # the only attention with second derivatives
    ):
        torch.manual_seed(seed)
        batch = images.detach().clone().to(target, torch.float32)
        classes = None if labels is None else labels.detach().clone().to(target, torch.int64)
        body = _copy(proxy, module, target)
        yield Specimen(proxy, body, batch, classes, torch.Generator().manual_seed(seed))


def _device(proxy: str, device: str) -> torch.device:
    try:
        target = torch.device(device)
        torch.zeros(1, device=target).item()
    except (RuntimeError, AssertionError) as error:
        raise ProxyFailed(f"{proxy}: device={device!r} cannot be used: {_first_line(error)}") from error
    return target


def _check_batch(proxy: str, images: Tensor, labels: Tensor | None) -> None:
    if images.dim() != 4 or not images.is_floating_point() or images.numel() == 0:
        got = f"{images.dtype} {tuple(images.shape)}"
        raise ProxyFailed(f"{proxy}: images are {got}, expected floating point (N, C, H, W), none of them 0")
    if not images.isfinite().all():
        raise ProxyFailed(f"{proxy}: images contain NaN or infinity, expected finite values")
    if labels is None:
        return
    if labels.shape != images.shape[:1] or labels.is_floating_point() or labels.is_complex():
        got = f"{labels.dtype} {tuple(labels.shape)}"
        raise ProxyFailed(f"{proxy}: labels are {got}, expected integer classes ({len(images)},)")


def _copy(proxy: str, module: nn.Module, device: torch.device) -> nn.Module:
    for name, parameter in module.named_parameters():
        if isinstance(parameter, UninitializedParameter):
            raise ProxyFailed(f"{proxy}: {name} has no shape yet; run the module once before scoring it")
    try:
        body = copy.deepcopy(module)
    except (RuntimeError, TypeError) as error:
        raise ProxyFailed(f"{proxy}: the module cannot be copied: {_first_line(error)}") from error
    body.to(device, torch.float32).train()
    for part in body.modules():
        _drop_hooks(part)
        if isinstance(part, _DropoutNd):
            part.eval()
        elif isinstance(part, nn.MultiheadAttention):
            part.dropout = 0.0
    for parameter in body.parameters():
        if parameter.is_floating_point():
            parameter.requires_grad_(True)
    return body


def _drop_hooks(part: nn.Module) -> None:
    for kind in _HOOKS:
        hooks = getattr(part, kind)
        for key, hook in list(hooks.items()):
            if not type(hook).__module__.startswith("torch.nn.utils"):
                del hooks[key]


def _multiplies(owner: nn.Module, parameter: nn.Parameter) -> bool:
    if isinstance(owner, WEIGHT_LAYERS):
        return parameter.dim() >= 2
    if isinstance(owner, (*NORMS, nn.Embedding, nn.EmbeddingBag)) or not parameter.is_floating_point():
        return False
    return sum(size > 1 for size in parameter.shape) >= 2 and parameter.shape[0] > 1


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
