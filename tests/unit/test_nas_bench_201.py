"""The cells of NAS-Bench-201 and TransNAS-Bench-101: text, counts of the benchmarks, refusals."""

import os
from itertools import islice, product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from hardware.counts import count
from nas.algorithms.random import RandomSearch
from nas.objective import Objective
from predictors.proxies import ProxyFailed, zen_score
from predictors.proxies.entropy import mad_score
from predictors.proxies.module_proxies import MODULE_PROXIES
from predictors.proxies.module_proxies.of_architecture import score_architecture
from predictors.proxies.zen_monte_carlo import zen_score_monte_carlo
from search_spaces.arch import Architecture, Block, InvalidArchitecture
from search_spaces.block_limits import check_block
from search_spaces.blocks.cells import EDGES, OPERATIONS, read_cell, write_cell
from search_spaces.build import build
from search_spaces.formats import read_published, write_published
from search_spaces.nas_bench_201 import NAS_BENCH_201, NAS_BENCH_201_TINY, TRANSNAS_MICRO, read, write

SHAPE = (3, 32, 32)
FIRST = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
BEST = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
DATA = Path(os.environ.get("NETWRIGHT_DATA") or Path(__file__).parents[3] / "shared" / "data")
TABLE = DATA / "nasbench201" / "nb201_cifar10.csv.gz"
SUITE_ZERO = DATA / "nb_suite_zero"


def counts_of(text, space=NAS_BENCH_201, shape=SHAPE, classes=10):
    return count(space.of_cell(text), shape, classes)


def all_cells(operations=OPERATIONS):
    return (write_cell(cell) for cell in product(operations, repeat=len(EDGES)))


def test_every_text_reads_and_writes_to_itself():
    texts = list(all_cells())
    assert len(set(texts)) == 15_625 == NAS_BENCH_201.cardinality
    assert len({read(text)[0].digest for text in texts[::25]}) == 625
    for text in texts:
        arch, in_channels = read(text)
        assert in_channels == 3
        assert write(arch) == text


@pytest.mark.parametrize(("text", "params", "flops"), [(FIRST, 129_306, 15_647_370), (BEST, 1_073_466, 153_272_970)])
def test_params_and_flops_are_those_of_the_benchmark(text, params, flops):
    counts = counts_of(text)
    assert counts.params == params
    assert counts.macs + 10 == flops  # the benchmark counts the biases of the classifier


@pytest.mark.skipif(not TABLE.exists(), reason="set NETWRIGHT_DATA to the folder with nasbench201")
@pytest.mark.parametrize("step", [80, pytest.param(1, marks=pytest.mark.slow)])
def test_params_are_those_of_every_published_cell(step):
    table = pd.read_csv(TABLE, usecols=["arch", "c10_params_mb"])
    of_a_member = {counts_of(text).params for text in all_cells(("none", "nor_conv_1x1", "nor_conv_3x3"))}
    published = (table["c10_params_mb"] * 1e6).round().astype(int)
    whole = published.isin({value + d for value in of_a_member for d in (-1, 0, 1)})
    assert (~whole).sum() == 204  # rows of the file that average over different cells: no cell has so many parameters
    for text, expected in islice(zip(table["arch"][whole], published[whole], strict=True), 0, None, step):
        assert abs(counts_of(text).params - expected) <= 1


@pytest.mark.skipif(not SUITE_ZERO.exists(), reason="set NETWRIGHT_DATA to the folder with nb_suite_zero")
def test_flops_differ_from_those_of_the_suite_by_norms_and_pools_alone():
    """NAS-Bench-Suite-Zero also counts elements of norms, ReLUs and pools: a constant for each operation."""
    table = pd.read_csv(SUITE_ZERO / "nb201_cifar10_zc.csv.gz").merge(pd.read_csv(TABLE)[["idx", "arch"]], on="idx")
    table = table.iloc[:150]
    counted = [counts_of(text) for text in table["arch_y"]]
    assert [round(c.params / 1e6, 6) for c in counted] == pytest.approx(table["params"].tolist(), abs=1e-6)
    rest = table["flops"].to_numpy() - np.array([c.macs for c in counted]) / 1e6
    uses = np.stack([table["arch_y"].str.count(operation) for operation in OPERATIONS], axis=1).astype(float)
    fitted = uses @ np.linalg.lstsq(uses, rest, rcond=None)[0]
    assert np.abs(fitted - rest).max() < 1e-4


