"""Removing coupled channels: by zeros in place, or physically, in a new and smaller module."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from itertools import chain

import torch
from torch import Tensor, nn

from nas.compress.errors import CannotCompress
from nas.compress.groups import ChannelGroup, Coupling
from search_spaces.build import LayerModule
from search_spaces.layers import Shape

Keep = Mapping[str, Tensor]  # name of a group -> bool (units,)

_TOLERANCE = 1e-4
_IMAGES = 2


def mask_(model: nn.Module, coupling: Coupling, keep: Keep) -> None:
    """Set everything that belongs to removed channels to 0, in place: what makes, follows and reads them.

    Because what reads them is 0 as well, the network computes what the sliced one does.

    Args:
        model: that the coupling is of; running statistics of norms are left as they are.
        coupling: of ``coupled_channels``.
        keep: by name of the group, bool (units,); groups not named are kept whole.
    Raises: CannotCompress.
    """
    _check(model, coupling, keep)
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, kept in keep.items():
            gone = ~kept.cpu().bool()
            for member in coupling.groups[name].members:
                if member.tensor in parameters and bool(gone.any()):
                    tensor = parameters[member.tensor]
                    at = torch.from_numpy(member.indices)[gone].reshape(-1).to(tensor.device)
                    tensor.index_fill_(member.dim, at, 0.0)


def sliced(model: nn.Module, coupling: Coupling, keep: Keep) -> nn.Module:
    """A new, smaller module without the removed channels; it is run beside the masked one to see that it is equal.

    Args:
        model: not changed; the new module is on its device and in its mode.
        coupling: of ``coupled_channels``.
        keep: by name of the group, bool (units,), at least one True; groups not named are kept whole.
    Raises: CannotCompress: the masks do not fit, or the code of a module is written for the old sizes.
    """
    _check(model, coupling, keep)
    masked = copy.deepcopy(model)
    mask_(masked, coupling, keep)
    result = copy.deepcopy(model)
    _cut(result, coupling, keep)
    _verify(masked, result, coupling.input_shape)
    return result


def cannot_be_cut(model: nn.Module, coupling: Coupling) -> dict[str, str]:
    """Groups that cannot be cut although the graph allows it, with the reason; every group is tried on a copy."""
    try:
        sliced(model, coupling, {name: _trial(group) for name, group in coupling.groups.items()})
    except CannotCompress:
        refused = {}
        for name, group in coupling.groups.items():
            try:
                sliced(model, coupling, {name: _trial(group)})
            except CannotCompress as error:
                refused[name] = str(error)
        return refused
    return {}


def _trial(group: ChannelGroup) -> Tensor:
    """The first unit of every two is kept, so that an even number of channels stays even less often by luck."""
    return torch.arange(group.size) % 2 == 0


def _check(model: nn.Module, coupling: Coupling, keep: Keep) -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    for name, kept in keep.items():
        if name not in coupling.groups:
            raise CannotCompress(
                f"channels of {name!r}: no such group, expected one of {', '.join(coupling.groups) or 'none'}"
            )
        group = coupling.groups[name]
        if tuple(kept.shape) != (group.size,) or not bool(kept.any()):
            raise CannotCompress(
                f"channels of {name!r}: a mask of shape {tuple(kept.shape)} that keeps {int(kept.sum())}, expected "
                f"({group.size},) with at least one kept"
            )
        for member in group.members:
            if member.tensor not in shapes or shapes[member.tensor][member.dim] <= int(member.indices.max()):
                raise CannotCompress(
                    f"channels of {name!r}: {member.tensor} is {shapes.get(member.tensor)} here; the groups belong to "
                    "another network, find them anew"
                )


def remaining(coupling: Coupling, keep: Keep, sizes: Mapping[tuple[str, int], int]) -> dict[tuple[str, int], Tensor]:
    """Positions that stay, by (tensor, dimension), where any go.

    Args:
        coupling: of ``coupled_channels``.
        keep: by name of the group, bool (units,).
        sizes: of the dimensions that occur in the groups of ``keep``.
    """
    stays: dict[tuple[str, int], Tensor] = {}
    for name, kept in keep.items():
        gone = ~kept.cpu().bool()
        for member in coupling.groups[name].members:
            key = member.tensor, member.dim
            stays.setdefault(key, torch.ones(sizes[key], dtype=torch.bool))
            stays[key][torch.from_numpy(member.indices)[gone].reshape(-1)] = False
    return {key: kept.nonzero()[:, 0] for key, kept in stays.items()}


def _cut(model: nn.Module, coupling: Coupling, keep: Keep) -> None:
    """Cut the tensors of a copy and tell its modules."""
    tensors = model.state_dict(keep_vars=True)
    sizes = {
        (member.tensor, member.dim): tensors[member.tensor].shape[member.dim]
        for name in keep
        for member in coupling.groups[name].members
    }
    stays = remaining(coupling, keep, sizes)
    replaced: dict[int, Tensor] = {}
    for name in dict.fromkeys(tensor for tensor, _ in stays):
        old = tensors[name]
        new = old.detach()
        for (tensor, dim), positions in stays.items():
            if tensor == name:
                new = new.index_select(dim, positions.to(new.device))
        new = new.clone()
        replaced[id(old)] = nn.Parameter(new, old.requires_grad) if isinstance(old, nn.Parameter) else new
    for module in model.modules():
        for owned in (module._parameters, module._buffers):
            for leaf, value in owned.items():
                if value is not None and id(value) in replaced:
                    owned[leaf] = replaced[id(value)]  # type: ignore[assignment]
    for module in model.modules():
        _tell(module)
    _tell_heads(model, coupling, keep)
    if isinstance(model, LayerModule):
        model.follow_tensors()


def _tell(module: nn.Module) -> None:
    """Let PyTorch's own modules say what their tensors now are."""
    if isinstance(module, nn.modules.conv._ConvNd):
        transposed = isinstance(module, nn.modules.conv._ConvTransposeNd)
        made, read = module.weight.shape[1 if transposed else 0], module.weight.shape[0 if transposed else 1]
        if module.groups > 1 and module.groups == module.in_channels:  # depthwise
            module.groups = made * module.groups // module.out_channels
        module.out_channels, module.in_channels = made, read * module.groups
    elif isinstance(module, nn.modules.batchnorm._NormBase) and module.weight is not None:
        module.num_features = len(module.weight)
    elif isinstance(module, nn.modules.batchnorm._NormBase) and module.running_mean is not None:
        module.num_features = len(module.running_mean)
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, nn.PReLU):
        module.num_parameters = module.weight.numel()


