"""Notices that workers stand idle because the search may not run far enough ahead of them, and says so once."""

from __future__ import annotations

import time
from collections.abc import Callable

FIRST_LOOK_S = 10.0
MANY = 20  # workers that the default look-ahead feeds
IDLE_SHARE = 0.25


class Idleness:
    """Watches the workers of one runner."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing seen yet.

        Args:
            say: told in one line.
            clock: seconds.
        """
        self._say: Callable[[str], None] | None = say
        self._clock = clock
        self._since = clock()
        self._idle = self._workers = self._waited = 0.0

    def look(self, idle: int, workers: int, seconds: float, places: int) -> None:
        """Take into account how the driver waited for an answer.

        A driver that itself is busy waits little, and then it is not for lack of candidates that workers are idle.

        Args:
            idle: workers that had nothing to do.
            workers: in all.
            seconds: waited.
            places: candidates that would keep all workers busy.
        """
        if self._say is None:
            return
        self._idle += idle * seconds
        self._workers += workers * seconds
        self._waited += seconds
        elapsed = self._clock() - self._since
        if elapsed < FIRST_LOOK_S:
            return
        if workers > MANY and self._waited > elapsed / 2 and self._idle > IDLE_SHARE * self._workers:
            enough = 1 << (places - 1).bit_length()
            self._say(
                f"engine: on average {self._idle / self._waited:.0f} of {workers} workers wait for candidates: "
                f"search.lookahead lets too few be under way; a new run with --set search.lookahead={enough} "
                "keeps all busy (it visits other candidates)"
            )
            self._say = None
        self._since, self._idle, self._workers, self._waited = self._clock(), 0.0, 0.0, 0.0
