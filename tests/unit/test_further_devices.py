"""Limits on further devices hold a candidate like any other limit."""

from dataclasses import dataclass

import numpy as np

from hardware.lookup import Estimate
from nas.gates import Gates, held_by
from nas.records import Candidate, Constraint, Failure
from search_spaces import SPACES

ARCH = SPACES["zen-tiny"].sample(np.random.default_rng(0))


@dataclass
class Law:
    mean_ms: float
    digest: str = ""

    def estimate(self, arch):
        return Estimate(self.mean_ms, 1.2 * self.mean_ms)


def gates(first_ms, second_ms):
    limits = (Constraint("latency_ms", 1.0), Constraint("latency_ms@phone", 2.0))
    return Gates((3, 16, 16), 10, limits, Law(first_ms), (("phone", Law(second_ms)),))


def test_the_upper_bound_of_every_device_counts():
    kept = gates(0.8, 1.6).check(Candidate(0, ARCH))
    assert not isinstance(kept, Failure)
    assert kept.metrics["latency_upper_ms@phone"] == 1.2 * 1.6
    rejected = gates(0.8, 1.8).check(Candidate(0, ARCH))
    assert isinstance(rejected, Failure)
    assert rejected.message == "latency_ms@phone is 8 % over 2"
    both = gates(0.9, 1.8).check(Candidate(0, ARCH))
    assert "latency_ms is" in both.message
    assert "latency_ms@phone is" in both.message


def test_what_a_limit_is_held_against():
    assert held_by("latency_ms") == "latency_upper_ms"
    assert held_by("latency_ms@phone") == "latency_upper_ms@phone"
    assert held_by("params") == "params"
