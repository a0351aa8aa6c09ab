"""The timer's statistics on a simulated machine: exact, repeatable, no real clock."""

import pytest
from simulated_machine import SimulatedMachine, slow_epochs

from hardware.protocol import MeasureProtocol, disagreement, estimate_ms, half_width, judge, run_campaign

SMALL = 1e6  # bytes of a working set that fits private caches


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


def test_sentinels_explain_and_decide_nothing():
    torn = [1.0, 1.2, 1.5, 1.9, 2.4]
    plain = judge(torn, SMALL)
    still = judge(torn, SMALL, 1, [False] * 5)
    slow = judge(torn, SMALL, 1, [True, False, True, True, True])
    assert still.reason == f"{plain.reason}; the sentinels kept still: this network is what does not repeat"
    assert slow.reason == f"{plain.reason}; the sentinels were slow beside 4 of 5 bursts: the machine was disturbed"
    for judged in (still, slow):
        assert (judged.estimate_ms, judged.low_ms, judged.high_ms, judged.verdict) == (
            *(plain.estimate_ms, plain.low_ms, plain.high_ms),
            plain.verdict,
        )
    assert judge([1.0] * 5, SMALL, 1, [True] * 5).reason == ""


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
