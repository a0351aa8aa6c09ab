"""A simulated clock, and networks on a machine with slow epochs, for the timer's statistics."""

from dataclasses import dataclass, field

import numpy as np


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
