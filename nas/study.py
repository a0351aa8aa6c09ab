"""The best candidates of a run as an Optuna study, for optuna-dashboard; a mirror, never what a run goes on from."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.records import COUNTS, Constraint
from nas.run import NothingFeasible, Run, cost_metric
from search_spaces.arch import InvalidArchitecture
from search_spaces.space import GridSpace, Knob

if TYPE_CHECKING:
    import optuna
    import pandas as pd

JOURNAL = (".journal", ".log")  # suffixes of Optuna's journal files; anything else is a database
TRIALS = 200


class StudyRefused(ValueError):
    """The file cannot be written, is something else, or holds a study of that name already."""


@dataclass(frozen=True, slots=True)
class Mirror:
    """What was written.

    Attributes:
        path: the storage.
        study: name of the study.
        trials: in it.
        url: what optuna-dashboard is given.
    """

    path: Path
    study: str
    trials: int
    url: str


def export_study(run: Run, path: Path, *, name: str | None = None, trials: int = TRIALS) -> Mirror:
    """Write the Pareto set, the finalists and the best of the other scored candidates as finished trials.

    Objectives are the score (maximised) and the latency, or MACs without one (minimised). Parameters are the knobs of a
    space of knobs, else the counts of the design. Constraints are those of the run: at most 0 is kept.

    Args:
        run: to mirror.
        path: SQLite file, or a journal file by the suffix .journal or .log.
        name: of the study; None takes the name of the run directory.
        trials: at most; the Pareto set and the finalists come first.
    Raises: NothingFeasible: no candidate was scored; StudyRefused.
    """
    import optuna

    table = run.candidates()
    if table.empty:
        raise NothingFeasible(f"run {run.directory}: no candidate was scored; there is nothing to mirror")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    cost = cost_metric(table)
    study = _new_study(path, name or run.directory.resolve().name, ["score", cost])
    study.set_user_attr("run", str(run.directory))
    study.set_user_attr("config", run.config.to_dict())
    chosen = _elite(run, table, trials)
    write = _TrialWriter(run, cost)
    study.add_trials([write(row) for row in chosen])
    url = str(path) if path.suffix in JOURNAL else f"sqlite:///{path}"
    return Mirror(path, study.study_name, len(chosen), url)


def _new_study(path: Path, name: str, objectives: list[str]) -> optuna.Study:
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    try:
        study = optuna.create_study(storage=_storage(path), study_name=name, directions=["maximize", "minimize"])
    except optuna.exceptions.DuplicatedStudyError:
        raise StudyRefused(f"{path}: holds a study {name!r} already; give another --out or --name") from None
    except (SQLAlchemyError, OSError, ValueError, KeyError) as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise StudyRefused(f"{path}: no storage of Optuna can be made there ({reason})") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # names of metrics are called experimental
        study.set_metric_names(objectives)
    return study


def _storage(path: Path) -> Any:
    import optuna

    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in JOURNAL:
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        return JournalStorage(JournalFileBackend(str(path)))
    return optuna.storages.RDBStorage(f"sqlite:///{path}")


def _elite(run: Run, table: pd.DataFrame, trials: int) -> list[dict[str, Any]]:
    """Rows of the candidates to mirror, in the order of the search."""
    first = [*(event["id"] for event in run.events("measured")), *run.pareto()["id"].tolist()]
    ranked = table.sort_values(["score", "id"], ascending=[False, True])["id"].tolist()
    ids = list(dict.fromkeys([*first, *ranked]))[:trials]
    chosen = table[table["id"].isin(ids)].to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in chosen]


class _TrialWriter:
    """Turns a row of a run into a finished trial."""

    def __init__(self, run: Run, cost: str) -> None:
        self._run, self._cost = run, cost
        self._constraints = run.config.constraints.constraints()
        self._measured = {event["id"]: event["measurement"] for event in run.events("measured")}
        self._trained = {event["id"]: event for event in run.events("finalist")}
        self._winner = {event["id"] for event in run.events("winner")}
        self._front = set(run.pareto()["id"].tolist())
        self._knobs = _knobs(run)

    def __call__(self, row: Mapping[str, Any]) -> optuna.trial.FrozenTrial:
        import optuna

        params, distributions = self._parameters(row)
        values = [float(row["score"]), float(row[self._cost])]
        broken = {c.metric: self._excess(row, c) for c in self._constraints}
        known = "constraints" in inspect.signature(optuna.trial.create_trial).parameters  # from Optuna 5 on
        extra: dict[str, Any] = (
            {"constraints": broken} if known else {"system_attrs": {"constraints": list(broken.values())}}
        )
        return optuna.trial.create_trial(
            values=values, params=params, distributions=distributions, user_attrs=self._attributes(row), **extra
        )

    def _excess(self, row: Mapping[str, Any], limit: Constraint) -> float:
        """By how much the limit is passed; a measured latency counts more than the predicted bound."""
        if limit.metric == "latency_ms":
            measured = self._measured.get(row["id"])
            value = measured["latency_ms"] if measured else row["latency_upper_ms"]
        else:
            value = row[limit.metric]
        return float(value) - limit.at_most

    def _parameters(self, row: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        from optuna.distributions import CategoricalDistribution, IntDistribution

        if self._knobs is None:
            counts = {name: int(row[name]) for name in COUNTS}
            return counts, {name: IntDistribution(0, max(1, 10 ** len(str(value)))) for name, value in counts.items()}
        space, knobs = self._knobs
        values = space.values_of(self._run.architecture(int(row["id"])))
        return values, {knob.name: CategoricalDistribution(knob.choices) for knob in knobs}

    def _attributes(self, row: Mapping[str, Any]) -> dict[str, Any]:
        identity = int(row["id"])
        kept = {str(name): _plain(value) for name, value in row.items()}
        attributes = {name: value for name, value in kept.items() if value is not None and name != "outcome"}
        attributes |= {"pareto": identity in self._front, "winner": identity in self._winner}
        if identity in self._measured:
            attributes["measured_ms"] = self._measured[identity]["latency_ms"]
        if identity in self._trained:
            attributes["validation_top1"] = self._trained[identity]["top1"]
        return attributes


def _knobs(run: Run) -> tuple[GridSpace, tuple[Knob, ...]] | None:
    """The space and its knobs, if it has some and the candidates are of it; None else."""
    from search_spaces import UnknownSpace, load_space

    try:
        space = load_space(run.config.space_name(run.store.fact("task")["input_shape"][1]))
        if not isinstance(space, GridSpace):
            return None
        space.values_of(run.architecture(0))
    except (UnknownSpace, InvalidArchitecture):
        return None
    return space, space.knobs


def _plain(value: Any) -> Any:
    """JSON-ready; None for what is missing."""
    item = value.item() if hasattr(value, "item") else value
    return None if item is None or str(item) in ("nan", "<NA>") else item