def _tell_heads(model: nn.Module, coupling: Coupling, keep: Keep) -> None:
    """Change the integers that a user's module keeps of its own: a number of heads, a width."""
    for name, kept in keep.items():
        group, count = coupling.groups[name], int(kept.sum())
        owners = {member.module.rpartition(".")[0] for member in group.members}
        for path, module in model.named_modules():
            if path in owners and not type(module).__module__.startswith("torch.nn") and path:
                _tell_integers(module, group, count)
        if "" in owners and not isinstance(model, LayerModule):
            _tell_integers(model, group, count)


def _tell_integers(module: nn.Module, group: ChannelGroup, count: int) -> None:
    widths = {member.indices.shape[1] for member in group.members}
    sizes = {group.size: count, **{group.size * width: count * width for width in widths}}
    for attribute, value in list(vars(module).items()):
        if type(value) is int and value in sizes and value > 1 and not attribute.startswith("_"):
            setattr(module, attribute, sizes[value])


def _verify(masked: nn.Module, result: nn.Module, input_shape: Shape) -> None:
    device = next(chain(result.parameters(), result.buffers())).device
    images = torch.randn(_IMAGES, *input_shape, generator=torch.Generator().manual_seed(0)).to(device)
    modes = result.training
    try:
        with torch.no_grad():
            wanted = masked.eval()(images)
            found = result.eval()(images)
    except Exception as error:  # noqa: BLE001 - a user's module may raise anything
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise CannotCompress(
            f"{type(result).__name__}: its code is written for the old number of channels ({reason}); take sizes from "
            "tensors, not from numbers"
        ) from None
    finally:
        result.train(modes)
    scale = float(wanted.abs().max()) + 1e-6
    if found.shape != wanted.shape or not float((found - wanted).abs().max()) <= _TOLERANCE * scale:
        raise CannotCompress(
            f"{type(result).__name__}: without the channels it computes something else than with zeros in their place; "
            "its code depends on the number of channels"
        )
