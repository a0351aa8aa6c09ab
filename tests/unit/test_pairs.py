"""Comparing two networks in pairs of bursts, on a simulated machine."""

import numpy as np
import pytest
from scipy.stats import binom
from simulated_machine import SimulatedMachine, slow_epochs

from hardware.pairs import PairProtocol, interval_rank, judge_pairs, run_pairs


def compared(true_ms, epochs, seed=0, protocol=PairProtocol()):  # noqa: B008 - frozen
    machine = SimulatedMachine(true_ms, epochs, seed=seed)
    return machine, judge_pairs(run_pairs(machine.burst, protocol, machine))


@pytest.mark.parametrize("share", [0.0001, 0.3, 0.5])
def test_a_difference_of_five_percent_is_found_through_slow_epochs(share):
    for seed in range(30):
        _, judged = compared([1.0, 1.05], slow_epochs(seed, share), seed)
        assert judged.verdict == "faster"
        assert judged.ratio == pytest.approx(1 / 1.05, rel=0.01)
        _, turned = compared([1.05, 1.0], slow_epochs(seed, share), seed)
        assert turned.verdict == "slower"


def test_equal_networks_differ_rarely_and_one_percent_is_never_claimed():
    claimed = 0
    for seed in range(100):
        claimed += compared([2.0, 2.0], slow_epochs(seed, 0.5), seed)[1].verdict != "no clear difference"
        assert compared([1.0, 1.01], [], seed)[1].verdict == "no clear difference"
    assert claimed == 0


def test_the_interval_holds_the_true_ratio_as_often_as_it_says():
    held = 0
    for seed in range(300):
        machine = SimulatedMachine([1.0, 1.0], slow_epochs(seed, 0.3), seed=seed, noise=0.02)
        judged = judge_pairs(run_pairs(machine.burst, PairProtocol(), machine))
        held += judged.low <= 1.0 <= judged.high
    assert held >= 0.93 * 300  # 95 % or more, less two standard errors


def test_either_begins_in_turn_and_pairs_are_spread():
    machine, _ = compared([1.0, 2.0], [], protocol=PairProtocol(8, 10.0))
    assert machine.order == [0, 1, 1, 0] * 4
    assert 7.0 <= machine.time_s <= 12.0


def test_time_ends_a_comparison_but_not_before_six_pairs():
    machine = SimulatedMachine([1.0, 1.0], [], burst_s=2.0)
    assert len(run_pairs(machine.burst, PairProtocol(30, 10.0, max_s=12.0), machine)) == 6
    machine = SimulatedMachine([1.0, 1.0], [], burst_s=0.5)
    assert len(run_pairs(machine.burst, PairProtocol(30, 10.0, max_s=12.0), machine)) == 12


@pytest.mark.parametrize("count", [6, 7, 12, 30, 101])
def test_ranks_of_the_interval_hold_the_median_with_95_percent(count):
    rank = interval_rank(count)
    assert 1 - 2 * binom.cdf(rank, count, 0.5) >= 0.95
    assert rank == 0 or 1 - 2 * binom.cdf(rank + 1, count, 0.5) < 0.95  # and no wider than it must be


def test_the_minimum_is_told_beside_the_pairs():
    pairs = [(1.0, 2.0)] * 5 + [(9.0, 2.0)]
    judged = judge_pairs(pairs)
    assert (judged.ratio, judged.low, judged.high, judged.ratio_of_minima) == (0.5, 0.5, 4.5, 0.5)
    assert judged.verdict == "no clear difference"
    assert np.isfinite([judged.ratio, judged.low, judged.high]).all()


@pytest.mark.parametrize("wrong", [{"pairs": 5}, {"span_s": -1.0}, {"max_s": 0.0}])
def test_impossible_comparisons_are_refused(wrong):
    with pytest.raises(ValueError, match=r"^comparison: "):
        PairProtocol(**wrong)
    with pytest.raises(ValueError, match=r"^comparison: 5 pairs"):
        judge_pairs([(1.0, 1.0)] * 5)
