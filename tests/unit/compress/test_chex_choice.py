"""Leverage scores, residuals, sampling, allocation and schedule of channel exploration."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nas.compress.chex.allocation import SLACK, Limits, Ranking, rounded, share_within, uniform_counts, whole
from nas.compress.chex.changes import signals
from nas.compress.chex.columns import columns, norm_scales, scale_of_units
from nas.compress.chex.exploration import changes_at, last_change, regrow_share
from nas.compress.chex.regrow import draw_regrown, residuals
from nas.compress.chex.scores import leverage_scores, select_columns
from nas.compress.chex.settings import ChexSettings, InvalidChex
from nas.compress.errors import BudgetUnreachable
from nas.compress.graph import executed_graph
from nas.compress.groups import ChannelGroup, Coupling, Member

ALL = torch.ones(12, dtype=torch.bool)


def matrix_of_rank(rank: int, seed: int = 0, rows: int = 40, columns_: int = 12) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    left = torch.randn(rows, rank, generator=generator, dtype=torch.float64)
    return left @ torch.randn(rank, columns_, generator=generator, dtype=torch.float64)


def error_without(matrix: Tensor, kept: Tensor) -> float:
    """What the kept columns do not span, squared."""
    return float(residuals(matrix, kept).sum())


@pytest.mark.parametrize("rank", [1, 5, 12])
def test_leverage_scores_sum_to_the_rank(rank: int) -> None:
    scores = leverage_scores(matrix_of_rank(12), rank)
    assert float(scores.sum()) == pytest.approx(rank)
    assert bool(((scores >= 0) & (scores <= 1 + 1e-12)).all())


def test_leverage_scores_do_not_count_directions_that_the_matrix_has_not() -> None:
    assert float(leverage_scores(matrix_of_rank(3), 9).sum()) == pytest.approx(3)


def test_leverage_scores_by_hand() -> None:
    matrix = torch.tensor([[3.0, 0, 0], [0, 2, 0], [0, 0, 1], [0, 0, 0]], dtype=torch.float64)
    assert leverage_scores(matrix, 2).tolist() == pytest.approx([1, 1, 0])


def test_subset_selection_spans_a_low_rank_layer_better_than_size_and_chance() -> None:
    """Two loud directions that many columns repeat, and quiet ones that a single column each carries."""
    loud, quiet = matrix_of_rank(1, 1, columns_=8) * 3, matrix_of_rank(4, 2, columns_=4)
    matrix = torch.cat([loud, quiet], 1) + 0.01 * matrix_of_rank(12, 3)
    chosen = error_without(matrix, select_columns(matrix, ALL, 5))
    assert chosen < error_without(matrix, select_columns(matrix, ALL, 5, "l1"))
    generator = torch.Generator().manual_seed(0)
    drawn = [error_without(matrix, torch.randperm(12, generator=generator) < 5) for _ in range(50)]
    assert chosen < np.median(drawn)


def test_subset_selection_is_near_the_best_of_all_subsets() -> None:
    matrix = matrix_of_rank(12, 5, columns_=8) * torch.tensor([4.0, 4, 4, 1, 0.1, 0.1, 0.1, 0.1])
    best = min(
        error_without(matrix, torch.tensor([at in each for at in range(8)])) for each in combinations(range(8), 4)
    )
    assert error_without(matrix, select_columns(matrix, ALL[:8], 4)) <= 1.05 * best


def test_only_living_columns_are_selected() -> None:
    alive = torch.arange(12) % 2 == 0
    matrix = matrix_of_rank(12) * alive
    kept = select_columns(matrix, alive, 4)
    assert int(kept.sum()) == 4
    assert not bool((kept & ~alive).any())
    assert torch.equal(select_columns(matrix, alive, 6), alive)


def test_a_layer_with_fewer_weights_than_channels_is_judged_by_size() -> None:
    matrix = torch.tensor([[1.0, 5, 3, 4], [1, 0, 0, 0]], dtype=torch.float64)
    assert select_columns(matrix, ALL[:4], 2).tolist() == [False, True, False, True]


def test_of_two_equal_columns_one_leaves_no_residual() -> None:
    matrix = matrix_of_rank(12)
    matrix[:, 7] = matrix[:, 2]
    kept = torch.arange(12) < 5
    found = residuals(matrix, kept)
    assert float(found[7]) == pytest.approx(0, abs=1e-20)
    assert found[:5].max() < 1e-20
    assert found[5:7].min() > 1


def test_residuals_are_distances_of_a_least_squares_fit() -> None:
    matrix, kept = matrix_of_rank(12), torch.arange(12) % 3 == 0
    inside = matrix[:, kept]
    fitted = inside @ torch.linalg.lstsq(inside, matrix).solution
    torch.testing.assert_close(residuals(matrix, kept), (matrix - fitted).square().sum(0))


def test_residuals_without_kept_columns_are_squared_norms() -> None:
    matrix = matrix_of_rank(12)
    torch.testing.assert_close(residuals(matrix, ~ALL), matrix.square().sum(0))


def test_a_copy_of_a_kept_column_comes_back_less_often_than_what_is_new() -> None:
    matrix = matrix_of_rank(12) / 3
    matrix[:, 7] = matrix[:, 2]
    kept, counts = torch.arange(12) < 5, torch.zeros(12)
    generator = torch.Generator().manual_seed(0)
    for _ in range(300):
        drawn = draw_regrown(matrix, kept, 2, generator)
        assert int(drawn.sum()) == 2
        assert not bool((drawn & kept).any())
        counts += drawn
    assert counts[7] < 10
    assert counts[7] == counts[5:].min()


def test_a_single_draw_follows_the_softmax_of_residuals() -> None:
    matrix = torch.diag(torch.tensor([2.0, 1.0, 1.5, 0.2], dtype=torch.float64))
    kept = torch.tensor([True, False, False, False])
    generator = torch.Generator().manual_seed(1)
    counts = sum(draw_regrown(matrix, kept, 1, generator).double() for _ in range(4000))
    wanted = torch.softmax(torch.tensor([1.0, 2.25, 0.04], dtype=torch.float64), 0)
    torch.testing.assert_close(counts[1:] / 4000, wanted, atol=0.03, rtol=0)


def test_random_regrowth_draws_evenly() -> None:
    matrix, kept = matrix_of_rank(12) * 5, torch.arange(12) < 4
    generator = torch.Generator().manual_seed(1)
    counts = sum(draw_regrown(matrix, kept, 2, generator, "random").double() for _ in range(2000))
    torch.testing.assert_close(counts[4:] / 2000, torch.full((8,), 0.25, dtype=torch.float64), atol=0.04, rtol=0)


def test_asking_for_all_brings_all_back() -> None:
    kept = torch.arange(12) < 4
    assert torch.equal(draw_regrown(matrix_of_rank(12), kept, 8, torch.Generator()), ~kept)


def limits(sizes: dict[str, int], floor: int = 4, step: int = 4) -> Limits:
    return Limits(sizes, dict.fromkeys(sizes, floor), step)


def product_of_widths(counts: dict[str, int]) -> int:
    a, b, c = counts["a"], counts["b"], counts["c"]
    return 9 * (3 * a + a * b + b * c) + 10 * c


SIZES = {"a": 16, "b": 32, "c": 64}


def test_the_smallest_units_of_all_groups_go_first() -> None:
    ranking = Ranking(
        {"a": torch.linspace(1, 2, 16), "b": torch.linspace(0.1, 0.9, 32), "c": torch.ones(64) * 3}, limits(SIZES)
    )
    assert ranking.counts(0) == SIZES
    assert ranking.counts(20) == {"a": 16, "b": 12, "c": 64}
    assert ranking.counts(40) == {"a": 8, "b": 4, "c": 64}
    assert ranking.counts(112) == {"a": 4, "b": 4, "c": 4}
    assert ranking.counts(-3) == SIZES


def test_masked_units_go_first_and_evenly_from_all_groups() -> None:
    zeros = {name: torch.cat([torch.zeros(size // 2), torch.ones(size // 2)]) for name, size in SIZES.items()}
    counts = Ranking(zeros, limits(SIZES)).counts(28)
    assert sum(counts.values()) == 112 - 28
    for name, size in SIZES.items():
        assert counts[name] == pytest.approx(0.75 * size, abs=1)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_the_threshold_is_the_first_that_keeps_the_budget(share: float) -> None:
    generator = torch.Generator().manual_seed(3)
    ranking = Ranking({name: torch.rand(size, generator=generator) for name, size in SIZES.items()}, limits(SIZES))
    budget = int(share * product_of_widths(SIZES))
    removed = ranking.within(product_of_widths, budget)
    assert product_of_widths(ranking.counts(removed)) <= budget < product_of_widths(ranking.counts(removed - 1))


@pytest.mark.parametrize("share", [0.15, 0.3, 0.5, 0.8])
def test_rounded_widths_use_the_budget_and_keep_floors(share: float) -> None:
    held = limits(SIZES)
    budget = int(share * product_of_widths(SIZES))
    counts = rounded(uniform_counts(held, product_of_widths, budget), held, product_of_widths, budget)
    assert (1 - SLACK) * budget <= product_of_widths(counts) <= budget
    assert all(count % 4 == 0 and count >= 4 for count in counts.values())


def test_rounding_of_many_groups_adds_steps_until_the_budget_is_used() -> None:
    sizes = {f"g{at}": 64 for at in range(40)}
    held = limits(sizes, step=8, floor=8)

    def macs(counts: dict[str, int]) -> int:
        widths = list(counts.values())
        return sum(a * b for a, b in pairwise(widths))

    budget = macs(sizes) // 2
    counts = rounded(uniform_counts(held, macs, budget), held, macs, budget)
    assert (1 - SLACK) * budget <= macs(counts) <= budget
    assert {count % 8 for count in counts.values()} == {0}


def test_uniform_widths_are_the_widest_of_their_share() -> None:
    held = limits(SIZES, step=1, floor=1)
    counts = uniform_counts(held, product_of_widths, product_of_widths(SIZES) // 2)
    shares = [count / SIZES[name] for name, count in counts.items()]
    assert max(shares) - min(shares) < 1e-9
    assert 0.47 < product_of_widths(whole(counts)) / product_of_widths(SIZES) <= 0.5


def test_a_budget_below_the_floors_says_what_they_cost() -> None:
    with pytest.raises(BudgetUnreachable, match=r"macs=0\.001: 25 of 24,112 .* floor 436 \(0\.018\) remain"):
        limits(SIZES).check(product_of_widths, 25, "chex: macs=0.001")


def test_floors_are_shares_of_the_group_rounded_up() -> None:
    coupling = Coupling({n: ChannelGroup(n, size, ()) for n, size in {**SIZES, "tiny": 3}.items()}, {}, (1, 8, 8))
    found = Limits.of(coupling, ChexSettings(macs=0.5, floor_share=0.2, round_to=8))
    assert found.floors == {"a": 8, "b": 8, "c": 16, "tiny": 3}


def test_bisection_over_shares_keeps_the_limit() -> None:
    assert share_within(lambda share: share, 0.3, rounds=10) == pytest.approx(0.3, abs=1e-3)
    assert share_within(lambda share: share, 2) == 1.0
    assert share_within(lambda share: share + 1, 0.5) is None


def test_regrowth_falls_from_d0_to_nothing() -> None:
    settings = ChexSettings(macs=0.5, regrow=0.4)
    last = last_change(settings, 25)
    shares = [regrow_share(settings, epoch, last) for epoch in range(last + 1)]
    assert last == 18
    assert shares[0] == 0.4
    assert shares[9] == pytest.approx(0.2)
    assert shares[-1] == pytest.approx(0, abs=1e-12)
    assert shares == sorted(shares, reverse=True)


def test_masks_change_every_interval_and_last_at_the_end_of_exploration() -> None:
    settings = ChexSettings(macs=0.5, interval=4)
    assert [epoch for epoch in range(25) if changes_at(settings, epoch, 18)] == [0, 4, 8, 12, 16, 18]
    assert last_change(ChexSettings(macs=0.5, explore=1.0), 5) == 4
    with pytest.raises(InvalidChex, match=r"recipe\.epochs=1"):
        last_change(settings, 1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({}, "macs=None, latency_ms=None, expected one"),
        ({"macs": 0.5, "latency_ms": 1.0}, "expected one of the two"),
        ({"macs": 1.5}, "share above 0"),
        ({"latency_ms": -1.0}, "milliseconds above 0"),
        ({"macs": 0.5, "interval": 0}, "interval=0"),
        ({"macs": 0.5, "selection": "l3"}, "leverage, l1"),
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(InvalidChex, match=message):
        ChexSettings(**wrong)  # type: ignore[arg-type]


def two_makers() -> tuple[dict[str, Tensor], ChannelGroup]:
    generator = torch.Generator().manual_seed(0)
    tensors = {
        "a.weight": torch.randn(4, 2, 3, 3, generator=generator),
        "a.bias": torch.randn(4, generator=generator),
        "b.weight": torch.randn(5, 4, 1, 1, generator=generator),  # transposed: makes dimension 1
        "na.weight": torch.tensor([3.0, -3, 0, 1]),
        "nb.weight": torch.tensor([4.0, 4, 0, 1]),
    }
    one = np.arange(4)[:, None]
    members = (
        Member("a.weight", 0, "maker", one, "a"),
        Member("a.bias", 0, "maker", one, "a"),
        Member("b.weight", 1, "maker", one, "b"),
        Member("na.weight", 0, "follower", one, "na"),
        Member("nb.weight", 0, "follower", one, "nb"),
    )
    return tensors, ChannelGroup("a", 4, members)


def test_columns_are_the_filters_of_all_makers() -> None:
    tensors, group = two_makers()
    found = columns(tensors, group)
    assert found.shape == (2 * 9 + 5, 4)
    wanted = torch.cat([tensors["a.weight"][1].flatten(), tensors["b.weight"][:, 1].flatten()])
    torch.testing.assert_close(found[:, 1], wanted.double())


def test_units_of_several_slices_have_longer_columns() -> None:
    group = ChannelGroup("q", 2, (Member("q.weight", 0, "maker", np.array([[0, 1], [2, 3]]), "q"),))
    weight = torch.arange(12.0).reshape(4, 3)
    assert columns({"q.weight": weight}, group).T.tolist() == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]


def test_the_scale_of_a_group_is_the_root_mean_square_of_its_norms() -> None:
    tensors, group = two_makers()
    found = scale_of_units(tensors, group, frozenset({"na.weight", "nb.weight"}))
    assert found is not None
    assert found.tolist() == pytest.approx([12.5**0.5, 12.5**0.5, 0, 1])
    assert scale_of_units(tensors, group, frozenset()) is None


def test_norms_are_found_on_the_executed_graph() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.PReLU(4), nn.BatchNorm2d(4))
    assert norm_scales(executed_graph(model, (3, 8, 8))) == {"1.weight", "4.weight"}


def test_groups_without_norms_are_compared_by_their_filters() -> None:
    tensors, group = two_makers()
    bare = ChannelGroup("b", 4, (group.members[2],))
    coupling = Coupling({"a": group, "b": bare}, {}, (2, 8, 8))
    keep = {"a": torch.tensor([True, True, False, True]), "b": torch.ones(4, dtype=torch.bool)}
    found = signals(tensors, coupling, keep, frozenset({"na.weight", "nb.weight"}), "norms")
    assert float(found["b"].mean()) == pytest.approx(float(found["a"][keep["a"]].mean()))
    sizes = tensors["b.weight"].double().square().sum((0, 2, 3)).sqrt()
    torch.testing.assert_close(found["b"] / found["b"][0], sizes / sizes[0])
