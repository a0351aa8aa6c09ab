"""What a run file says, gathered once in the shape that the report needs; absent parts are None or empty."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.lookup import LatencyTable, TableUnreadable
from hardware.measure import Measurement
from nas.config import Config
from nas.pareto import pareto_front
from nas.run import Run
from search_spaces.arch import Architecture
from search_spaces.layers import Shape

Floats = NDArray[np.float64]
Event = dict[str, Any]
OUTCOMES = ("scored", "rejected", "duplicate", "failed")


@dataclass(frozen=True, eq=False)
class Candidates:
    """Everything that the search looked at, as columns in the order of the search.

    Attributes:
        ids: (n,) int64.
        outcome: (n,) position in ``OUTCOMES``.
        score: (n,) NaN where there is none.
        cost: (n,) predicted latency in ms, or MACs; NaN where unknown.
        cost_name: "latency_ms" or "macs".
        front: positions of the Pareto front of score and cost, cheapest first.
        limits: how often each limit was exceeded, most frequent first.
        failures: how often each message of a failure came, most frequent first.
    """

    ids: NDArray[np.int64]
    outcome: NDArray[np.int64]
    score: Floats
    cost: Floats
    cost_name: str
    front: NDArray[np.intp]
    limits: tuple[tuple[str, int], ...]
    failures: tuple[tuple[str, int], ...]

    def __len__(self) -> int:
        return len(self.ids)

    def counts(self) -> dict[str, int]:
        """Number of candidates by outcome."""
        found = np.bincount(self.outcome, minlength=len(OUTCOMES))
        return dict(zip(OUTCOMES, found.tolist(), strict=True))


@dataclass(frozen=True)
class Finalist:
    """One of the best candidates: what was predicted, measured and learned in the race.

    Attributes:
        predicted_ms: mean of the estimate; None without a latency table.
        measurement: of the untrained network on the device; None when it was not measured.
        within: whether the measurement kept the budget.
        curve: validation top-1 after each epoch of the race.
        stopped_early: it fell out of the race.
        failure: why its training broke.
    """

    id: int
    score: float
    predicted_ms: float | None
    measurement: Measurement | None
    within: bool
    curve: tuple[float, ...] = ()
    stopped_early: bool = False
    failure: str | None = None


@dataclass(frozen=True)
class Chosen:
    """The network that the report is about; ``final`` when the run decided, else the best score so far."""

    id: int
    arch: Architecture
    metrics: dict[str, float]
    final: bool


@dataclass(frozen=True, eq=False)
class Facts:
    """A run as the report shows it.

    Attributes:
        table_problem: why the stored latency table cannot be read; "" when it can, or when there is none.
        labels: the networks that were trained for a predictor, in order.
        predictor: how well it ranks networks left out; None without one.
        supernet: how it was trained; None without one.
        effects: what every choice adds in it; None before that is known.
        rounds: of proposals by the exact program.
        searched: times of the search, one event per session.
        finished: whether nothing is left to do.
    """

    directory: str
    config: Config
    input_shape: Shape | None
    num_classes: int | None
    table: LatencyTable | None
    table_problem: str
    candidates: Candidates
    chosen: Chosen | None
    finalists: tuple[Finalist, ...]
    epochs: tuple[Event, ...]
    test: Event | None
    verified: Event | None
    guard: Event | None
    labels: tuple[Event, ...]
    predictor: Event | None
    supernet: Event | None
    effects: Event | None
    rounds: int
    searched: tuple[Event, ...]
    finished: bool

    @property
    def budget_ms(self) -> float | None:
        """The limit on latency."""
        return self.config.constraints.latency

    @property
    def exported(self) -> Measurement | None:
        """The measurement of the exported file."""
        measurement = self.verified["measurement"] if self.verified else None
        return Measurement.from_dict(measurement) if measurement else None


def gather(run: Run) -> Facts:
    """Read everything that the report shows; raises RunFileError, InvalidConfig."""
    config = run.config
    table, table_problem = _table(run)
    candidates = _candidates(run.store.table(scored_only=False))
    chosen = _chosen(run, candidates)
    verified, guard = _last(run, "verified"), _last(run, "guard")
    guarded = guard is not None or config.guard.seeds == 0 or config.constraints.latency is None
    input_shape, num_classes = _task(run, table)
    return Facts(
        directory=str(run.directory),
        config=config,
        input_shape=input_shape,
        num_classes=num_classes,
        table=table,
        table_problem=table_problem,
        candidates=candidates,
        chosen=chosen,
        finalists=_finalists(run, candidates),
        epochs=tuple(
            sorted({event["epoch"]: event for event in run.events("epoch")}.values(), key=lambda e: e["epoch"])
        ),
        test=_last(run, "test"),
        verified=verified,
        guard=guard["result"] if guard else None,
        labels=tuple(sorted(run.events("label"), key=lambda event: event["id"])),
        predictor=_last(run, "predictor"),
        supernet=_last(run, "supernet"),
        effects=_last(run, "effects"),
        rounds=len(run.events("binas_round")),
        searched=tuple(run.events("searched")),
        finished=bool(run.events("finished")) or (verified is not None and guarded),
    )


def _last(run: Run, kind: str) -> Event | None:
    found = run.events(kind)
    return found[-1] if found else None


def _table(run: Run) -> tuple[LatencyTable | None, str]:
    """The stored latency table, or why it cannot be read: one of another release still leaves a report."""
    text = run.store.fact("latency_table")
    try:
        return (None if text is None else LatencyTable.from_json(text)), ""
    except TableUnreadable as error:
        return None, str(error)


def _task(run: Run, table: LatencyTable | None) -> tuple[Shape | None, int | None]:
    """Shape of one image and number of classes; what the run file does not hold is left open."""
    task = run.store.fact("task")
    if task is not None:
        channels, height, width = task["input_shape"]
        return (channels, height, width), task["num_classes"]
    return (None, None) if table is None else (table.input_shape, table.num_classes)


def _candidates(rows: Sequence[dict[str, Any]]) -> Candidates:
    kinds = {"scored": 0, "rejected": 1, "duplicate": 2}
    outcome = np.array([kinds.get(row["outcome"], 3) for row in rows], dtype=np.int64)
    score = _column(rows, "score")
    scored = outcome == 0
    latency = _column(rows, "latency_ms")
    timed = scored.any() and bool(np.isfinite(latency[scored]).all())
    cost = latency if timed else _column(rows, "macs")
    known = np.flatnonzero(scored & np.isfinite(score) & np.isfinite(cost))
    front = known[pareto_front(np.column_stack([cost[known], -score[known]]))] if len(known) else known
    limits: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    for row in rows:
        if row["outcome"] == "rejected":
            limits.update(part.partition(" is ")[0] for part in row["reason"].split(", "))
        elif row["outcome"] not in kinds:
            failures[row["reason"] or row["outcome"]] += 1
    ids = np.array([row["id"] for row in rows], dtype=np.int64)
    name = "latency_ms" if timed else "macs"
    return Candidates(ids, outcome, score, cost, name, front, _ranked(limits), _ranked(failures))


def _column(rows: Sequence[dict[str, Any]], name: str) -> Floats:
    return np.array([np.nan if row[name] is None else row[name] for row in rows], dtype=np.float64)


def _ranked(counter: Counter[str]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(counter.items(), key=lambda item: (-item[1], item[0])))


def _chosen(run: Run, candidates: Candidates) -> Chosen | None:
    """The winner; else what the summary names; else the best score so far."""
    winner, summary = _last(run, "winner"), run.summary()
    if winner is not None:
        found, final = int(winner["id"]), True
    elif summary is not None:
        found, final = int(summary["best"]["id"]), True
    elif np.isfinite(candidates.score).any():
        found, final = int(candidates.ids[np.nanargmax(candidates.score)]), False
    else:
        return None
    metrics = {k: v for k, v in run.result(found).items() if isinstance(v, (int, float))}
    return Chosen(found, run.architecture(found), metrics, final)


def _finalists(run: Run, candidates: Candidates) -> tuple[Finalist, ...]:
    """Every measured or trained candidate, best score first."""
    measured = {event["id"]: event for event in run.events("measured")}
    raced = {event["id"]: event for event in run.events("finalist")}
    at = {int(i): position for position, i in enumerate(candidates.ids)}
    found = []
    for i in measured.keys() | raced.keys():
        m, r = measured.get(i), raced.get(i, {})
        found.append(
            Finalist(
                id=i,
                score=float(candidates.score[at[i]]),
                predicted_ms=float(candidates.cost[at[i]]) if candidates.cost_name == "latency_ms" else None,
                measurement=Measurement.from_dict(m["measurement"]) if m else None,
                within=bool(m and m["within"]),
                curve=tuple(report["validation_top1"] for report in r.get("curve", ())),
                stopped_early=bool(r.get("stopped_early", False)),
                failure=r.get("failure"),
            )
        )
    return tuple(sorted(found, key=lambda f: (-f.score, f.id)))