@pytest.mark.skipif(not SUITE_ZERO.exists(), reason="set NETWRIGHT_DATA to the folder with nb_suite_zero")
def test_params_of_transnas_cells_are_the_published_ones():
    table = pd.read_csv(SUITE_ZERO / "transnas_micro_3tasks_zc.csv.gz")
    table = table[table["task"] == "class_object"].iloc[:60]
    operations = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3")
    for code, published in zip(table["arch"], table["params"], strict=True):
        text = write_cell(tuple(operations[int(digit)] for digit in code.strip("()").split(",")))
        ours = counts_of(text, TRANSNAS_MICRO, (3, 256, 256), 100).params / 1e6
        assert ours == pytest.approx(published, rel=1e-6)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("|nor_conv_5x5~0|" + BEST[16:], "column 2: 'nor_conv_5x5', expected one of none, skip_connect"),
        (BEST.replace("~1|+", "~3|+"), "column 46: '~3|+|', expected '~1|+|'"),
        (BEST[:-1], "column 93: '~2', expected '~2|'"),
        (BEST + "+|none~0|", "column 96: '+|none~0|', expected the end"),
        ("|", "column 2: '', expected one of"),
        ("||||||", "column 2: '', expected one of"),
        ("|\n" + BEST, "column 2: "),
    ],
)
def test_a_malformed_text_is_one_line_with_the_column(text, said):
    with pytest.raises(InvalidArchitecture) as caught:
        read_published(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_only_members_for_three_channels_have_a_text():
    member = read(BEST)[0]
    assert write_published(member, 3) == BEST
    assert write_published(member, 1) == member.to_json()
    tiny = NAS_BENCH_201_TINY.of_cell(BEST)
    assert write_published(tiny, 3) == tiny.to_json()


@pytest.mark.parametrize("block", [Block("nb201_cell", 8), Block("nb201_cell", 8, kernel=5, ops=BEST)])
def test_a_cell_needs_operations_and_has_no_kernel(block):
    with pytest.raises(InvalidArchitecture, match=r"^tiny: blocks\[0\]\.(ops='', column 1|kernel=5, expected 3)"):
        check_block(block, "tiny: blocks[0]")


def test_pools_are_no_members_of_the_transnas_space():
    with pytest.raises(InvalidArchitecture, match=r"transnas-micro: blocks.*avg_pool_3x3 on the edge 1<-0, expected"):
        TRANSNAS_MICRO.validate(TRANSNAS_MICRO.of_cell(FIRST))


@pytest.mark.parametrize(
    ("text", "convs"),
    [
        (BEST, 1 + 3 * 5 * 3 + 2 * 2),
        ("|none~0|+|none~0|none~1|+|nor_conv_1x1~0|none~1|nor_conv_3x3~2|", 1 + 3 * 5 + 2 * 2),
        ("|none~0|+|none~0|nor_conv_3x3~1|+|none~0|skip_connect~1|nor_conv_3x3~2|", 1 + 2 * 2),
    ],
)
def test_depth_is_that_of_the_longest_way_that_carries_anything(text, convs):
    assert counts_of(text).convs == convs


def test_a_convolution_of_zeros_still_has_its_parameters():
    fed = "|none~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|none~2|"
    assert counts_of(fed).params - counts_of(fed.replace("nor_conv_3x3", "none")).params == 243_040


def test_a_cell_sums_its_operations():
    """The definition, node by node, on the module's own convolutions."""
    torch.manual_seed(0)
    arch = Architecture((Block("nb201_cell", 3, ops=BEST),))
    network = build(arch, num_classes=2, in_channels=3).eval()
    x = torch.randn(2, 3, 6, 5)
    edges = network.blocks.get_submodule("0.s0")

    def conv(at, node, source):
        edge = edges.get_submodule(f"n{node}.e{source}")
        return edge.norm(edge.conv(torch.relu(at)))

    first = conv(x, 1, 0)
    second = conv(x, 2, 0) + conv(first, 2, 1)
    third = x + conv(first, 3, 1) + conv(second, 3, 2)
    torch.testing.assert_close(network.forward_features(x)[-1], third)


def test_scores_of_chains_refuse_cells_and_name_what_to_take():
    arch = read(BEST)[0]
    for score, instead in ((zen_score, "zen-mc"), (mad_score, "synflow")):
        with pytest.raises(ProxyFailed, match=instead) as caught:
            score(arch, SHAPE)
        assert "\n" not in str(caught.value)


def test_random_forwards_give_a_cell_its_zen_score_where_the_closed_form_has_none():
    arch = NAS_BENCH_201_TINY.of_cell(BEST)
    measured = zen_score_monte_carlo(arch, (3, 16, 16), generator=torch.Generator().manual_seed(4)).mean
    assert np.isfinite(measured)
    assert Objective("zen", (3, 16, 16)).scorer()(arch, 4) == measured


@pytest.mark.parametrize("name", MODULE_PROXIES)
def test_proxies_of_modules_score_cells(name):
    assert np.isfinite(score_architecture(name, NAS_BENCH_201_TINY.of_cell(BEST), (3, 16, 16)))


def test_random_search_draws_different_cells():
    candidates = RandomSearch(NAS_BENCH_201, seed=0).ask(200)
    cells = {read_cell(write(candidate.arch)) for candidate in candidates}
    assert len(cells) == 200
    assert {operation for cell in cells for operation in cell} == set(OPERATIONS)
