"""Counts of many members of a space at once, from their choices: tables of segments, summed by NumPy.

A member of a ``GridSpace`` is a row of positions of its choices, its genome. Each segment of the network (a block, the
stem, the classifier) depends on a few columns; what it adds is computed once by ``hardware.counts`` and looked up from
then on. So the results are those of the graph, by construction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hardware.counts import classifier_counts, count, count_block
from search_spaces.arch import Architecture
from search_spaces.expand import block_inputs, output_shape
from search_spaces.layers import Shape
from search_spaces.mobilenet import MobileNetSpace
from search_spaces.space import GridSpace, StageSpace

Genomes = NDArray[np.int64]
Row = tuple[int, int, int, int, int]  # params, MACs, depth, convolutions, peak bytes
NOTHING: Row = (0, 0, 0, 0, 0)
LARGEST_TABLE = 2_000_000  # of one segment


class NotTabular(ValueError):
    """The space has no segments of few choices; the message says what to use instead."""


class CountArrays(NamedTuple):
    """The fields of ``hardware.counts.Counts`` of n networks, each (n,) int64."""

    params: Genomes
    macs: Genomes
    depth: Genomes
    convs: Genomes
    peak_memory_bytes: Genomes


class Segment(NamedTuple):
    """A part of the network and the columns of the genome that it depends on.

    Attributes:
        columns: positions of knobs.
        row: what the part adds, for a genome whose other columns are 0.
    """

    columns: tuple[int, ...]
    row: Callable[[Genomes], Row]


class VectorCounts:
    """Counts of members of one space for one task: call it with genomes.

    Args:
        space: a ``StageSpace`` (GENet and users' own), a ``MobileNetSpace``, or any of at most 2,000,000 members.
        input_shape: (channels, height, width) of one image.
        num_classes: outputs of the classifier.
    Raises: NotTabular.
    """

    def __init__(self, space: GridSpace, input_shape: Shape, num_classes: int) -> None:
        self.space = space
        self.sizes = np.array([len(knob.choices) for knob in space.knobs], np.int64)
        task = (input_shape, num_classes)
        if isinstance(space, StageSpace):
            segments = _of_stages(space, *task)
        elif isinstance(space, MobileNetSpace):
            segments = _of_mobile(space, *task)
        elif prod(map(int, self.sizes)) <= LARGEST_TABLE:
            segments = [Segment(tuple(range(len(self.sizes))), lambda genome: _whole(decode(space, genome), *task))]
        else:
            raise NotTabular(
                f"{space.name}: its blocks depend on too many choices for tables; count its members one by one with "
                "hardware.counts.count"
            )
        self._tables = [_Table(segment, self.sizes) for segment in segments]

    def __call__(self, genomes: Genomes) -> CountArrays:
        """Counts of each genome.

        Args:
            genomes: (n, n_knobs) positions of choices, whole numbers.
        Raises: ValueError: another shape, or positions that no choice has.
        """
        genomes = np.ascontiguousarray(np.asarray(genomes).T)
        if genomes.ndim != 2 or len(genomes) != len(self.sizes) or genomes.dtype.kind not in "iu":
            shape = genomes.T.shape
            raise ValueError(f"genomes: {genomes.dtype} {shape}, expected whole numbers (n, {len(self.sizes)})")
        if genomes.size and (genomes.min() < 0 or (genomes.max(axis=1) >= self.sizes).any()):
            raise ValueError(f"genomes: a position without a choice, expected 0 to {(self.sizes - 1).tolist()}")
        total = np.zeros((5, genomes.shape[1]), np.int64)
        for table in self._tables:
            rows = table.rows(genomes)
            total[:4] += rows[:4]
            np.maximum(total[4], rows[4], out=total[4])
        return CountArrays(*total)


class _Table:
    """The rows of one segment by the mixed-radix number of its columns, filled when first met."""

    def __init__(self, segment: Segment, sizes: Genomes) -> None:
        self._segment, self._knobs = segment, len(sizes)
        own = [int(sizes[column]) for column in segment.columns]
        if prod(own) > LARGEST_TABLE:
            raise NotTabular(f"a part of the network has {prod(own):,} forms, at most {LARGEST_TABLE:,} fit a table")
        self._steps = [prod(own[i + 1 :]) for i in range(len(own))]
        self._rows = np.zeros((5, prod(own)), np.int64)
        self._known = np.zeros(prod(own), bool)

    def rows(self, genomes: Genomes) -> Genomes:
        """(5, n) rows for genomes (n_knobs, n)."""
        codes = np.zeros(genomes.shape[1], np.int64)
        for column, step in zip(self._segment.columns, self._steps, strict=True):
            codes += step * genomes[column]
        known = self._known[codes]
        if not known.all():
            self._fill(np.unique(codes[~known]))
        return np.asarray(self._rows[:, codes])

    def _fill(self, codes: Genomes) -> None:
        for code in codes.tolist():
            genome, rest = np.zeros(self._knobs, np.int64), code
            for column, step in zip(self._segment.columns, self._steps, strict=True):
                genome[column], rest = divmod(rest, step)
            self._rows[:, code] = self._segment.row(genome)
            self._known[code] = True


def decode(space: GridSpace, genome: Sequence[int] | Genomes) -> Architecture:
    """The architecture of one genome."""
    return space.decode({knob.name: knob.choices[at] for knob, at in zip(space.knobs, genome, strict=True)})


def random_genomes(space: GridSpace, n: int, rng: np.random.Generator) -> Genomes:
    """(n, n_knobs) uniformly random positions of choices."""
    return rng.integers(0, [len(knob.choices) for knob in space.knobs], size=(n, len(space.knobs)))


def _of_stages(space: StageSpace, input_shape: Shape, num_classes: int) -> list[Segment]:
    """A block depends on its own four knobs and the width before it; the classifier on the last width."""

    def block(at: int) -> Callable[[Genomes], Row]:
        def row(genome: Genomes) -> Row:
            return count_block(*_inputs(space, genome, input_shape)[at])

        return row

    def classifier(genome: Genomes) -> Row:
        return classifier_counts(output_shape(decode(space, genome), input_shape), num_classes)

    column = {knob.name: at for at, knob in enumerate(space.knobs)}
    segments = []
    for i in range(len(space.stages)):
        own = [column[f"{i}.{field}"] for field in ("variant", "channels", "kernel", "depth")]
        before = [column[f"{i - 1}.channels"]] if i else []
        segments.append(Segment((*before, *own), block(i)))
    return [*segments, Segment((column[f"{len(space.stages) - 1}.channels"],), classifier)]


def _of_mobile(space: MobileNetSpace, input_shape: Shape, num_classes: int) -> list[Segment]:
    """A block depends on its own knobs and on whether its stage is that deep; stem and head on nothing."""
    column = {knob.name: at for at, knob in enumerate(space.knobs)}
    least = space.free.depths[0]
    starts = accumulate([len(space.stem)] + [least] * (len(space.stages) - 1))

    def block(start: int, i: int, j: int) -> Callable[[Genomes], Row]:
        def row(genome: Genomes) -> Row:
            active = j <= space.free.depths[genome[column[f"{i}.depth"]]]
            return count_block(*_inputs(space, genome, input_shape)[start + j - 1]) if active else NOTHING

        return row

    def fixed(genome: Genomes) -> Row:
        inputs = _inputs(space, genome, input_shape)
        rows = [count_block(*part) for part in (*inputs[: len(space.stem)], *inputs[len(inputs) - len(space.head) :])]
        rows.append(classifier_counts(output_shape(decode(space, genome), input_shape), num_classes))
        params, macs, depth, convs, peaks = zip(*rows, strict=True)
        return sum(params), sum(macs), sum(depth), sum(convs), max(peaks)

    segments = [Segment((), fixed)]
    for i, start in enumerate(starts, 1):
        for j in range(1, max(space.free.depths) + 1):
            names = [f"{i}.depth", *(f"{i}.{j}.{field}" for field in ("kernel", "expansion", "se"))]
            segments.append(Segment(tuple(column[name] for name in names if name in column), block(start, i, j)))
    return segments


def _inputs(space: GridSpace, genome: Genomes, input_shape: Shape) -> list[tuple]:  # type: ignore[type-arg]
    return list(block_inputs(decode(space, genome), input_shape))


def _whole(arch: Architecture, input_shape: Shape, num_classes: int) -> Row:
    counts = count(arch, input_shape, num_classes)
    return counts.params, counts.macs, counts.depth, counts.convs, counts.peak_memory_bytes
