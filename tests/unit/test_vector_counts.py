"""Counts of many genomes at once are those of the graph."""

import numpy as np
import pytest

from hardware.counts import count
from hardware.vector_counts import NotTabular, VectorCounts, decode, random_genomes
from search_spaces import SPACES
from search_spaces.space import Stage, StageSpace, Variant

OWN = StageSpace(
    "own",
    (
        Stage((Variant("conv"),), (8, 12), (3, 5)),
        Stage((Variant("genet_xx"), Variant("zen_idw", 1.0, 2, True)), (16, 20, 24), (3,), 2, (1, 3)),
    ),
)
TABULAR = [
    OWN,
    *(SPACES[name] for name in ("genet", "genet-small", "genet-tiny", "mobilenetv3-ofa", "mobilenetv3-binas")),
    *(SPACES[name] for name in ("mobilenetv3-tiny-images", "nas-bench-201", "nas-bench-macro", "transnas-micro")),
]


@pytest.mark.parametrize("space", TABULAR, ids=lambda space: space.name)
@pytest.mark.parametrize("side", [32, 65])
def test_vectorised_counts_are_those_of_the_graph(space, side):
    shape = (3, side, side)
    genomes = random_genomes(space, 150, np.random.default_rng(side))
    found = VectorCounts(space, shape, 100)(genomes)
    expected = [count(decode(space, genome), shape, 100) for genome in genomes]
    for name in found._fields:
        assert getattr(found, name).tolist() == [getattr(counts, name) for counts in expected], name


def test_rows_met_before_are_the_same_again():
    counts = VectorCounts(OWN, (3, 32, 32), 10)
    every = np.stack(np.meshgrid(*(np.arange(len(knob.choices)) for knob in OWN.knobs), indexing="ij"), -1)
    genomes = every.reshape(-1, len(OWN.knobs))
    assert len(genomes) == OWN.cardinality
    first, again = counts(genomes), counts(genomes[::-1])
    assert np.array_equal(first.macs, again.macs[::-1])
    assert counts(genomes[:0]).params.shape == (0,)


def test_what_is_no_genome_is_refused():
    counts = VectorCounts(OWN, (3, 32, 32), 10)
    with pytest.raises(ValueError, match=r"genomes: int64 \(2, 3\), expected whole numbers \(n, 8\)"):
        counts(np.zeros((2, 3), np.int64))
    with pytest.raises(ValueError, match="a position without a choice"):
        counts(np.full((2, 8), 5))
    with pytest.raises(ValueError, match="expected whole numbers"):
        counts(np.zeros((2, 8)))


def test_a_space_without_small_tables_says_what_to_use():
    with pytest.raises(NotTabular, match=r"autoformer-tiny: .*hardware\.counts\.count"):
        VectorCounts(SPACES["autoformer-tiny"], (3, 224, 224), 10)
