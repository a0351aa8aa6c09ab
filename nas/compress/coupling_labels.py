"""Labels of channels: which elements of activations and which slices of tensors stand or fall together.

Every slice of a weight (tensor, dimension, position) and every element of an activation carries a label, an integer.
Rules of operations say which labels are one; the classes that result are the channels that go together.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from nas.compress.groups import Role

Labels = NDArray[np.int64]


@dataclass(eq=False)
class LabelBook:
    """Labels given so far, what is known to be one, and what cannot be removed.

    Attributes:
        slices: (tensor, dimension) -> labels (size,).
        roles: (tensor, dimension) -> what the tensor does with these channels, at its first use.
        elements: tensor that is used element by element -> labels of its shape.
    """

    slices: dict[tuple[str, int], Labels] = field(default_factory=dict)
    roles: dict[tuple[str, int], Role] = field(default_factory=dict)
    elements: dict[str, Labels] = field(default_factory=dict)
    _next: int = 0
    _pairs: list[tuple[Labels, Labels]] = field(default_factory=list)
    _fixed: list[tuple[int, str]] = field(default_factory=list)

    def fresh(self, *shape: int) -> Labels:
        """Labels that nothing else has."""
        size = int(np.prod(shape, dtype=np.int64))
        self._next += size
        return np.arange(self._next - size, self._next, dtype=np.int64).reshape(shape)

    def slice_labels(self, tensor: str, dim: int, size: int, role: Role) -> Labels:
        """Labels of the slices of a tensor, the same ones at every use."""
        if (tensor, dim) not in self.slices:
            self.slices[tensor, dim] = self.fresh(size)
            self.roles[tensor, dim] = role
        return self.slices[tensor, dim]

    def element_labels(self, tensor: str, shape: tuple[int, ...]) -> Labels:
        """Labels of the elements of a tensor, the same ones at every use."""
        if tensor not in self.elements:
            self.elements[tensor] = self.fresh(*shape)
        return self.elements[tensor]

    def join(self, first: Labels, second: Labels) -> None:
        """Both are one, element by element; shapes must broadcast."""
        a, b = np.broadcast_arrays(first, second)
        whole = tuple(
            slice(0, 1) if a.strides[d] == 0 and b.strides[d] == 0 else slice(None) for d in range(a.ndim)
        )  # what is repeated in both need not be joined twice
        self._pairs.append((a[whole].ravel(), b[whole].ravel()))

    def uniform(self, labels: Labels, dims: tuple[int, ...]) -> Labels:
        """Join along these dimensions; the labels with each of these dimensions of size 1."""
        first = labels[tuple(slice(0, 1) if d in dims else slice(None) for d in range(labels.ndim))]
        if first.shape != labels.shape:
            self.join(labels, first)
        return first

    def fix(self, labels: Labels, reason: str) -> None:
        """None of these can be removed."""
        mark = self.fresh(1)
        self._fixed.append((int(mark[0]), reason))
        self.join(np.unique(compact(labels)), mark)

    def classes(self) -> tuple[Labels, dict[int, str]]:
        """Class of every label, and for each class that cannot be removed the first reason."""
        ends = [np.concatenate(side) if side else np.zeros(0, np.int64) for side in zip(*self._pairs, strict=True)]
        rows, columns = ends if ends else (np.zeros(0, np.int64),) * 2
        links = coo_matrix((np.ones(len(rows), np.int8), (rows, columns)), shape=(self._next, self._next))
        _, found = connected_components(links, directed=False)
        classes = found.astype(np.int64)
        reasons: dict[int, str] = {}
        for mark, reason in self._fixed:
            reasons.setdefault(int(classes[mark]), reason)
        return classes, reasons


def compact(labels: Labels) -> Labels:
    """The same labels without the dimensions' repetitions that broadcasting made."""
    return labels[tuple(slice(0, 1) if stride == 0 else slice(None) for stride in labels.strides)]


def varies(labels: Labels, dim: int) -> bool:
    """Whether labels differ along a dimension."""
    if labels.shape[dim] == 1 or labels.strides[dim] == 0:
        return False
    packed = compact(labels)
    return bool((packed != packed[(slice(None),) * (dim % labels.ndim) + (slice(0, 1),)]).any())
