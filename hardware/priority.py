"""Undisturbed CPU time for short bursts, as far as the system grants it."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

Mode = Literal["fifo", "nice", "cpu-time", "wall"]

_FIFO_PRIORITY = 20
_NICENESS = -10
_REAL_TIME_LIMIT_S = 20  # the kernel ends a real-time thread that never rests for so long


class Priority:
    """Finds the best mode once; ``burst`` enters it for the length of one burst.

    "fifo": real-time scheduling of all threads, released between bursts. "nice": higher priority throughout.
    "cpu-time": no privileges, one thread: CPU time is counted instead of wall time. "wall": none of these.
    """

    def __init__(self, threads: int, *, on_cpu: bool) -> None:
        pin(threads)
        self.mode: Mode = _best_mode(threads, on_cpu)
        self.now_ns: Callable[[], int] = time.process_time_ns if self.mode == "cpu-time" else time.perf_counter_ns

    @contextmanager
    def burst(self) -> Iterator[None]:
        """Hold the priority, and keep the garbage collector away."""
        gc.disable()
        if self.mode == "fifo":
            _schedule_all_threads(os.SCHED_FIFO, _FIFO_PRIORITY)
            time.sleep(1e-3)  # a rest as a real-time thread restarts the count of _REAL_TIME_LIMIT_S
        try:
            yield
        finally:
            if self.mode == "fifo":
                _schedule_all_threads(os.SCHED_OTHER, 0)
            gc.enable()


def pin(threads: int) -> None:
    """Keep this process on as many CPUs as it has threads, the last ones it may use."""
    if sys.platform == "linux":
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, allowed[-threads:])


def _best_mode(threads: int, on_cpu: bool) -> Mode:
    if on_cpu and may_run_real_time():
        _limit_real_time()
        return "fifo"
    try:
        os.nice(_NICENESS)
    except OSError:
        return "cpu-time" if threads == 1 and on_cpu else "wall"
    return "nice"


def may_run_real_time() -> bool:
    """Whether the system lets this process schedule itself in real time; tries, and leaves all as it was."""
    if sys.platform != "linux":
        return False
    try:
        _schedule_all_threads(os.SCHED_FIFO, _FIFO_PRIORITY)
        _schedule_all_threads(os.SCHED_OTHER, 0)
    except OSError:
        return False
    return True


def _limit_real_time() -> None:
    """Have the kernel end this process if it ever holds a CPU for too long: the watchdog of last resort."""
    import resource

    limit = _REAL_TIME_LIMIT_S * 1_000_000
    _, hard = resource.getrlimit(resource.RLIMIT_RTTIME)
    limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(resource.RLIMIT_RTTIME, (limit, limit))


def _schedule_all_threads(policy: int, priority: int) -> None:
    parameters = os.sched_param(priority)
    for thread in Path("/proc/self/task").iterdir():
        with suppress(ProcessLookupError):  # a thread that just ended
            os.sched_setscheduler(int(thread.name), policy, parameters)
