"""From a network to its coupled channels: which can only be removed together, and which cannot be removed at all.

Source: the idea of a dependency graph is that of Fang et al. 2023, "DepGraph: Towards Any Structural Pruning" (arXiv
2301.12900). Deviation: dependencies are found on the executed graph between single elements, not between layers, so
that reshapes, slices, concatenations and reused modules need no rules of their own kind of layer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch import fx, nn

from nas.compress.coupling_labels import LabelBook, Labels, compact
from nas.compress.coupling_rules import RULES
from nas.compress.coupling_tracer import Tracer
from nas.compress.graph import executed_graph, tensor_name
from nas.compress.groups import ChannelGroup, Coupling, Member, Role
from nas.compress.slicing import cannot_be_cut
from search_spaces.layers import Shape

_TOGETHER = "its channels can only be removed all together"


def coupled_channels(model: nn.Module, input_shape: Shape) -> Coupling:
    """Groups of channels of any network; every group has been cut once, on a copy, to see that it can be.

    Args:
        model: (N, C, H, W) float32 -> one tensor; not changed.
        input_shape: (channels, height, width) of one image.
    Returns: groups of at least two units, and for every other maker of channels the reason why its channels stay.
    Raises: Untraceable.
    """
    graph = executed_graph(model, input_shape)
    known = set(model.state_dict())
    book = LabelBook()
    tracer = Tracer(graph, book, RULES)
    tracer.run()
    for name, labels in book.elements.items():
        if name not in known or any(tensor == name for tensor, _ in book.slices):
            book.fix(labels, f"{name}: it is used in two ways")
    classes, reasons = _whole_slices(tracer)
    coupling = _assembled(graph, book, classes, reasons, input_shape)
    refused = cannot_be_cut(model, coupling)
    groups = {name: group for name, group in coupling.groups.items() if name not in refused}
    return Coupling(groups, {**coupling.fixed, **refused}, input_shape)


def _whole_slices(tracer: Tracer) -> tuple[Labels, dict[int, str]]:
    """Classes such that removing one leaves every activation and tensor a block; others are fixed."""
    arrays = [each for found in tracer.labels.values() for each in (found if isinstance(found, list) else [found])]
    arrays += list(tracer.book.elements.values())
    packed = [array for array in (compact(each) for each in arrays) if array.ndim > 1 and array.size > max(array.shape)]
    while True:
        classes, reasons = tracer.book.classes()
        fixed = np.isin(classes, np.fromiter(reasons, np.int64, len(reasons)))
        broken = [array for array in packed if slab_dimension(classes[array], fixed[array]) is None]
        if not broken:
            return classes, reasons
        for array in broken:
            tracer.book.fix(array, "a reshape spreads its channels over several dimensions")


def slab_dimension(classes: Labels, fixed: NDArray[np.bool_]) -> int | None:
    """The dimension along which every class that can go is a whole slice; None if there is none."""
    order = sorted(range(classes.ndim), key=lambda d: -classes.shape[d])
    for dim in order:
        rows = np.moveaxis(classes, dim, 0).reshape(classes.shape[dim], -1)
        stays = np.moveaxis(fixed, dim, 0).reshape(classes.shape[dim], -1).all(1)
        if bool(((rows == rows[:, :1]).all(1) | stays).all()):
            return dim
    return None


def _assembled(
    graph: fx.GraphModule, book: LabelBook, classes: Labels, reasons: dict[int, str], input_shape: Shape
) -> Coupling:
    order = _order(graph)
    slices = sorted(_slices(book, classes, set(reasons)), key=lambda entry: (order[entry[0]], entry[1]))
    units = _units(slices, reasons)
    group_of = {each: group for group, classes_of in units.items() for each in classes_of}
    members: dict[Group, list[Member]] = defaultdict(list)
    for tensor, dim, role, found in slices:
        where: dict[int, list[int]] = defaultdict(list)
        for at, each in enumerate(found.tolist()):
            where[each].append(at)
        for group in dict.fromkeys(group_of[each] for each in where if each in group_of):
            indices = np.array([where[each] for each in units[group]], dtype=np.int64)
            members[group].append(Member(tensor, dim, role, indices, tensor.rpartition(".")[0]))
    groups: dict[str, ChannelGroup] = {}
    for group, found_members in members.items():
        name = _free(next(member.module for member in found_members if member.role == "maker"), groups)
        groups[name] = ChannelGroup(name, len(units[group]), tuple(found_members))
    return Coupling(groups, _fixed(slices, groups, reasons), input_shape)


def _fixed(slices: list[Slice], groups: dict[str, ChannelGroup], reasons: dict[int, str]) -> dict[str, str]:
    """Why layers that make channels are in no group."""
    made = {member.module for group in groups.values() for member in group.of("maker")}
    return {
        tensor.rpartition(".")[0]: next((reasons[each] for each in found.tolist() if each in reasons), _TOGETHER)
        for tensor, _, role, found in reversed(slices)
        if role == "maker" and tensor.rpartition(".")[0] not in made
    }


def _order(graph: fx.GraphModule) -> dict[str, int]:
    """Position of the first reader of each tensor."""
    found: dict[str, int] = {}
    for at, node in enumerate(graph.graph.nodes):
        for read in node.all_input_nodes:
            if (name := tensor_name(read)) is not None:
                found.setdefault(name, at)
    return found


Slice = tuple[str, int, Role, Labels]


def _slices(book: LabelBook, classes: Labels, fixed: set[int]) -> Iterator[Slice]:
    """Every tensor's dimension that holds channels, with the class of each position."""
    for (tensor, dim), labels in book.slices.items():
        yield tensor, dim, book.roles[tensor, dim], classes[labels]
    stays = np.fromiter(fixed, np.int64, len(fixed))
    for tensor, labels in book.elements.items():
        found = classes[labels]
        across = slab_dimension(found, np.isin(found, stays)) if found.ndim else None
        if across is not None:
            rows = np.moveaxis(found, across, 0).reshape(found.shape[across], -1)
            whole = (rows == rows[:, :1]).all(1)
            yield tensor, across, "follower", np.where(whole, rows[:, 0], -1)


Group = tuple[int, tuple[tuple[int, int], ...]]


def _units(slices: list[Slice], reasons: dict[int, str]) -> dict[Group, list[int]]:
    """Classes of each group, in order of first appearance: made by the same layers, of one size in every tensor."""
    joined = _joined_by_makers(slices, reasons)
    sizes: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for at, (_, _, _, found) in enumerate(slices):
        for each, count in zip(*np.unique(found, return_counts=True), strict=True):
            if int(each) in joined:
                sizes[int(each)].append((at, int(count)))
    units: dict[Group, list[int]] = defaultdict(list)
    for each, leader in joined.items():
        units[leader, tuple(sizes[each])].append(each)
    return {group: found for group, found in units.items() if len(found) > 1}


def _joined_by_makers(slices: list[Slice], reasons: dict[int, str]) -> dict[int, int]:
    """Class that can go -> the first class of its group: classes are in one group if one layer makes them both."""
    leader: dict[int, int] = {}
    for _, _, role, found in slices:
        free = [each for each in dict.fromkeys(found.tolist()) if each not in reasons]
        if role != "maker" or not free:
            continue
        merged = {leader.get(each, free[0]) for each in free}
        first = next((known for known in leader.values() if known in merged), free[0])
        leader.update(dict.fromkeys(free, first))
        leader.update({known: first for known, group in leader.items() if group in merged})
    return leader


def _free(name: str, taken: dict[str, ChannelGroup]) -> str:
    at = 2
    base = name
    while name in taken:
        name, at = f"{base}#{at}", at + 1
    return name
