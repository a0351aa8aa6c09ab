"""What a sliced network costs, from the number of channels kept in each group: no module is built.

Multiply-accumulates are counted on the sliced network, so that nothing is credited which cannot be cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from nas.compress.coupling_tracer import number
from nas.compress.graph import executed_graph, operation, tensor_name
from nas.compress.groups import Coupling

Kept = Mapping[str, Tensor | int]  # name of a group -> bool (units,), or how many units are kept


@dataclass(frozen=True, slots=True, eq=False)
class _Term:
    """coefficient * prod over factors of (fixed + slopes @ removed units); slopes are not positive."""

    coefficient: int
    fixed: NDArray[np.int64]  # (factors,) sizes of the whole network
    slopes: NDArray[np.int64]  # (factors, groups) change of a size with each unit removed


class SlicedCost:
    """Multiply-accumulates and parameters of a network after slicing.

    Counted are convolutions, linear layers and products of two activations, as ``Layer.macs`` does: padded taps
    included, nothing else.

    Args:
        model: the whole network.
        coupling: of ``coupled_channels`` for it.
    Raises: Untraceable.
    """

    def __init__(self, model: nn.Module, coupling: Coupling) -> None:
        self.coupling = coupling
        self._names = list(coupling.groups)
        self._sizes = np.array([group.size for group in coupling.groups.values()], dtype=np.int64)
        self._slopes = self._change_of_sizes()
        shapes = {name: tuple(value.shape) for name, value in model.named_parameters()}
        self._params = [self._term(1, name, shape) for name, shape in shapes.items()]
        graph = executed_graph(model, coupling.input_shape)
        self._macs = [term for node in graph.graph.nodes if (term := self._work(node, shapes)) is not None]

    def macs(self, keep: Kept) -> int:
        """Multiply-accumulates for one image; groups not named are whole."""
        return self._sum(self._macs, keep)

    def params(self, keep: Kept) -> int:
        """Trainable scalars; groups not named are whole."""
        return self._sum(self._params, keep)

    def _change_of_sizes(self) -> dict[tuple[str, int], NDArray[np.int64]]:
        """By (tensor, dimension): positions that go with one unit of each group."""
        found: dict[tuple[str, int], NDArray[np.int64]] = {}
        for at, group in enumerate(self.coupling.groups.values()):
            for member in group.members:
                row = found.setdefault((member.tensor, member.dim), np.zeros(len(self._names), dtype=np.int64))
                row[at] += member.indices.shape[1]
        return found

    def _term(self, coefficient: int, tensor: str, shape: tuple[int, ...]) -> _Term:
        none = np.zeros(len(self._names), dtype=np.int64)
        slopes = [self._slopes.get((tensor, dim), none) for dim in range(len(shape))]
        return _Term(coefficient, np.array(shape, dtype=np.int64), np.array(slopes).reshape(len(shape), -1))

    def _work(self, node: fx.Node, shapes: Mapping[str, tuple[int, ...]]) -> _Term | None:
        op = operation(node)
        if op == "linear" or op.startswith("conv"):
            name = tensor_name(node.args[1])
            if name not in shapes:
                return None
            sizes = [number(size) for size in node.meta["val"].shape]
            if op.startswith("conv_transpose"):
                sizes = [number(size) for size in node.args[0].meta["val"].shape]  # type: ignore[union-attr]
            positions = sizes[2:] if op != "linear" else sizes[:-1]
            return self._term(int(np.prod(positions)), str(name), shapes[str(name)])
        return self._products(node, op)

    def _products(self, node: fx.Node, op: str) -> _Term | None:
        """Products of two activations: of heads, of which each has the same work."""
        if op not in ("matmul", "bmm", "scaled_dot_product_attention"):
            return None
        first, second = ([number(size) for size in read.meta["val"].shape] for read in node.args[:2])  # type: ignore[union-attr]
        work = int(np.prod(first)) * second[-1] if op != "scaled_dot_product_attention" else _attention(node)
        group = self._head_group(node)
        if group is None:
            return _Term(work, np.ones(1, dtype=np.int64), np.zeros((1, len(self._names)), dtype=np.int64))
        slopes = np.zeros((1, len(self._names)), dtype=np.int64)
        slopes[0, group] = 1
        heads = int(self._sizes[group])
        return _Term(work // heads, np.array([heads], dtype=np.int64), slopes)

    def _head_group(self, node: fx.Node) -> int | None:
        """The group whose units are the heads of a product: the nearest weighted layer before it makes them."""
        seen, waiting = set[fx.Node](), list(node.all_input_nodes)
        while waiting:
            read = waiting.pop(0)
            if read in seen:
                continue
            seen.add(read)
            if operation(read) == "linear" or operation(read).startswith("conv"):
                name = tensor_name(read.args[1])
                row = self._slopes.get((str(name), 0))
                at = None if row is None else int(row.argmax())
                if at is not None and self._is_heads(node, at):
                    return at
                continue
            waiting.extend(read.all_input_nodes)
        return None

    def _is_heads(self, node: fx.Node, group: int) -> bool:
        return int(self._sizes[group]) in [number(size) for size in node.meta["val"].shape[:-2]]

    def _sum(self, terms: list[_Term], keep: Kept) -> int:
        kept = self._sizes.copy()
        for name, value in keep.items():
            kept[self._names.index(name)] = value if isinstance(value, int) else int(value.sum())
        gone = self._sizes - kept
        return sum(term.coefficient * int(np.prod(term.fixed - term.slopes @ gone)) for term in terms)


def _attention(node: fx.Node) -> int:
    queries, keys, values = ([number(size) for size in read.meta["val"].shape] for read in node.args[:3])  # type: ignore[union-attr]
    batch = int(np.prod(queries[:-1]))
    return batch * keys[-2] * (queries[-1] + values[-1])
