"""How many candidates a worker is sent at once."""

from __future__ import annotations

from math import ceil

IN_FLIGHT = 2  # batches per worker: one runs while the next is on its way
BATCH_SECONDS = 0.3
WORKER_BATCH_SECONDS = 2e-3  # a batch lasts at least so long a worker: each costs the driver about a millisecond
LARGEST_BATCH = 256


def batch_size(seconds_each: float, workers: int) -> int:
    """Candidates of a batch: about 0.3 s of work, and more where there are more than 150 workers.

    Args:
        seconds_each: of one candidate.
        workers: that are to be kept busy.
    """
    seconds = max(BATCH_SECONDS, WORKER_BATCH_SECONDS * workers)
    return max(1, min(LARGEST_BATCH, int(seconds / max(seconds_each, 1e-9) + 1e-6)))


def share(waiting: int, workers: int, largest: int, at_least: int) -> int:
    """Of so many waiting candidates what one worker gets: no more than its even part, where that is enough."""
    return min(waiting, largest, max(at_least, ceil(waiting / workers)))


def portion(waiting: int, idle: int, seconds_each: float, workers: int) -> int:
    """Of a few candidates what an idle worker gets while more are on their way.

    An even part, but a quarter of what makes a batch worth its cost to the driver, if there is so much.

    Args:
        waiting: candidates, fewer than a batch for each worker.
        idle: workers without any.
        seconds_each: of one candidate.
        workers: in all.
    """
    worth = ceil(WORKER_BATCH_SECONDS * workers / 4 / max(seconds_each, 1e-9))
    return max(1, min(waiting, max(worth, ceil(waiting / max(1, idle)))))
