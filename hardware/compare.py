"""Two networks on one device, or on two, timed against each other in interleaved pairs of bursts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

from hardware.bench import Bench, RealClock
from hardware.device import Device
from hardware.measure import Progress
from hardware.measurement import Measurement
from hardware.models import Model
from hardware.pairs import Choice, PairProtocol, judge_pairs, run_pairs
from hardware.protocol import MeasureProtocol
from hardware.target import Target

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Contestant:
    """A network and where it runs."""

    model: Model
    device: Device


@dataclass(frozen=True)
class Comparison:
    """Which of two is faster.

    Attributes:
        names: of the two, each with its device where that is what tells them apart.
        verdict: of the first: "faster", "slower" or "no clear difference".
        ratio: first over second, median of the pairs; below 1 the first is faster.
        low, high: interval of that median, 95 %.
        ratio_of_minima: of the two latencies as the timer estimates them.
        pairs_ms: burst medians (first, second), in the order of measuring.
        first, second: each measured as ``measure`` does, from the same bursts.
    """

    names: tuple[str, str]
    verdict: Choice
    ratio: float
    low: float
    high: float
    ratio_of_minima: float
    pairs_ms: tuple[tuple[float, float], ...]
    first: Measurement
    second: Measurement

    def sentence(self) -> str:
        """The verdict for a person."""
        first, second = self.names
        if self.verdict == "no clear difference":
            said = f"no clear difference between {first} and {second}: it takes {self.ratio:.3f} times as long"
        else:
            said = f"{first} is {self.verdict} than {second}: it takes {self.ratio:.3f} times as long"
        return f"{said} (95 % interval {self.low:.3f} to {self.high:.3f}, {len(self.pairs_ms)} pairs)"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form with its schema version."""
        facts = asdict(self)
        measured = {"first": self.first.to_dict(), "second": self.second.to_dict()}
        return {"version": SCHEMA_VERSION, **facts, **measured, "sentence": self.sentence()}

    def to_json(self) -> str:
        """Canonical text."""
        return json.dumps(self.to_dict(), sort_keys=True)


def compare(
    first: Contestant,
    second: Contestant,
    pairs: PairProtocol = PairProtocol(),  # noqa: B008 - frozen
    protocol: MeasureProtocol = MeasureProtocol(),  # noqa: B008 - frozen
    progress: Progress | None = None,
) -> Comparison:
    """Time two networks against each other.

    Args:
        first: a network with its device.
        second: the other; equal devices share a process, others have one each. The two bursts of a pair follow each
            other and never overlap.
        pairs: how many, over how long.
        protocol: of the single burst.
        progress: told what is going on.
    Raises: RuntimeRefused: a model that a runtime cannot load. NumericsMismatch: an output that is wrong.
        MeasurementFailed: a measuring process died or hung.
    """
    tell = progress or (lambda what, share: None)
    clock = RealClock()
    with ExitStack() as stack:
        benches: dict[Device, Bench] = {}
        places: list[tuple[Bench, int]] = []
        for i, contestant in enumerate((first, second)):
            tell("loading", i / 2)
            device = contestant.device
            if device not in benches:
                target = stack.enter_context(Target(device, protocol.hang_s))
                benches[device] = Bench(target, device, protocol, clock)
            places.append((benches[device], benches[device].load(contestant.model)))
        began = clock.now()

        def burst(at: int) -> float:
            tell("timing", min(1.0, (clock.now() - began) / pairs.span_s) if pairs.span_s else 0.0)
            bench, place = places[at]
            return bench.burst(place)

        pairs_ms = run_pairs(burst, pairs, clock)
    return _comparison((first, second), pairs_ms, [bench.measurement(place) for bench, place in places])


def _comparison(
    contestants: tuple[Contestant, Contestant],
    pairs_ms: Sequence[tuple[float, float]],
    measured: Sequence[Measurement],
) -> Comparison:
    judged = judge_pairs(pairs_ms)
    return Comparison(
        names=names(*contestants),
        verdict=judged.verdict,
        ratio=judged.ratio,
        low=judged.low,
        high=judged.high,
        ratio_of_minima=judged.ratio_of_minima,
        pairs_ms=tuple(pairs_ms),
        first=measured[0],
        second=measured[1],
    )


def names(first: Contestant, second: Contestant) -> tuple[str, str]:
    """What to call the two."""
    a, b = first.model.name, second.model.name
    if first.device != second.device:
        return f"{a} on {first.device}", f"{b} on {second.device}"
    return (a, b) if a != b else (f"{a} (first)", f"{b} (second)")
