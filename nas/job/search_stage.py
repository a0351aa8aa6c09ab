"""The first stage: propose, gate and score candidates until the budget is spent."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from types import FrameType
from typing import Any, Literal

from nas.algorithms.elsewhere import ProposalsElsewhere
from nas.algorithms.evolution import Evolution
from nas.algorithms.local import LocalSearch
from nas.algorithms.nsga2 import NSGA2
from nas.algorithms.optuna_sampler import OptunaSearch
from nas.algorithms.ordered import OrderedSearch
from nas.algorithms.random import RandomSearch
from nas.algorithms.regularized import RegularizedEvolution
from nas.gates import Gates
from nas.job.labels_stage import labelled, predicted_objective
from nas.job.task import Task
from nas.loop import Progress, SearchLoop
from nas.narrator import Silent
from nas.objective import Objective
from nas.protocols import Runner
from nas.reach import explain_unreachable, reach
from nas.records import Budget
from nas.run import NothingFeasible
from nas.runners.cluster import WorkerNeeds
from nas.runners.crew import Terms
from nas.runners.evaluate import evaluate
from nas.runners.ray_session import RayUnavailable, available_cpus
from nas.runners.serial import SerialRunner
from nas.store import RunStore

SERIAL_BELOW_S = 20.0  # Ray takes about ten seconds to start
DRIVER_BOUND_S = 2e-3  # a cheaper score than this keeps the driver, not the workers, busy
PROBES = 5
SAMPLE = 25  # competitors of regularised evolution, as published


class Interrupted(RuntimeError):
    """The user stopped the search; everything so far is in the run file."""


def check_reachable(task: Task, gates: Gates) -> None:
    """Raise NothingFeasible when a walk towards the constraints finds no network that keeps them all."""
    if reach(task.space, gates, seed=task.config.seed).feasible == 0:
        raise NothingFeasible(explain_unreachable(task.space, gates, seed=task.config.seed))


def run_search(task: Task, gates: Gates, store: RunStore, narrator: Silent) -> None:
    """Search to the end of the budget, from wherever the run file stands; a search that has ended stays as it is.

    Raises: NothingFeasible: nothing that keeps the constraints was found.
        Interrupted: by Ctrl-C; what was under way is finished and stored first.
    """
    if any(event.get("complete") for event in store.events("searched")):
        return
    settings = task.config.search
    objective = predicted_objective(task, store)
    runner = choose_runner(task, _Noting(narrator, store) if task.config.engine.address else narrator, objective, gates)
    search = make_search(task)
    search.begin_with([one.arch for one in labelled(task, store)])
    budget = Budget(settings.evaluations, settings.seconds)
    replayed = sum(store.outcomes().values())
    clock = _Clock(store, settings.seconds)
    proposals = ProposalsElsewhere(search)
    loop = SearchLoop(
        proposals,
        runner,
        store,
        None if getattr(runner, "gating", False) else gates,
        budget,
        on_progress=_teller(task, narrator, clock),
        progress=clock.go_on(),
    )
    try:
        with _stop_on_interrupt(loop.stop) as interrupted:
            progress = loop.run()
    finally:
        with closing(proposals):
            runner.close()
        narrator.done()
    complete = not interrupted and progress.scored > 0
    if complete or progress.asked > replayed:
        seconds = progress.seconds - clock.spent
        new = {"candidates": progress.asked - replayed, "seconds": seconds, "complete": complete}
        store.record("searched", new)
    narrator.say(f"search: {describe(progress)}")
    if interrupted:
        raise Interrupted("interrupted; everything so far is in the run file")
    if progress.scored == 0:
        raise NothingFeasible(
            f"search: none of {progress.asked} candidates keeps the constraints; raise search.evaluations"
        )


def make_search(task: Task) -> OrderedSearch:
    """The search algorithm of the configuration."""
    space, settings, objectives = task.space, task.config.search, _objectives(task)
    size = settings.population
    common: dict[str, Any] = {"seed": task.config.seed, "lookahead": settings.lookahead}
    makers: dict[str, Callable[[], OrderedSearch]] = {
        "evolution": lambda: Evolution(space, population=size, niches=settings.niches, **common),
        "regularized": lambda: RegularizedEvolution(space, population=size, sample=min(SAMPLE, size), **common),
        "local": lambda: LocalSearch(space, **common),
        "nsga2": lambda: NSGA2(space, population=size, objectives=objectives, **common),
        "tpe": lambda: OptunaSearch(space, sampler="tpe", **common),
        "optuna-nsga2": lambda: OptunaSearch(space, sampler="nsga2", objectives=objectives, **common),
        "random": lambda: RandomSearch(space, **common),
    }
    return makers[settings.algorithm]()


def _objectives(task: Task) -> tuple[str, ...]:
    """Those of the configuration; else the score against the latency, or MACs where no latency is known."""
    cost = "macs" if task.latency_budget_ms is None else "latency_ms"
    return task.config.search.objectives or ("score", cost)


def choose_runner(
    task: Task, narrator: Silent, objective: Objective | None = None, gates: Gates | None = None
) -> Runner:
    """The configured engine; "auto" chooses and says why.

    Args:
        task: the configuration.
        narrator: is told.
        objective: what to compute; None takes that of the task.
        gates: for workers that hold candidates against the limits themselves; None leaves that to the search.

    It takes Ray when the scores are expensive and many, and for a user's own score always: code that nobody here
    knows may end the process that runs it, which then must not be the driver.
    """
    engine, objective = task.config.engine, objective or task.objective
    kind = engine.kind
    if kind == "auto":
        kind, why = _suitable_engine(task, objective)
        narrator.say(f"engine: {kind} ({why})")
    if kind == "ray":
        from nas.runners.ray import RayRunner

        try:
            return RayRunner(objective, _terms(task, gates, narrator), address=engine.address)
        except RayUnavailable as error:
            if engine.kind == "ray" or engine.special:
                raise
            narrator.say(f"engine: {error}")
    return SerialRunner(objective)


def _terms(task: Task, gates: Gates | None, narrator: Silent) -> Terms:
    engine = task.config.engine
    return Terms(
        engine.workers,
        WorkerNeeds(engine.worker_gpus or 0.0, engine.worker_resources or {}),
        apart_from=engine.device_node,
        gates=None if gates is None else gates.to_dict(),
        say=narrator.say,
    )


def _suitable_engine(task: Task, objective: Objective) -> tuple[Literal["serial", "ray"], str]:
    """The engine and the reason for it."""
    engine = task.config.engine
    if not objective.trusted:
        return "ray", f"the score {objective.score} runs apart from the search"
    if engine.special:
        return "ray", "workers need more than a CPU"
    each = _seconds_each(task, objective)
    total = each * task.config.search.evaluations
    cores = engine.workers or available_cpus()
    worth_it = each > DRIVER_BOUND_S and total > SERIAL_BELOW_S and cores > 1
    why = f"{1e3 * each:.2g} ms a score, about {total:.0f} s in all, {cores} cores"
    return "ray" if engine.address or worth_it else "serial", why


def _seconds_each(task: Task, objective: Objective) -> float:
    """Median seconds of one score, on the architectures that the search begins with."""
    import numpy as np

    scorer, seconds = objective.scorer(), []
    for candidate in make_search(task).ask(PROBES):
        started = time.perf_counter()
        evaluate(scorer, [candidate], objective.seed)
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds))


def describe(progress: Progress) -> str:
    """The counts of a search in one line."""
    rate = progress.asked / max(progress.seconds, 1e-9)
    best = "no score yet" if progress.best_score is None else f"best score {progress.best_score:.2f}"
    failed = f", {progress.failed} failed" if progress.failed else ""
    return (
        f"{progress.asked} candidates ({rate:.0f}/s), {progress.scored} scored, "
        f"{progress.rejected} over a limit, {progress.duplicates} seen before{failed}; {best}"
    )


class _Noting(Silent):
    """Tells a narrator, and keeps in the run file what becomes of the workers on a cluster."""

    def __init__(self, narrator: Silent, store: RunStore) -> None:
        self._narrator, self._store = narrator, store

    def say(self, text: str) -> None:
        """A line on the engine."""
        self._narrator.say(text)
        self._store.record("engine", {"said": text.removeprefix("engine: ")})


class _Clock:
    """Counts the seconds of a search over all its sessions, so that a kill does not renew ``search.seconds``."""

    def __init__(self, store: RunStore, limit: float | None) -> None:
        """Read what earlier sessions spent."""
        self._store, self._limit = store, limit
        spent = [event["seconds"] for event in store.events("clock")]
        self.spent = max(spent, default=0.0)
        self._recorded = self.spent

    def go_on(self) -> Progress:
        """A progress whose clock stands where the last session left it."""
        return Progress(started=time.monotonic() - self.spent)

    def note(self, seconds: float) -> None:
        """Record the time when a hundredth of the limit has passed since the last record."""
        if self._limit is not None and seconds - self._recorded >= self._limit / 100:
            self._store.record("clock", {"seconds": seconds})
            self._recorded = seconds


def _teller(task: Task, narrator: Silent, clock: _Clock) -> Callable[[Progress], None]:
    evaluations = task.config.search.evaluations

    def tell(progress: Progress) -> None:
        clock.note(progress.seconds)
        narrator.update(f"search: {describe(progress)}", min(1.0, progress.asked / evaluations))

    return tell


@contextmanager
def _stop_on_interrupt(stop: Callable[[], None]) -> Iterator[list[int]]:
    """The first Ctrl-C calls ``stop``; the second interrupts as usual. Yields a list that then is not empty."""
    seen: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if seen:
            raise KeyboardInterrupt
        seen.append(number)
        stop()

    try:
        before = signal.signal(signal.SIGINT, handle)
    except ValueError:  # not in the main thread: the caller handles interrupts
        yield seen
        return
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, before)
