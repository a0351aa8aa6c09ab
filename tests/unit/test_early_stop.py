"""Stopping early beside the whole campaign on the same simulated machines: no bias, no lost coverage, and its limit."""

from dataclasses import replace

import numpy as np
import pytest
from simulated_machine import SimulatedMachine, slow_epochs

from hardware.protocol import Judgement, MeasureProtocol, judge, run_campaign

SMALL = 1e6  # bytes: the narrowest interval
EARLY = MeasureProtocol()
WHOLE = replace(
    EARLY,
    min_bursts=EARLY.max_bursts,  # never stops, at the pace of the one that may
    min_span_s=EARLY.min_span_s * (EARLY.max_bursts - 1) / (EARLY.min_bursts - 1),
)
SEEDS = range(60)
REGIMES = {
    "none": lambda seed: [],
    "rare": lambda seed: slow_epochs(seed, 0.1),
    "frequent": lambda seed: slow_epochs(seed, 0.5),
    "two speeds": lambda seed: [(0.5 * (i + 1) + seed / 60, 1.5 if i % 2 else 1.0) for i in range(400)],
}


def campaigns(protocol: MeasureProtocol, epochs) -> tuple[list[Judgement], list[int]]:
    found, counts = [], []
    for seed in SEEDS:
        machine = SimulatedMachine([1.0], epochs(seed), seed=seed)
        bursts = run_campaign(1, machine.burst, protocol, machine)[0]
        found.append(judge(bursts, SMALL))
        counts.append(len(bursts))
    return found, counts


@pytest.mark.parametrize("epochs", REGIMES.values(), ids=REGIMES)
def test_stopping_early_loses_neither_bias_nor_coverage(epochs):
    (early, _), (whole, counts) = campaigns(EARLY, epochs), campaigns(WHOLE, epochs)
    assert set(counts) == {WHOLE.max_bursts}
    bias = [np.median([each.estimate_ms for each in found]) - 1 for found in (early, whole)]
    assert abs(bias[0] - bias[1]) < 0.002
    held = [np.mean([each.low_ms <= 1.0 <= each.high_ms for each in found]) for found in (early, whole)]
    assert held[0] >= 0.95
    assert held[0] >= held[1] - 0.02


def test_it_saves_bursts_on_a_calm_machine_only():
    calm, busy = campaigns(EARLY, REGIMES["none"])[1], campaigns(EARLY, REGIMES["two speeds"])[1]
    assert max(calm) <= EARLY.min_bursts + 2
    assert np.mean(busy) > 0.9 * EARLY.max_bursts


def test_no_campaign_of_seconds_sees_an_epoch_of_minutes():
    """The stated limit: one that lies wholly inside a slow epoch is called ok, with or without the rule."""
    for protocol in (EARLY, WHOLE):
        found, _ = campaigns(protocol, lambda seed: [(300.0, 1.5)])
        assert {each.verdict for each in found} == {"ok"}
        assert all(each.low_ms > 1.4 for each in found)
