"""A run on disk, as a user of the library sees it."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Mapping
from datetime import datetime
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from nas.config import Config
from nas.gates import Gates, held_by
from nas.pareto import pareto_front
from nas.records import COUNTS, LARGER_IS_BETTER, METRICS, Success
from nas.store import FILE_NAME, RunFileError, RunStore, find_run
from nas.store.ranking import best_row, best_score, known_metrics, ranked_ids, smallest
from nas.store.sampling import event_kinds, rows_of
from search_spaces.arch import Architecture

if TYPE_CHECKING:
    import pandas as pd

WINNER = "winner"
REPORT = "report.html"
MOST = 1e300  # of a limit


def new_directory(data: str) -> Path:
    """``runs/<dataset>-<date>-<time>``: where a run goes that is given no place; no run is there yet."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", Path(data.rpartition(":")[2]).stem).strip("-") or "run"
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    first = Path("runs") / f"{name}-{stamp}"
    later = (first.with_name(f"{first.name}-{i}") for i in itertools.count(2))
    return next(path for path in itertools.chain([first], later) if not path.exists())


class NothingFeasible(RuntimeError):
    """No candidate keeps the constraints; the message names the tightest budget that one would keep."""


class UnknownMetric(ValueError):
    """No candidate of the run has a metric of that name."""


