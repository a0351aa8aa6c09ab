"""The result of timing one network, and its JSON form."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Self

from hardware.bursts import Burst
from hardware.conditions import Conditions
from hardware.protocol import Verdict

SCHEMA_VERSION = 2  # 2 added ``bursts``, ``working_set_bytes`` and ``disturbed_share``
_READ = (1, 2)
_DERIVED = ("version", "disturbed_share")


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
        bursts: conditions of each burst, in the same order; empty where an older release wrote.
        working_set_bytes: weights and largest activation, which the width of the interval depends on.
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
    bursts: tuple[Burst, ...] = ()
    working_set_bytes: float | None = None

    @property
    def disturbed_share(self) -> float | None:
        """Share of the bursts, 0..1, beside which a sentinel network was slow; None without sentinels."""
        flags = [burst.disturbed for burst in self.bursts if burst.disturbed is not None]
        return sum(flags) / len(flags) if flags else None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form with its schema version."""
        return {"version": SCHEMA_VERSION, **asdict(self), "disturbed_share": self.disturbed_share}

    def to_json(self) -> str:
        """Canonical text."""
        return json.dumps(self.to_dict(), sort_keys=True)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read what ``to_dict`` wrote, of this release or an older one."""
        if data.get("version") not in _READ:
            known = " and ".join(map(str, _READ))
            raise ValueError(f"measurement: schema version {data.get('version')!r}, this release reads {known}")
        rest = {key: value for key, value in data.items() if key not in _DERIVED}
        rest["bursts_ms"] = tuple(data["bursts_ms"])
        rest["bursts"] = tuple(Burst(**burst) for burst in data.get("bursts", ()))
        rest["conditions"] = Conditions.from_dict(data["conditions"])
        return cls(**rest)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what ``to_json`` wrote."""
        return cls.from_dict(json.loads(text))

    def __str__(self) -> str:
        figure = f"{self.model}: {self.latency_ms:.3f} ms [{self.low_ms:.3f}, {self.high_ms:.3f}] {self.verdict}"
        return f"{figure} ({self.reason})" if self.reason else figure
