"""What the views need of all candidates of a run, kept up with the run file: each row is read once."""

from __future__ import annotations

import threading
import time
import zlib
from collections import Counter, OrderedDict, deque
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nas.callbacks.standing import Front
from nas.run import Run
from nas.store.sampling import FAILURES, counts, failure_counts, last_id, numbers
from nas.views.density import Density
from nas.views.nearest import Nearest

Floats = NDArray[np.float64]
Identity = tuple[str, int, int]
COSTS = ("latency_ms", "macs")
KEPT_RUNS, KEPT_FAILURES, KEPT_LOOKS = 16, 50, 64
RATE_OVER_S = 60.0  # looks that a rate is taken from


class Digest:
    """Counts, front, density and best of the candidates up to ``last``; a few megabytes for a million of them.

    Attributes:
        last: id of the last candidate that is in it; -1 for none.
        outcomes: candidates by outcome.
        limits: rejected candidates by the limit that they exceed.
        failures: failed candidates by (outcome, message); rare messages beyond the first are not told apart.
        cost: of the horizontal axis, "latency_ms", or "macs" where no latency is known.
        front: of cost and score.
        best: (score, id); None before the first score.
        improvements: (id, score) wherever the best score rose.
    """

    def __init__(self, limits: tuple[str, ...]) -> None:
        self.last = -1
        self.outcomes: Counter[str] = Counter()
        self.limits: Counter[str] = Counter(dict.fromkeys(limits, 0))
        self.failures: Counter[tuple[str, str]] = Counter()
        self.cost = ""
        self.front = Front()
        self.best: tuple[float, int] | None = None
        self.improvements: list[tuple[int, float]] = []
        self.density, self.nearest = Density(), Nearest()
        self.lock = threading.Lock()
        self._looks: deque[tuple[float, int]] = deque(maxlen=KEPT_LOOKS)

    def keep_up(self, run: Run) -> None:
        """Take in what the run file has gained."""
        upto, store = last_id(run.store), run.store
        self._looks.append((time.monotonic(), upto))
        if upto <= self.last:
            return
        after = self.last
        outcomes, limits = counts(store, tuple(self.limits), after, upto)
        self.outcomes.update(outcomes)
        self.limits.update(limits)
        if any(outcomes.get(kind) for kind in FAILURES):
            self._fail(failure_counts(store, after, upto, KEPT_FAILURES))
        if not self.cost:
            self.cost = _cost_of(run, after, upto)
        for rows in numbers(store, ("id", "score", self.cost), after, upto) if self.cost else ():
            self.outcomes["scored"] += len(rows)
            self._take(rows)
        self.last = upto

    def _fail(self, found: list[tuple[str, str, int]]) -> None:
        for outcome, reason, count in found:
            if (outcome, reason) in self.failures or len(self.failures) < KEPT_FAILURES:
                self.failures[outcome, reason] += count

    def _take(self, rows: Floats) -> None:
        """Scored candidates in order: id, score and cost."""
        ids, score, cost = rows[:, 0], rows[:, 1], rows[:, 2]
        self._improve(ids, score)
        known = np.isfinite(cost) & np.isfinite(score) & (cost > 0)
        ids, score, cost = ids[known], score[known], cost[known]
        new = np.flatnonzero(self._beats_front(cost, score))
        for i in new[_undominated(cost[new], score[new])]:
            self.front.add(float(cost[i]), float(score[i]), int(ids[i]))
        x = np.log10(cost)
        self.density.add(x, score)
        self.nearest.add(np.column_stack([ids, x, score]))

    def _beats_front(self, cost: Floats, score: Floats) -> NDArray[np.bool_]:
        """Which points the front so far does not dominate."""
        highest = np.concatenate([[-np.inf], self.front.scores])
        beats: NDArray[np.bool_] = score > highest[np.searchsorted(self.front.costs, cost, side="right")]
        return beats

    def _improve(self, ids: Floats, score: Floats) -> None:
        before = -np.inf if self.best is None else self.best[0]
        sound = np.where(np.isfinite(score), score, -np.inf)
        highest = np.maximum.accumulate(np.concatenate([[before], sound]))
        for i in np.flatnonzero(np.diff(highest) > 0):
            self.best = (float(score[i]), int(ids[i]))
            self.improvements.append((int(ids[i]), float(score[i])))

    def rate(self) -> float | None:
        """Candidates a second as the run file grew under the last looks; None when nothing was seen to grow."""
        now = time.monotonic()
        looks = [look for look in self._looks if now - look[0] <= RATE_OVER_S]
        if len(looks) < 2 or looks[-1][1] <= looks[0][1]:
            return None
        return (looks[-1][1] - looks[0][1]) / max(looks[-1][0] - looks[0][0], 1e-3)


def _cost_of(run: Run, after: int, upto: int) -> str:
    """The latency where the first score among these ids has one, else MACs; nothing without a score."""
    first = next((rows for rows in numbers(run.store, ("id", COSTS[0]), after, upto, most=1) if len(rows)), None)
    if first is None:
        return ""
    return COSTS[1] if np.isnan(first[0, 1]) else COSTS[0]


def _undominated(cost: Floats, score: Floats) -> NDArray[np.intp]:
    """Positions that no other position dominates, cheapest first; few, so that the exact front is cheap."""
    if not len(cost):
        return np.empty(0, np.intp)
    order = np.lexsort((np.arange(len(cost)), -score, cost))
    highest = np.maximum.accumulate(score[order])
    rises = np.concatenate([[True], highest[1:] > highest[:-1]])
    found: NDArray[np.intp] = order[rises]
    return found


_KNOWN: OrderedDict[Identity, Digest] = OrderedDict()
_LOCK = threading.Lock()


def identity(run: Run) -> Identity:
    """What tells a run from another that was made in its place: path, file number, configuration."""
    path = Path(run.store.path).resolve()
    return str(path), path.stat().st_ino, zlib.crc32(repr(run.store.fact("config")).encode())


def digest_of(run: Run) -> Digest:
    """The digest of a run, as of now; one for each run file is kept in memory."""
    key = identity(run)
    with _LOCK:
        found = _KNOWN.pop(key, None) or Digest(limit_names(run))
        _KNOWN[key] = found
        while len(_KNOWN) > KEPT_RUNS:
            _KNOWN.popitem(last=False)
    with found.lock:
        if last_id(run.store) < found.last:  # another run in the same place
            with _LOCK:
                found = _KNOWN[key] = Digest(limit_names(run))
        found.keep_up(run)
    return found


def limit_names(run: Run) -> tuple[str, ...]:
    """The limits that a candidate of the run can exceed, as its reasons name them."""
    config = run.config
    further = (f"latency_ms@{one.device}" for one in config.also)
    return (*(c.metric for c in config.constraints.constraints()), *further)
