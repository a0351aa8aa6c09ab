"""What surrounded each burst: when it ran, the load, the time that the host withheld, the clock, the sentinels."""

from __future__ import annotations

import os
from dataclasses import dataclass

import psutil

from hardware.machine import clock_mhz
from hardware.sentinels import Reading, disturbed

_SAME_STEAL_S = 0.1  # shorter periods hold too few ticks of the kernel's accounts


@dataclass(frozen=True, slots=True)
class Burst:
    """Conditions of one burst; its median stands in the same place of ``Measurement.bursts_ms``.

    Attributes:
        at_s: seconds since the first burst of the campaign.
        runs: timed runs.
        mode: "fifo", "nice", "cpu-time", "wall" or "command".
        load: processes that ran or waited, average of the last minute.
        steal: share of CPU time in 0..1 that the host withheld since the burst before it.
        clock_mhz: of the CPUs in use; None where it cannot be read.
        compute, memory: how much slower than their own best the sentinels just were, 1 is best; None without.
        disturbed: whether a sentinel was slow; None without. A flag: nothing is divided or left out by it.
    """

    at_s: float
    runs: int
    mode: str
    load: float
    steal: float
    clock_mhz: float | None = None
    compute: float | None = None
    memory: float | None = None
    disturbed: bool | None = None


@dataclass(frozen=True, slots=True)
class Surrounding:
    """A burst's conditions as they are noted, before the sentinels' best is known."""

    at_s: float
    runs: int
    load: float
    steal: float
    clock_mhz: float | None
    reading: Reading | None

    def burst(self, mode: str, best: Reading | None) -> Burst:
        """The same beside the sentinels' best of the campaign."""
        known = {"at_s": round(self.at_s, 3), "runs": self.runs, "mode": mode, "load": self.load, "steal": self.steal}
        if self.reading is None or best is None:
            return Burst(**known, clock_mhz=self.clock_mhz)  # type: ignore[arg-type]
        slower = self.reading.over(best)
        return Burst(
            **known,  # type: ignore[arg-type]
            clock_mhz=self.clock_mhz,
            compute=round(slower.compute_ms, 4),
            memory=round(slower.memory_ms, 4),
            disturbed=disturbed(slower),
        )


class Accounts:
    """Reads the kernel's accounts between bursts."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._before = psutil.cpu_times()
        self._steal = 0.0

    def note(self, at_s: float, runs: int, reading: Reading | None) -> Surrounding:
        """The conditions of the burst that just ended."""
        load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else 0.0
        return Surrounding(at_s, runs, load, self._withheld(), clock_mhz(self._threads), reading)

    def _withheld(self) -> float:
        """Since the last reading that lies long enough back; over a shorter time the last share stands."""
        now = psutil.cpu_times()
        total = sum(now) - sum(self._before)
        if total >= _SAME_STEAL_S:
            stolen = getattr(now, "steal", 0.0) - getattr(self._before, "steal", 0.0)
            self._steal, self._before = round(max(0.0, stolen / total), 4), now
        return self._steal
