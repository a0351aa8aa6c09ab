"""The one timer: latency of networks on a device, with an interval, a verdict and the conditions.

One child process per device; a numerics gate before any timing; short bursts of all models interleaved and
spread over time; the minimum (or the 10th percentile) of burst medians. See ``hardware.protocol``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from hardware.conditions import Conditions, Surroundings
from hardware.device import Device
from hardware.models import LayerModel, Model, OnnxFile, model_to_dict
from hardware.protocol import MeasureProtocol, Verdict, judge, run_campaign
from hardware.runtimes.contract import NumericsMismatch, RuntimeRefused
from hardware.target import MeasurementFailed, Target

__all__ = [
    "LayerModel",
    "MeasureProtocol",
    "Measurement",
    "MeasurementFailed",
    "Model",
    "NumericsMismatch",
    "OnnxFile",
    "RuntimeRefused",
    "measure",
]

SCHEMA_VERSION = 1
TIMING_SHARE = 0.5  # of ``max_s`` that is kept for timing, however long loading took


@dataclass(frozen=True)
class Measurement:
    """The latency of one network on one device.

    Attributes:
        model: name of the network.
        latency_ms: of one call with the device's batch, outside slow epochs; lower is better.
        low_ms, high_ms: interval in which a repeat is expected (95 %); with several threads wider, and no promise.
        p50_ms, p95_ms: of all single runs, slow epochs included.
        runs: number of timed runs.
        bursts_ms: every burst median, in the order of measuring.
        mode: "fifo", "nice", "cpu-time" or "wall", see ``hardware.priority``; "command" where the user's own times.
        verdict: "ok", "noisy" (believe the interval only) or "void" (measure again).
        reason: why the verdict is not "ok"; "" otherwise.
        numerics_error: of the gate, as a fraction of the largest output; None where the output cannot be seen, as
            a command of the user's runs the network.
        conditions: machine, software and load.
    """

    model: str
    latency_ms: float
    low_ms: float
    high_ms: float
    p50_ms: float
    p95_ms: float
    runs: int
    bursts_ms: tuple[float, ...]
    mode: str
    verdict: Verdict
    reason: str
    numerics_error: float | None
    conditions: Conditions

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form with its schema version."""
        return {"version": SCHEMA_VERSION, **asdict(self)}

    def to_json(self) -> str:
        """Canonical text."""
        return json.dumps(self.to_dict(), sort_keys=True)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read what ``to_dict`` wrote."""
        if data.get("version") != SCHEMA_VERSION:
            raise ValueError(
                f"measurement: schema version {data.get('version')!r}, this release reads {SCHEMA_VERSION}"
            )
        rest = {key: value for key, value in data.items() if key not in ("version", "bursts_ms", "conditions")}
        conditions = Conditions.from_dict(data["conditions"])
        return cls(**rest, bursts_ms=tuple(data["bursts_ms"]), conditions=conditions)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what ``to_json`` wrote."""
        return cls.from_dict(json.loads(text))

    def __str__(self) -> str:
        figure = f"{self.model}: {self.latency_ms:.3f} ms [{self.low_ms:.3f}, {self.high_ms:.3f}] {self.verdict}"
        return f"{figure} ({self.reason})" if self.reason else figure


class RealClock:
    """The machine's monotonic clock."""

    def now(self) -> float:
        """Seconds since some origin."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)


Progress = Callable[[str, float], None]  # what is being done, share done in 0..1


def measure(
    models: Sequence[Model],
    device: Device,
    protocol: MeasureProtocol = MeasureProtocol(),  # noqa: B008 - frozen
    progress: Progress | None = None,
) -> list[Measurement]:
    """Time networks on a device.

    Args:
        models: ONNX files or layers; their bursts are interleaved, so many take little longer than one.
        device: runtime, threads and batch.
        protocol: how much to measure; ``MeasureProtocol.quick()`` and ``.careful()`` are presets. For several
            threads it is raised.
        progress: told what is going on.
    Returns: one measurement per model, in order.
    Raises: RuntimeRefused: a model that the runtime cannot load. NumericsMismatch: an output that is wrong.
        MeasurementFailed: the measuring process died or hung.
    """
    if not models:
        return []
    protocol = protocol.for_threads(device.threads)
    surroundings = Surroundings()
    tell = progress or (lambda what, share: None)
    samples_ms: list[list[float]] = [[] for _ in models]
    clock = RealClock()
    began = clock.now()
    with Target(device, protocol.hang_s) as target:
        mode = target.ask(f"starting {device.runtime}", do="start", device=device.to_dict())["mode"]
        facts: list[_Fact] = []
        for i, model in enumerate(models):
            tell("loading", i / len(models))
            told = target.ask(f"loading {model.name}", do="load", model=model_to_dict(model))
            facts.append(_Fact(**{**told, "input_shape": tuple(told["input_shape"])}, threads=device.threads))

        def burst(at: int) -> float:
            tell("timing", min(1.0, (clock.now() - began) / left_s))
            asked = {"do": "burst", "at": at, "burst_ms": protocol.burst_ms}
            times_ms = target.ask(f"timing {models[at].name}", **asked)["times_ms"]
            samples_ms[at].extend(times_ms)
            return float(np.median(times_ms))

        left_s = max(protocol.max_s - (clock.now() - began), TIMING_SHARE * protocol.max_s)
        began = clock.now()
        medians_ms = run_campaign(len(models), burst, protocol.capped(left_s), clock)

    return [
        _measurement(
            model, fact, medians_ms[at], samples_ms[at], mode, surroundings.conditions(device, fact.input_shape)
        )
        for at, (model, fact) in enumerate(zip(models, facts, strict=True))
    ]


@dataclass(frozen=True)
class _Fact:
    """What is known of a loaded model."""

    input_shape: tuple[int, int, int]
    threads: int
    working_set_bytes: float
    numerics_error: float | None


def _measurement(
    model: Model, fact: _Fact, medians_ms: list[float], samples_ms: list[float], mode: str, conditions: Conditions
) -> Measurement:
    judged = judge(medians_ms, fact.working_set_bytes, fact.threads)
    p50_ms, p95_ms = np.quantile(samples_ms, [0.5, 0.95])
    return Measurement(
        model=model.name,
        latency_ms=judged.estimate_ms,
        low_ms=judged.low_ms,
        high_ms=judged.high_ms,
        p50_ms=float(p50_ms),
        p95_ms=float(p95_ms),
        runs=len(samples_ms),
        bursts_ms=tuple(medians_ms),
        mode=mode,
        verdict=judged.verdict,
        reason=judged.reason,
        numerics_error=fact.numerics_error,
        conditions=conditions,
    )
