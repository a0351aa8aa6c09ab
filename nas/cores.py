"""How many cores there are for processes beside the driver of a search."""

from __future__ import annotations

import os

SPARE = 3  # with fewer, a process beside the driver takes from the workers what it gives to the driver
MANY_A_SECOND = 4_000  # candidates; from there on the driver has no time to lose


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
