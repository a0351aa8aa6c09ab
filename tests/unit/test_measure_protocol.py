"""The timer's statistics on a simulated machine: exact, repeatable, no real clock."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from hardware.protocol import MeasureProtocol, disagreement, estimate_ms, half_width, judge, run_campaign

SMALL = 1e6  # bytes of a working set that fits private caches


@dataclass
class SimulatedMachine:
    """A clock, and networks whose speed depends on the epoch that the machine is in."""

    true_ms: list[float]
    epochs: list[tuple[float, float]]  # (end in seconds, slowdown), in order; 1.0 after the last
    noise: float = 0.004
    burst_s: float = 0.03
    seed: int = 0
    time_s: float = 0.0
    order: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def now(self) -> float:
        return self.time_s

    def sleep(self, seconds: float) -> None:
        self.time_s += seconds

    def burst(self, at: int) -> float:
        self.order.append(at)
        slowdown = next((factor for end, factor in self.epochs if self.time_s < end), 1.0)
        self.time_s += self.burst_s
        return self.true_ms[at] * slowdown * (1 + abs(self.rng.normal(0, self.noise)))


def slow_epochs(seed: int, share: float, length_s: float = 400.0) -> list[tuple[float, float]]:
    """Alternating calm and slow epochs; slow ones last 0.1-3 s and cost 1.3-1.7x."""
    rng = np.random.default_rng(seed)
    epochs, at = [], 0.0
    slow = rng.random() < share
    while at < length_s:
        duration = rng.uniform(0.1, 3.0)
        at += duration if slow else duration * (1 - share) / share
        epochs.append((at, rng.uniform(1.3, 1.7) if slow else 1.0))
        slow = not slow
    return epochs


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
@pytest.mark.parametrize("protocol", [MeasureProtocol.quick(), MeasureProtocol(), MeasureProtocol.careful()], ids=str)
def test_slow_epochs_do_not_move_the_estimate(protocol, share):
    true_ms = [1.0, 5.0, 20.0]
    for seed in range(40):
        machine = SimulatedMachine(true_ms, slow_epochs(seed, share), seed=seed)
        medians = run_campaign(len(true_ms), machine.burst, protocol, machine)
        for truth, bursts in zip(true_ms, medians, strict=True):
            assert judge(bursts, SMALL).estimate_ms == pytest.approx(truth, rel=0.03)


def test_one_burst_would_have_been_fooled():
    wrong = 0
    for seed in range(60):
        machine = SimulatedMachine([1.0], slow_epochs(seed, 0.5), seed=seed)
        wrong += machine.burst(0) > 1.03
    assert wrong > 10


@pytest.mark.parametrize("protocol", [MeasureProtocol.quick(), MeasureProtocol(), MeasureProtocol.careful()], ids=str)
def test_a_machine_of_two_speeds_is_never_ok(protocol):
    flapping = [(0.5 * (i + 1), 1.5 if i % 2 else 1.0) for i in range(2000)]
    medians = run_campaign(1, (machine := SimulatedMachine([2.0], flapping)).burst, protocol, machine)[0]
    judged = judge(medians, SMALL)
    assert judged.verdict in ("noisy", "void")
    assert "slower" in judged.reason or "differ" in judged.reason


def test_a_machine_that_never_repeats_is_void_and_says_why():
    judged = judge([1.0, 1.2, 1.5, 1.9, 2.4], SMALL)
    assert judged.verdict == "void"
    assert "50.0%" in judged.reason
    assert judged.high_ms >= 1.5


def test_a_calm_machine_stops_after_the_least_span():
    machine = SimulatedMachine([1.0], [])
    protocol = MeasureProtocol()
    medians = run_campaign(1, machine.burst, protocol, machine)[0]
    assert judge(medians, SMALL).verdict == "ok"
    assert protocol.min_bursts <= len(medians) <= protocol.min_bursts + 2
    assert machine.time_s >= protocol.min_span_s


def test_bursts_are_interleaved_round_robin():
    machine = SimulatedMachine([1.0, 2.0, 3.0], [])
    run_campaign(3, machine.burst, MeasureProtocol.quick(), machine)
    assert machine.order[:6] == [0, 1, 2, 0, 1, 2]


def test_the_cap_on_time_holds_and_every_model_has_a_burst():
    machine = SimulatedMachine([1.0] * 200, slow_epochs(0, 0.5), burst_s=0.1)
    medians = run_campaign(200, machine.burst, MeasureProtocol(max_s=10.0), machine)
    assert min(map(len, medians)) >= 1
    assert machine.time_s == pytest.approx(20.0, abs=0.2)  # 200 first bursts last longer than the cap
    assert judge(medians[0], SMALL).verdict == "void"
    assert "at least 3" in judge(medians[0], SMALL).reason


def test_estimates():
    assert estimate_ms([3.0, 1.0, 2.0]) == 1.0
    bursts = [float(x) for x in range(1, 12)]
    assert estimate_ms(bursts) == pytest.approx(2.0)
    assert disagreement([1.0, 1.01, 1.5, 1.02]) == pytest.approx(0.02)
    assert disagreement([1.0, 1.0]) == float("inf")


def test_the_interval_widens_with_the_working_set_and_with_disagreement():
    assert half_width(1e6, 1) == 0.03
    assert half_width(5e6, 1) == pytest.approx(0.055)
    assert half_width(1e8, 1) == 0.08
    calm, torn = judge([1.0] * 5, SMALL), judge([1.0, 1.04, 1.045, 1.05], SMALL)
    assert calm.high_ms == pytest.approx(1.03)
    assert torn.high_ms == pytest.approx(1.045)
    assert torn.verdict == "noisy"
    assert calm.low_ms < 1.0 < calm.high_ms


@pytest.mark.parametrize("threads", [2, 8])
@pytest.mark.parametrize("protocol", [MeasureProtocol.quick(), MeasureProtocol(), MeasureProtocol.careful()], ids=str)
def test_several_threads_take_more_bursts_over_more_time_and_promise_less(protocol, threads):
    assert protocol.for_threads(1) is protocol
    machine = SimulatedMachine([1.0], [])
    bursts = run_campaign(1, machine.burst, protocol.for_threads(threads), machine)[0]
    assert len(bursts) >= 12
    assert machine.time_s >= 12
    one, several = judge(bursts, SMALL), judge(bursts, SMALL, threads)
    assert several.estimate_ms == one.estimate_ms
    assert several.high_ms > 1.1 * one.high_ms
    assert several.low_ms < 0.9 * one.low_ms


def test_a_brief_protocol_is_raised_for_several_threads():
    brief = MeasureProtocol(min_bursts=3, min_span_s=0.1, max_bursts=6, max_s=2.0).for_threads(2)
    assert (brief.min_bursts, brief.max_bursts, brief.min_span_s, brief.max_s) == (12, 12, 12.0, 2.0)


@pytest.mark.parametrize(
    "wrong", [{"min_bursts": 2}, {"max_bursts": 3}, {"burst_ms": 0}, {"max_s": -1.0}, {"min_span_s": -1.0}]
)
def test_impossible_protocols_are_refused(wrong):
    with pytest.raises(ValueError, match="protocol"):
        MeasureProtocol(**wrong)
