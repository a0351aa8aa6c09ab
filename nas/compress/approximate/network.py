"""A network whose convolutions are approximated under a budget of work, fitted in depth order to what it computed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nas.compress.approximate.choice import candidates, choose
from nas.compress.approximate.decompose import Pair, pair_of
from nas.compress.approximate.replace import replaced
from nas.compress.approximate.settings import ApproximateSettings
from nas.compress.errors import CannotCompress
from nas.compress.groups import Coupling
from nas.compress.sliced_cost import SlicedCost
from search_spaces.layers import Shape

_BATCH = 64
_MOST_ROWS = 8192  # positions of maps that one refit looks at


@dataclass(frozen=True, slots=True, eq=False)
class Approximation:
    """What came out.

    Attributes:
        network: a new module in the mode of the one given.
        choices: group size or rank by dotted path of a replaced convolution.
        energies: kept share of each one's energy, before the refit.
        macs_before, macs_after: multiply-accumulates of one image.
    """

    network: nn.Module
    choices: Mapping[str, int]
    energies: Mapping[str, float]
    macs_before: int
    macs_after: int


def approximate(
    model: nn.Module, input_shape: Shape, *, settings: ApproximateSettings | None = None, images: Tensor | None = None
) -> Approximation:
    """Replace convolutions until the network keeps its budget, and fit what replaces them.

    Norms must be recalibrated afterwards and the network fine-tuned, as published.

    Args:
        model: (N, C, H, W) float32 -> one tensor, trained; not changed.
        input_shape: (channels, height, width) of one image.
        settings: see there.
        images: (N, C, H, W) float32, normalised, without labels, for the refit; without them there is none.
    Raises: BudgetUnreachable, Untraceable, CannotCompress.
    Source: arXiv 1807.11254. Deviations: group sizes come from one threshold of kept energy; the 1 x 1 weights are
        refitted to the outputs of the whole network with inputs of the approximated one, layer by layer.
    """
    settings = settings or ApproximateSettings()
    choices = choose(model, input_shape, settings.method, settings.macs, settings.least_work)
    weights = {path: model.get_submodule(path).weight for path in choices}
    pairs: dict[str, Pair] = {
        path: pair_of(weights[path], settings.method, size)  # type: ignore[arg-type]
        for path, size in choices.items()
    }
    result = replaced(model, pairs)
    if settings.refit and images is not None:
        _check(images, input_shape)
        _refit_(result, model, list(pairs), images, settings.ridge)
    before, after = (SlicedCost(each, Coupling({}, {}, input_shape)).macs({}) for each in (model, result))
    return Approximation(result, choices, {path: pair.energy for path, pair in pairs.items()}, before, after)


def approximable(model: nn.Module, input_shape: Shape, method: str = "groups") -> list[str]:
    """Paths of convolutions that ``approximate`` may replace."""
    return [each.name for each in candidates(model, input_shape, method)]


def _check(images: Tensor, input_shape: Shape) -> None:
    if images.ndim != 4 or tuple(images.shape[1:]) != tuple(input_shape) or not images.is_floating_point():
        raise CannotCompress(
            f"approximate: images of shape {tuple(images.shape)} and type {images.dtype}, expected float32 (N, "
            f"{', '.join(map(str, input_shape))})"
        )
    if not bool(torch.isfinite(images).all()):
        raise CannotCompress("approximate: the images hold NaN or infinite values; clean them")


def _refit_(result: nn.Module, model: nn.Module, paths: list[str], images: Tensor, ridge: float) -> None:
    """Fit each 1 x 1 in order: min |D Z - Y|^2 + lambda |D - D0|^2, Y of the whole network, Z of the approximated one.

    The closed form pulls towards the decomposition D0, so that inputs that never vary keep its weights.
    """
    whole, small = copy.deepcopy(model).eval(), result
    training = small.training
    small.eval()
    device = next(small.parameters()).device
    rows = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for path in paths:
            pair = small.get_submodule(path)
            wanted = _outputs(whole, whole.get_submodule(path), images, device, rows.manual_seed(0))
            first, second = pair.get_submodule("0"), pair.get_submodule("1")
            inputs = _outputs(small, first, images, device, rows.manual_seed(0))
            assert isinstance(second, nn.Conv2d)
            bias = second.bias if second.bias is not None else torch.zeros(1, device=device)
            start = second.weight.flatten(1).double()
            rest = (wanted - bias.double()) - inputs @ start.T
            gram = inputs.T @ inputs
            gram.diagonal().add_(ridge * float(gram.diagonal().mean()) + 1e-12)
            step = torch.linalg.solve(gram, inputs.T @ rest).T
            second.weight.copy_((start + step).reshape(second.weight.shape))
    small.train(training)


def _outputs(
    network: nn.Module, module: nn.Module, images: Tensor, device: torch.device, generator: torch.Generator
) -> Tensor:
    """(rows, channels) float64: what a module makes, at positions drawn evenly; equal seeds draw equal positions."""
    found: list[Tensor] = []
    share = max(1, _MOST_ROWS * _BATCH // max(len(images), 1))

    def keep(_: nn.Module, __: object, output: Tensor) -> None:
        flat = output.movedim(1, -1).reshape(-1, output.shape[1])
        drawn = torch.randperm(len(flat), generator=generator)[:share]
        found.append(flat[drawn.to(flat.device)].double())

    handle: Callable[[], None] = module.register_forward_hook(keep).remove
    try:
        for start in range(0, len(images), _BATCH):
            network(images[start : start + _BATCH].to(device))
    finally:
        handle()
    return torch.cat(found)
