"""Which convolutions are approximated, and how far: one threshold of kept energy for the whole network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from nas.compress.approximate.decompose import cost_ratio, energies
from nas.compress.errors import BudgetUnreachable
from nas.compress.graph import executed_graph, operation, tensor_name
from nas.compress.groups import Coupling
from nas.compress.sliced_cost import SlicedCost
from search_spaces.layers import Shape


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A convolution that can be approximated.

    Attributes:
        name: dotted path of its module.
        weight: (n, c, k, k).
        macs: multiply-accumulates of one image, of all its uses.
        energies: kept energy by group size or rank.
    """

    name: str
    weight: Tensor
    macs: int
    energies: Mapping[int, float]


def candidates(model: nn.Module, input_shape: Shape, method: str) -> list[Candidate]:
    """Convolutions k x k, k > 1, without groups, that some size makes cheaper; in order of execution."""
    graph = executed_graph(model, input_shape)
    modules = dict(model.named_modules())
    found: dict[str, Candidate] = {}
    for node in graph.graph.nodes:
        name = tensor_name(node.args[1]) if operation(node) == "conv2d" else None
        module = modules.get(str(name).removesuffix(".weight"))
        if name is None or type(module) is not nn.Conv2d or module.padding_mode != "zeros":
            continue
        kept = energies(module.weight, method) if module.groups == 1 and module.weight[0, 0].numel() > 1 else {}
        path = str(name).removesuffix(".weight")
        macs = module.weight.numel() * _positions(node)
        if kept:
            found[path] = Candidate(path, module.weight, macs + (found[path].macs if path in found else 0), kept)
    return list(found.values())


def choose(model: nn.Module, input_shape: Shape, method: str, share: float, least_work: float = 0.0) -> dict[str, int]:
    """Group size or rank of every convolution that is approximated, such that the network keeps a share of its work.

    One threshold holds for all: each takes the smallest size that keeps this share of its energy, or stays whole when
    none does. The highest threshold that keeps the budget is found by trying all that differ.

    Args:
        model: any network.
        input_shape: (channels, height, width) of one image.
        method: "groups" or "low-rank".
        share: of the multiply-accumulates of the whole network.
        least_work: share of them below which a convolution stays as it is.
    Raises: BudgetUnreachable: with the least share that can be reached; Untraceable.
    Source: the paper chooses sizes for each network by hand; the threshold is ours.
    """
    total = SlicedCost(model, Coupling({}, {}, input_shape)).macs({})
    layers = [each for each in candidates(model, input_shape, method) if each.macs >= least_work * total]
    thresholds = sorted({energy for layer in layers for energy in layer.energies.values()}, reverse=True)
    least = 1.0
    for threshold in thresholds:
        chosen = {layer.name: size for layer in layers if (size := _least_size(layer, threshold)) is not None}
        saved = sum(
            layer.macs * (1 - cost_ratio(layer.weight, method, chosen[layer.name]))
            for layer in layers
            if layer.name in chosen
        )
        least = min(least, 1 - saved / total)
        if 1 - saved / total <= share:
            return chosen
    raise BudgetUnreachable(
        f"approximate: a share of {share:g} of the multiply-accumulates cannot be reached, the least is {least:.3f}; "
        "give more, or remove channels first"
    )


def _least_size(layer: Candidate, threshold: float) -> int | None:
    enough = [size for size, energy in layer.energies.items() if energy >= threshold]
    return min(enough, default=None)


def _positions(node: object) -> int:
    from nas.compress.coupling_tracer import concrete

    height, width = concrete(node.meta["val"])[2:]  # type: ignore[attr-defined]
    return height * width
