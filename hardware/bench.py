"""Loaded networks of one device in their measuring process, and a record of every burst."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hardware.bursts import Accounts, Surrounding
from hardware.conditions import Surroundings
from hardware.device import Device
from hardware.measurement import Measurement
from hardware.models import Model, model_to_dict
from hardware.protocol import Clock, MeasureProtocol, judge
from hardware.sentinels import EVERY_S, Reading, best_of
from hardware.target import Target


class RealClock:
    """The machine's monotonic clock."""

    def now(self) -> float:
        """Seconds since some origin."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)


@dataclass
class _Loaded:
    """One network and what was seen of it."""

    model: Model
    input_shape: tuple[int, int, int]
    working_set_bytes: float
    numerics_error: float | None
    medians_ms: list[float] = field(default_factory=list)
    samples_ms: list[float] = field(default_factory=list)
    surroundings: list[Surrounding] = field(default_factory=list)


class Bench:
    """Networks that were loaded on one device; each burst is noted with what surrounded it.

    Args:
        target: the measuring process, just started.
        device: what it loads for.
        protocol: length of a burst, and whether sentinels are timed beside the bursts of a CPU.
        clock: gives the times of the bursts.
    """

    def __init__(self, target: Target, device: Device, protocol: MeasureProtocol, clock: Clock) -> None:
        self.device = device
        self._target, self._protocol, self._clock = target, protocol, clock
        self.mode = str(target.ask(f"starting {device.runtime}", do="start", device=device.to_dict())["mode"])
        self._surroundings = Surroundings()
        self._accounts = Accounts(device.threads)
        self._loaded: list[_Loaded] = []
        self._readings: list[Reading] = []
        self._began: float | None = None
        self._last_reading: float | None = None
        self._sentinels = protocol.sentinels and device.name == "cpu" and self.mode != "command"
        if self._sentinels:
            target.ask("loading the sentinels", do="load sentinels")

    def load(self, model: Model) -> int:
        """Load one network and pass it through the numerics gate; its position.

        Raises: RuntimeRefused, NumericsMismatch, MeasurementFailed.
        """
        told = self._target.ask(f"loading {model.name}", do="load", model=model_to_dict(model))
        shape = tuple(told.pop("input_shape"))
        self._loaded.append(_Loaded(model, (shape[0], shape[1], shape[2]), **told))
        return len(self._loaded) - 1

    def burst(self, at: int) -> float:
        """One burst of that network; its median in milliseconds. Raises MeasurementFailed: died or hung."""
        loaded = self._loaded[at]
        began = self._clock.now()
        self._began = began if self._began is None else self._began
        stale = self._sentinels and (self._last_reading is None or began - self._last_reading > EVERY_S)
        asked: dict[str, Any] = {"do": "burst", "at": at, "burst_ms": self._protocol.burst_ms, "sentinels": stale}
        told = self._target.ask(f"timing {loaded.model.name}", **asked)
        if stale:
            self._readings.append(Reading(*told["sentinels_ms"]))
            self._last_reading = began
        times_ms = told["times_ms"]
        median_ms = float(np.median(times_ms))
        loaded.samples_ms.extend(times_ms)
        loaded.medians_ms.append(median_ms)
        reading = self._readings[-1] if self._readings else None
        loaded.surroundings.append(self._accounts.note(began - self._began, len(times_ms), reading))
        return median_ms

    def measurement(self, at: int) -> Measurement:
        """What the bursts of that network say."""
        loaded = self._loaded[at]
        best = best_of(self._readings)
        bursts = tuple(noted.burst(self.mode, best) for noted in loaded.surroundings)
        flags = [burst.disturbed for burst in bursts if burst.disturbed is not None]
        judged = judge(loaded.medians_ms, loaded.working_set_bytes, self.device.threads, flags)
        p50_ms, p95_ms = np.quantile(loaded.samples_ms, [0.5, 0.95])
        return Measurement(
            model=loaded.model.name,
            latency_ms=judged.estimate_ms,
            low_ms=judged.low_ms,
            high_ms=judged.high_ms,
            p50_ms=float(p50_ms),
            p95_ms=float(p95_ms),
            runs=len(loaded.samples_ms),
            bursts_ms=tuple(loaded.medians_ms),
            mode=self.mode,
            verdict=judged.verdict,
            reason=judged.reason,
            numerics_error=loaded.numerics_error,
            conditions=self._surroundings.conditions(self.device, loaded.input_shape),
            bursts=bursts,
            working_set_bytes=loaded.working_set_bytes,
        )
