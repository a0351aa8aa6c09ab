"""Labels of every node of an executed graph, in order of execution, by the rules of its operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import Tensor, fx

from nas.compress.coupling_labels import LabelBook, Labels
from nas.compress.graph import operation, place, tensor_name

Rule = Callable[["Tracer", fx.Node], "Labels | list[Labels]"]


class Tracer:
    """Labels of every node of an executed graph, in order of execution.

    Attributes:
        labels: by node; for nodes with several outputs a list. Dimension 0 is that of images, of size 1.
    """

    def __init__(self, graph: fx.GraphModule, book: LabelBook, rules: Mapping[str, Rule]) -> None:
        self.graph, self.book, self.rules = graph, book, rules
        self.labels: dict[fx.Node, Labels | list[Labels]] = {}

    def run(self) -> None:
        """Label every node."""
        for node in self.graph.graph.nodes:
            if node.op in {"placeholder", "get_attr"}:
                continue
            if node.op == "output":
                for read in node.all_input_nodes:
                    self.fix_all(read, "it is the network's output")
                continue
            if isinstance(node.meta.get("val"), Tensor | list | tuple):
                self.labels[node] = self.rules.get(operation(node), unknown)(self, node)

    def of(self, node: Any) -> Labels:
        """Labels of a tensor that a node reads: of an activation, of the images, or of a tensor of the network."""
        if node in self.labels:
            found = self.labels[node]
            assert isinstance(found, np.ndarray)
            return found
        shape = shape_of(node)
        name = tensor_name(node)
        if name is None:
            labels = self.book.fresh(*(1 for _ in shape))
            self.book.fix(labels, "it is the network's input")
            self.labels[node] = np.broadcast_to(labels, shape)
            return self.of(node)
        return self.book.element_labels(name, shape)

    def fix_all(self, node: fx.Node, reason: str) -> None:
        """Nothing of what a node makes can be removed."""
        found = self.labels.get(node) if node.op == "call_function" else self.of(node)
        for labels in found if isinstance(found, list) else [found]:
            if labels is not None:
                self.book.fix(labels, reason)


def shape_of(node: fx.Node) -> tuple[int, ...]:
    """Shape of what a node makes, for one image."""
    return concrete(node.meta["val"])


def concrete(tensor: Tensor) -> tuple[int, ...]:
    """Shape with one image where it depends on their number."""
    return tuple(number(size) for size in tensor.shape)


def number(size: Any) -> int:
    """A size for one image."""
    if isinstance(size, int):
        return size
    expression = size.node.expr
    return int(expression.subs(dict.fromkeys(expression.free_symbols, 1)))


def tensors_in(node: fx.Node) -> list[fx.Node]:
    """Nodes of tensors that a node reads."""
    return [read for read in node.all_input_nodes if isinstance(read.meta.get("val"), Tensor) or read.op == "get_attr"]


def unknown(tracer: Tracer, node: fx.Node) -> Labels | list[Labels]:
    """An operation without a rule: nothing that it reads or makes can be removed."""
    reason = f"{place(node)}: what {operation(node) or node.target} does with channels is not known"
    for read in tensors_in(node):
        tracer.fix_all(read, reason)
    return constant(tracer, node, reason)


def constant(tracer: Tracer, node: fx.Node, reason: str) -> Labels | list[Labels]:
    """Fixed labels for whatever a node makes."""
    value = node.meta["val"]
    mark = tracer.book.fresh(1)
    tracer.book.fix(mark, reason)
    if isinstance(value, Tensor):
        return np.broadcast_to(mark, concrete(value))
    return [np.broadcast_to(mark, concrete(each)) for each in value if isinstance(each, Tensor)]