class Run:
    """Reads a run file; the search that writes it may still be going on.

    Example: ``Run.open("runs/digits").best(latency_ms=1.5)``.
    """

    def __init__(self, directory: Path, store: RunStore) -> None:
        self.directory = directory
        self.store = store

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open a run directory or its run file for reading; raises RunFileError."""
        file = run_file(path)
        return cls(file.parent, RunStore.open(file))

    def close(self) -> None:
        """Release the file."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def config(self) -> Config:
        """The resolved configuration."""
        return Config.from_dict(self.store.fact("config"), f"run {self.directory}")

    def candidates(self, *, scored_only: bool = True) -> pd.DataFrame:
        """One row per candidate: id, parent, digest, outcome, reason and metrics, in the order of the search."""
        import pandas as pd

        table = pd.DataFrame(self.store.table(scored_only=scored_only))
        whole = {name: "Int64" for name in (*COUNTS, "parent") if name in table}
        return table.astype(whole)

    def pareto(self) -> pd.DataFrame:
        """The candidates that no other beats in both score and latency (or MACs when no latency is known).

        Cheapest first. Its rows are a subset of ``candidates()``.
        """
        table = self.candidates()
        if table.empty:
            return table
        cost = cost_metric(table)
        costs = np.column_stack([table[cost].to_numpy(float), -table["score"].to_numpy(float)])
        return table.iloc[pareto_front(costs)].reset_index(drop=True)

    def best(self, **at_most: float) -> dict[str, Any]:
        """The candidate with the highest score whose metrics keep further limits.

        Args:
            at_most: limits by metric name, for example ``latency_ms=1.5`` (held by the upper bound of the
                estimate), ``params=5e5``.
        Returns: its row, with its architecture under "arch".
        Raises: NothingFeasible: naming the tightest reachable limit; UnknownMetric.
        """
        row = best_row(self.store, self.limits(at_most))
        if row is None:
            raise self.why_none(at_most)
        found = {name: value for name, value in row.items() if value is not None}
        return {**found, "arch": self.architecture(row["id"])}

    def limits(self, at_most: Mapping[str, float]) -> dict[str, float]:
        """Limits by the metric that each is held against; raises UnknownMetric, NothingFeasible: nothing was scored."""
        if not set(at_most) <= set(METRICS):
            raise self.why_none(at_most)
        return {held_by(name): _number(name, limit) for name, limit in at_most.items()}

    def why_none(self, at_most: Mapping[str, float]) -> NothingFeasible | UnknownMetric:
        """What is wrong with limits that no candidate keeps: the tightest of each, or a name that is no metric."""
        known = known_metrics(self.store)
        if not known:
            return NothingFeasible(f"run {self.directory}: no candidate was scored; `netwright status` tells why")
        for name, limit in at_most.items():
            if held_by(name) not in known:
                return UnknownMetric(f"run: no candidate has {name!r}, known: {', '.join(known)}")
            least = smallest(self.store, held_by(name))
            if least is None or least > limit:
                return NothingFeasible(
                    f"run {self.directory}: none has {name} of at most {limit:g}; the smallest has {least:g}"
                )
        return NothingFeasible(f"run {self.directory}: no candidate keeps all of {dict(at_most)} together")

    def best_on(self, device: str, latency_ms: float, *, seconds: float = inf, **at_most: float) -> dict[str, Any]:
        """``best`` with the latency of another device, predicted by its stored table or data sheet.

        Args:
            device: as ``--device``: a runtime here with a latency table, a stored device, or one of a data sheet.
            latency_ms: held by the upper bound of that device's estimate.
            seconds: that it may look; candidates are looked at from the highest score down.
            at_most: further limits, as of ``best``.
        Returns: its row with "latency_ms" and "latency_upper_ms" of that device, its architecture under "arch".
        Raises: NothingFeasible: none, or none in that time; UnknownMetric; InvalidConfig: the device has no latency
            table yet.
        """
        gates, tightest = self._gates_on(device), inf
        ids = ranked_ids(self.store, self.limits(at_most))
        if not ids:
            raise self.why_none(at_most)
        until = time.monotonic() + seconds
        for looked, identity in enumerate(ids):
            if looked and time.monotonic() > until:
                raise NothingFeasible(
                    f"run {self.directory}: none of the {looked:,} best of {len(ids):,} candidates has latency_ms of "
                    f"at most {latency_ms:g} on {device}, the smallest of theirs is {tightest:g}; after {seconds:g} s "
                    f"the others were left out: `netwright best --device` looks at all"
                )
            arch = self.architecture(identity)
            metrics = gates(arch)
            if metrics["latency_upper_ms"] <= latency_ms:
                row = rows_of(self.store, [identity])[identity]
                known = {name: value for name, value in row.items() if value is not None}
                return {**known, **metrics, "device": device, "arch": arch}
            tightest = min(tightest, metrics["latency_upper_ms"])
        raise NothingFeasible(
            f"run {self.directory}: none has latency_ms of at most {latency_ms:g} on {device}; the smallest has "
            f"{tightest:g}"
        )

    def _gates_on(self, device: str) -> Gates:
        from nas.limits import gates_of
        from search_spaces import load_space

        task = self.store.fact("task")
        shape = tuple(task["input_shape"])
        name = self.config.space_name(shape[1])
        return gates_of(
            {"latency": "1000s"},
            space=load_space(name),
            space_name=name,
            device=device,
            input_shape=shape,
            num_classes=task["num_classes"],
            where="best",
        )

    def architecture(self, candidate_id: int) -> Architecture:
        """The design of one candidate; raises RunFileError."""
        return self.store.result(candidate_id).candidate.arch

    def result(self, candidate_id: int) -> dict[str, Any]:
        """Outcome and metrics of one candidate; raises RunFileError."""
        result = self.store.result(candidate_id)
        if isinstance(result, Success):
            return {"outcome": "scored", **result.metrics}
        return {"outcome": result.kind, "reason": result.message, **result.candidate.metrics}

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        """What happened after the search (measured, trained, exported, verified …), oldest first."""
        return self.store.events(*kinds)

    def status(self) -> dict[str, Any]:
        """Counts by outcome, the stages that are done, and the best score."""
        outcomes, stages = self.store.outcomes(), event_kinds(self.store)
        return {
            "run": str(self.directory),
            "candidates": sum(outcomes.values()),
            "outcomes": outcomes,
            "best_score": best_score(self.store),
            "stages": stages,
            "finished": "finished" in stages,
        }

    def summary(self) -> dict[str, Any] | None:
        """What ``search --json`` prints at the end; None before the run has finished."""
        finished = self.events("finished")
        return finished[-1]["summary"] if finished else None


def run_file(path: str | Path) -> Path:
    """The run file of a run directory, or the file itself, also one that points to a server; raises RunFileError."""
    path = Path(path)
    file = find_run(path) if path.is_dir() else path
    if file is None or not file.is_file():
        raise RunFileError(f"run {path}: no {FILE_NAME} there; `netwright search --out {path}` makes one")
    return file


def cost_metric(table: pd.DataFrame) -> str:
    """The cost that fronts and plots use."""
    return "latency_ms" if "latency_ms" in table and table["latency_ms"].notna().all() else "macs"


def _number(name: str, limit: Any) -> float:
    """A limit on a cost; raises UnknownMetric."""
    if name in LARGER_IS_BETTER or not isinstance(limit, int | float) or not -MOST < limit < MOST:
        raise UnknownMetric(f"run: limit {name}={limit!r}, expected a cost and a finite number, latency in ms")
    return float(limit)
