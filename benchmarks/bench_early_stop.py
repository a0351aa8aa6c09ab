"""Is stopping early sound? A campaign that may stop beside the whole campaign, on simulated machines with slow epochs.

    python benchmarks/bench_early_stop.py --repeats 400

Every machine is seen twice, by the timer as it is and by one that never stops before its last burst. For each regime
of slow epochs: bias (median error of the estimate), share within 3 % of the truth and share of stated intervals that
hold it, all three of figures that are not void; the verdicts; the bursts spent.
"""

import argparse
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
from json_line import emit

from hardware.protocol import Judgement, MeasureProtocol, judge, run_campaign

WORKING_SET = 1e6  # bytes: private caches, the narrowest interval
TRUE_MS = 2.0
NOISE = 0.004
BURST_S = 0.03
HORIZON_S = 200.0


@dataclass(frozen=True)
class Regime:
    """Slow epochs of a machine: share of the time 0..1, how long in seconds, how much slower."""

    share: float
    length_s: tuple[float, float] = (0.1, 3.0)
    slowdown: tuple[float, float] = (1.3, 1.7)


REGIMES = {
    "none": Regime(0.0),
    "rare": Regime(0.1),
    "frequent": Regime(0.5),
    "two-speed": Regime(0.5, (0.5, 0.5), (1.5, 1.5)),
    "minutes long": Regime(0.3, (30.0, 120.0)),
}


@dataclass
class Machine:
    """A simulated clock and one network on a machine of a regime; the seed gives its whole future."""

    regime: Regime
    seed: int
    time_s: float = 0.0

    def __post_init__(self) -> None:
        self.noise = np.random.default_rng((1, self.seed))
        self.ends_s, self.slowdowns = epochs(self.regime, np.random.default_rng((0, self.seed)))

    def now(self) -> float:
        return self.time_s

    def sleep(self, seconds: float) -> None:
        self.time_s += seconds

    def burst(self, at: int) -> float:
        slowdown = self.slowdowns[int(np.searchsorted(self.ends_s, self.time_s, side="right"))]
        self.time_s += BURST_S
        return TRUE_MS * slowdown * (1 + abs(self.noise.normal(0, NOISE)))


def epochs(regime: Regime, rng: np.random.Generator) -> tuple[list[float], list[float]]:
    """Ends of alternating epochs in seconds and the slowdown of each; a campaign begins at any point of them."""
    if regime.share == 0:
        return [], [1.0]
    ends_s, slowdowns, slow = [], [], bool(rng.random() < regime.share)
    at = -rng.uniform(0, regime.length_s[1])
    while at < HORIZON_S:
        length_s = rng.uniform(*regime.length_s)
        at += length_s if slow else length_s * (1 - regime.share) / regime.share
        ends_s.append(at)
        slowdowns.append(rng.uniform(*regime.slowdown) if slow else 1.0)
        slow = not slow
    return ends_s, [*slowdowns, 1.0]


def whole(protocol: MeasureProtocol) -> MeasureProtocol:
    """The same campaign without the right to stop early."""
    return replace(protocol, min_bursts=protocol.max_bursts, min_span_s=_even_span_s(protocol))


def _even_span_s(protocol: MeasureProtocol) -> float:
    """The span at which bursts follow each other as they do in the campaign that may stop."""
    return protocol.min_span_s * (protocol.max_bursts - 1) / (protocol.min_bursts - 1)


def judged(regime: Regime, protocol: MeasureProtocol, seed: int) -> tuple[Judgement, int]:
    """What one campaign says, and its number of bursts."""
    machine = Machine(regime, seed)
    bursts = run_campaign(1, machine.burst, protocol, machine)[0]
    return judge(bursts, WORKING_SET), len(bursts)


def summary(results: list[tuple[Judgement, int]]) -> dict[str, object]:
    """Bias, coverage, verdicts and cost over many machines."""
    kept = [found for found, _ in results if found.verdict != "void"]
    errors = np.array([found.estimate_ms / TRUE_MS - 1 for found in kept])
    held = [found.low_ms <= TRUE_MS <= found.high_ms for found in kept]
    return {
        "bias": round(float(np.median(errors)), 4) if kept else None,
        "within_3_percent": round(float(np.mean(np.abs(errors) <= 0.03)), 3) if kept else None,
        "coverage": round(float(np.mean(held)), 3) if kept else None,
        "ok_within_3_percent": _ok_within(results),
        "verdicts": dict(Counter(found.verdict for found, _ in results)),
        "bursts": float(np.mean([count for _, count in results])),
    }


def _ok_within(results: list[tuple[Judgement, int]]) -> float | None:
    """Share of the figures called ok that lie within 3 % of the truth: what a user relies on."""
    near = [abs(found.estimate_ms / TRUE_MS - 1) <= 0.03 for found, _ in results if found.verdict == "ok"]
    return round(float(np.mean(near)), 3) if near else None


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--repeats", type=int, default=400)
    repeats = options.parse_args().repeats
    protocol = MeasureProtocol()
    for name, regime in REGIMES.items():
        for rule, chosen in (("early", protocol), ("whole", whole(protocol))):
            results = [judged(regime, chosen, seed) for seed in range(repeats)]
            errors = [found.estimate_ms / TRUE_MS - 1 for found, _ in results]
            emit(f"early_stop.{name}.{rule}", errors, "fraction", **summary(results))


if __name__ == "__main__":
    main()
