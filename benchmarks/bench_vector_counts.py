"""Counts of whole networks from their choices: vectorised against one by one, on the same members.

Every member is checked to have equal counts. Prints one JSON line a space:
    python benchmarks/bench_vector_counts.py
"""

import time

import numpy as np
from json_line import emit

from hardware.counts import count
from hardware.vector_counts import VectorCounts, decode, random_genomes
from search_spaces import SPACES

SHAPE, CLASSES, MEMBERS, CHECKED, PASSES = (3, 224, 224), 1000, 100_000, 5_000, 5
NAMES = ("genet", "genet-tiny", "mobilenetv3-ofa", "mobilenetv3-binas", "nas-bench-201", "nas-bench-macro")


def rates(function, items):
    """Items a second of each pass."""
    found = []
    for _ in range(PASSES):
        began = time.perf_counter()
        function()
        found.append(items / (time.perf_counter() - began))
    return found


def main():
    for name in NAMES:
        space = SPACES[name]
        genomes = random_genomes(space, MEMBERS, np.random.default_rng(0))
        counts = VectorCounts(space, SHAPE, CLASSES)
        began = time.perf_counter()
        found = counts(genomes)
        cold_s = time.perf_counter() - began
        archs = [decode(space, genome) for genome in genomes[:CHECKED]]
        expected = [count(arch, SHAPE, CLASSES) for arch in archs]
        unequal = sum(
            int(getattr(found, field)[i]) != getattr(each, field)
            for i, each in enumerate(expected)
            for field in found._fields
        )
        vectorised = rates(lambda: counts(genomes), MEMBERS)  # noqa: B023 - called at once
        single = rates(lambda: [count(arch, SHAPE, CLASSES) for arch in archs], CHECKED)  # noqa: B023
        emit(
            f"vector_counts.{name}",
            vectorised,
            "archs/s",
            one_by_one_per_s=round(max(single)),
            ratio=round(float(np.median(vectorised) / max(single)), 1),
            first_pass_s=round(cold_s, 2),
            checked=CHECKED,
            unequal=unequal,
        )


if __name__ == "__main__":
    main()
