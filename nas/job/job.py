"""The main job from configuration to verified network; every stage is recorded and done once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hardware.lookup import LatencyTable
from nas.config import Config
from nas.gates import Gates
from nas.job.binas_stage import run_binas
from nas.job.delivery_stage import Start, deliver, fresh_start, train_winner
from nas.job.finalists_stage import Finalist, choose_finalists, race
from nas.job.fine_tuning import chosen_by_supernet, inherited_start
from nas.job.guard_stage import guard
from nas.job.labels_stage import train_labels
from nas.job.search_stage import check_reachable, run_search
from nas.job.supernet_stage import ready_supernet
from nas.job.tables import latency_tables
from nas.job.task import Task
from nas.job.tuning_stage import recipe_for
from nas.job.watching import watching
from nas.narrator import Silent
from nas.objective import BINAS, PREDICTOR
from nas.run import REPORT, WINNER, Run, run_file
from nas.store import FILE_NAME, RunStore, check_absent

WORK = "work"  # checkpoints, inside the run directory
MISSED = 4  # exit code
UNPROVEN = ("missed", "unclear", "predicted")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended: what ``search --json`` prints, and the exit code."""

    summary: dict[str, Any]
    exit_code: int


def start_job(config: Config, directory: Path, narrator: Silent) -> Outcome:
    """Run the job in a new run directory.

    Raises: RunFileError when one is there already; NothingFeasible; Interrupted; and what the stages raise.
    """
    task = Task(config)
    task.check()
    check_absent(directory / FILE_NAME)
    table, further = latency_tables(task, narrator)
    gates = task.gates(table, further)
    check_reachable(task, gates)
    facts = {
        "config": config.to_dict(),
        "task": {"input_shape": list(task.input_shape), "num_classes": task.num_classes},
        "latency_table": None if table is None else table.to_json(),
        "also_tables": [each.to_json() for each in further],
        "ensemble": task.objective.ensemble,
    }
    with RunStore.create(directory / FILE_NAME, facts, config.store) as store:
        return _run(task, gates, store, directory, narrator)


def resume_job(directory: Path, narrator: Silent, callbacks: Sequence[Any] | None = None) -> Outcome:
    """Go on with an interrupted job; one that has finished gives its outcome again.

    Args:
        directory: of the run.
        narrator: is told.
        callbacks: from here on, as of the configuration; None takes those of the run.
    Raises: RunFileError, Diverged; and what the stages raise.
    """
    with RunStore.open(run_file(directory), writable=True) as store:
        stored = store.fact("config")
        settings = stored if callbacks is None else {**stored, "callbacks": callbacks}
        config = Config.from_dict(settings, f"run {directory}")
        text = store.fact("latency_table")
        table = None if text is None else LatencyTable.from_json(text)
        further = [LatencyTable.from_json(each) for each in store.fact("also_tables") or ()]
        task = Task(config, store.fact("ensemble"))
        task.check()
        if not store.events("finished"):
            warn_of_other_conditions(task, table, narrator)
        return _run(task, task.gates(table, further), store, run_file(directory).parent, narrator)


def warn_of_other_conditions(task: Task, table: LatencyTable | None, narrator: Silent) -> None:
    """A run may go on elsewhere: its search is the same there, and what is measured is measured there."""
    if table is None or not task.target.here:
        return
    if changes := task.place.changed(table, task.space.name):
        where = "this machine" if task.config.engine.device_node is None else f"node {task.config.engine.device_node}"
        narrator.say(f"resume: {changes}. The search keeps its predictions; measurements are of {where}, now")


def _run(task: Task, gates: Gates, store: RunStore, directory: Path, narrator: Silent) -> Outcome:
    finished = store.events("finished")
    if not finished:
        with watching(store, task.config, directory, narrator) as watched:
            summary = _stages(task, gates, watched, directory, narrator)
            watched.record("finished", {"summary": summary})
    else:
        summary = finished[-1]["summary"]
        narrator.say(f"run {directory}: finished already")
    return Outcome(summary, MISSED if summary["verdict"] in UNPROVEN else 0)


def _stages(task: Task, gates: Gates, store: RunStore, directory: Path, narrator: Silent) -> dict[str, Any]:
    work = directory / WORK
    if task.config.search.score == PREDICTOR:
        with _shared_ray(task):
            train_labels(task, gates, store, work / "labels", narrator)
    supernet: Path | None = None
    if task.config.search.score == BINAS:
        with _shared_ray(task):
            supernet = ready_supernet(task, store, directory, narrator)
            run_binas(task, gates, store, supernet, work, narrator)
    else:
        run_search(task, gates, store, narrator)
    with _shared_ray(task):
        finalists = choose_finalists(task, store, narrator)
        if task.config.train:
            winner = _winner(task, finalists, store, work, narrator)
            if not store.events("verified"):
                start = _start(task, winner, supernet, store, work, narrator)
                trained = train_winner(task, winner, start, store, work, narrator)
                deliver(task, winner, trained, directory / WINNER, store, narrator)
            guard(task, winner, gates, store, work / "guard", narrator)
        else:
            winner = max(finalists, key=lambda finalist: finalist.score)
    from nas.report import write_report

    with Run.open(directory) as run:
        narrator.say(f"report: {write_report(run, directory / REPORT)}")
    return _summary(directory, store, winner)


def _start(task: Task, winner: Finalist, supernet: Path | None, store: RunStore, work: Path, narrator: Silent) -> Start:
    """The supernet's weights, or random ones and the configuration's or a tuned recipe."""
    if supernet is not None:
        return inherited_start(task, winner, supernet)
    return fresh_start(task, winner, recipe_for(task, winner, store, work / "tune", narrator))


def _winner(task: Task, finalists: list[Finalist], store: RunStore, work: Path, narrator: Silent) -> Finalist:
    """The finalist that wins a race of short trainings; with a supernet the one that it ranks first."""
    if task.config.search.score == BINAS:
        return chosen_by_supernet(finalists, store)
    return race(task, finalists, store, work / "finalists", narrator)


@contextmanager
def _shared_ray(task: Task) -> Iterator[None]:
    """One Ray session for both trainings side by side, when the configuration insists on Ray."""
    if task.config.engine.kind != "ray":
        yield
        return
    from nas.runners.ray_session import start_ray

    with start_ray(task.config.engine.address, task.config.engine.workers):
        yield


def _summary(directory: Path, store: RunStore, winner: Finalist) -> dict[str, Any]:
    measured = {event["id"]: event["measurement"] for event in store.events("measured")}
    verified = next(iter(store.events("verified")), None)
    test = next(iter(store.events("test")), None)
    figure = verified["measurement"] if verified else measured.get(winner.id)
    artifacts = {"run": directory / store.path.name, "report": directory / REPORT}
    if verified:
        artifacts |= {Path(name).name: directory / WINNER / name for name in verified["files"]}
    return {
        "run": str(directory),
        "best": {
            "id": winner.id,
            "spec": winner.arch.to_dict(),
            "score": winner.score,
            "latency_ms": {
                "predicted": winner.predicted_ms,
                "measured": figure["latency_ms"] if figure else None,
                "interval": [figure["low_ms"], figure["high_ms"]] if figure else None,
            },
            "top1": test["top1"] if test else None,
            "top1_standard_error": test["standard_error"] if test else None,
        },
        "artifacts": {name: str(path) for name, path in artifacts.items()},
        "verdict": verified["verdict"] if verified else "not trained",
    }
