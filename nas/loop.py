"""The search loop: ask, gate, submit, wait, tell, store."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from nas.gates import Gates
from nas.protocols import Runner, Search, Store
from nas.records import Budget, Candidate, Failure, Result, Success

COMMIT_SECONDS = 0.5
COMING_SECONDS = 0.02  # between two looks at proposals that are on their way
PORTION = 1024  # candidates asked for at once: the first are sent before the last are made
FAILURE_SHARE = 0.2
FAILURE_LEAST = 50
RARE_COLLECTIONS = (10_000, 20, 20)  # scoring makes many tuples and no cycles


class SearchFailing(RuntimeError):
    """More than a fifth of the evaluations failed: something other than the architectures is wrong."""


class Diverged(RuntimeError):
    """The stored results do not belong to this search: other code, space, seed or settings."""


@dataclass
class Progress:
    """Counts that a running search shows."""

    started: float = field(default_factory=time.monotonic)
    asked: int = 0
    scored: int = 0
    rejected: int = 0
    duplicates: int = 0
    failed: int = 0
    best_score: float | None = None
    last_failure: str = ""

    def count(self, result: Result) -> None:
        """Take one result into account."""
        if isinstance(result, Success):
            self.scored += 1
            score = result.metrics["score"]
            self.best_score = score if self.best_score is None else max(self.best_score, score)
        elif result.kind == "rejected":
            self.rejected += 1
        elif result.kind == "duplicate":
            self.duplicates += 1
        else:
            self.failed += 1
            self.last_failure = result.message

    @property
    def seconds(self) -> float:
        """Since the loop started."""
        return time.monotonic() - self.started

    def check_failures(self) -> None:
        """Raise SearchFailing when evaluations fail too often to be about the architectures."""
        evaluated = self.scored + self.failed
        if evaluated >= FAILURE_LEAST and self.failed > FAILURE_SHARE * evaluated:
            raise SearchFailing(
                f"search: {self.failed} of {evaluated} evaluations failed; the last: {self.last_failure}"
            )


@dataclass
class SearchLoop:
    """Runs one search to the end of its budget, from the start or from what the store holds.

    Results reach the search in any order and the store in candidate order, so that the file always holds a
    prefix of the one deterministic sequence: resuming means replaying that prefix and going on.

    Attributes:
        search: proposes; where it has ``coming`` and that is true, it has none yet but is about to.
        gates: hold candidates against the limits before they are submitted; None where the runner's workers do that.
    """

    search: Search
    runner: Runner
    store: Store
    gates: Gates | None
    budget: Budget
    on_progress: Callable[[Progress], None] = lambda progress: None
    progress: Progress = field(default_factory=Progress)

    def __post_init__(self) -> None:
        self._seen: dict[str, int] = {}
        self._waiting: dict[int, Result] = {}
        self._next_stored = 0
        self._committed_at = time.monotonic()
        self._stop = False

    def stop(self) -> None:
        """Ask the loop to end after what is under way; the run can be resumed."""
        self._stop = True

    def run(self) -> Progress:
        """Ask, evaluate and tell until the budget is spent; returns the final counts."""
        self._replay(self.store.results())
        collections = gc.get_threshold()
        gc.set_threshold(*RARE_COLLECTIONS)
        try:
            while True:
                self._fill()
                if not self.runner.busy:
                    break
                self._receive(self._wait())
                self.progress.check_failures()
        finally:
            gc.set_threshold(*collections)
            self.store.commit()
            self.on_progress(self.progress)
        return self.progress

    def _replay(self, stored: Iterator[Result]) -> None:
        for result in stored:
            asked = self.search.ask(1)
            if not asked or asked[0].arch != result.candidate.arch:
                raise Diverged(
                    f"resume: candidate {result.candidate.id} of the run file is not the one this search proposes; "
                    "the file comes from another version, space, seed or search setting"
                )
            self._seen.setdefault(result.candidate.arch.digest, result.candidate.id)
            self.progress.asked += 1
            self.progress.count(result)
            self.search.tell(result)
            self._next_stored = result.candidate.id + 1

    def _fill(self) -> None:
        """Submit as many new candidates as the runner takes and the search can propose."""
        while self._may_ask() and (free := self.runner.free_slots) > 0:
            candidates = self.search.ask(min(free, self._left(), PORTION))
            if not candidates:
                return
            self.progress.asked += len(candidates)
            passed: list[Candidate] = []
            failed: list[Result] = []
            for checked in map(self._check, candidates):
                if isinstance(checked, Failure):
                    failed.append(checked)
                else:
                    passed.append(checked)
            self._receive(failed)
            self.runner.submit(passed)

    def _wait(self) -> Sequence[Result]:
        if not (self._may_ask() and getattr(self.search, "coming", False)):
            return self.runner.wait_any()
        return self.runner.wait_any(COMING_SECONDS if self.runner.free_slots else math.inf)

    def _check(self, candidate: Candidate) -> Candidate | Failure:
        first = self._seen.setdefault(candidate.arch.digest, candidate.id)
        if first != candidate.id:
            return Failure(candidate, "duplicate", f"same design as candidate {first}")
        return candidate if self.gates is None else self.gates.check(candidate)

    def _may_ask(self) -> bool:
        out_of_time = self.budget.seconds is not None and self.progress.seconds >= self.budget.seconds
        return not self._stop and not out_of_time and self._left() > 0

    def _left(self) -> int:
        if self.budget.evaluations is None:
            return 1 << 30
        return self.budget.evaluations - self.progress.asked

    def _receive(self, results: Sequence[Result]) -> None:
        for result in results:
            self.progress.count(result)
            self.search.tell(result)
            self._waiting[result.candidate.id] = result
        ready = []
        while self._next_stored in self._waiting:
            ready.append(self._waiting.pop(self._next_stored))
            self._next_stored += 1
        self.store.append(ready)
        now = time.monotonic()
        if now - self._committed_at >= COMMIT_SECONDS:
            self._committed_at = now
            self.store.commit()
            self.on_progress(self.progress)
