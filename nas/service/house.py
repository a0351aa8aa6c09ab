"""What the routes share: the runs of the root folder and those who look after them."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from starlette.concurrency import run_in_threadpool

from hardware.latency_targets import find_target
from nas import views
from nas.config import Config, InvalidConfig
from nas.objective import ENSEMBLE, PREDICTOR, SCORES
from nas.run import Run
from nas.service.answer import Json, encoded
from nas.service.memory import LONGEST_S, Memory
from nas.service.own_code import check_harmless
from nas.service.refusal import Refusal, about
from nas.service.settings import ServiceSettings
from nas.service.supervisor import Supervisor
from nas.store import RunFileError, find_run
from search_spaces import load_space

T = TypeVar("T")
BINAS = "binas"  # a score that is trained first
OVERVIEW_S = 0.4  # that an overview is given again: its throughput is of the time when it was made


@dataclass(frozen=True)
class House:
    """One server's runs."""

    settings: ServiceSettings
    supervisor: Supervisor
    memory: Memory = field(default_factory=Memory)

    def run_file(self, name: str) -> Path | None:
        """The run file of a name, or what points to its server; None where there is none, or the name is a path."""
        known = self.settings.root / name
        inside = known.parent == self.settings.root and not name.startswith(".") and "\0" not in name
        try:
            return find_run(known) if inside else None
        except OSError:  # a name that no file system takes
            return None

    def directory(self, name: str) -> Path:
        """The folder of a run; raises Refusal: there is no such run."""
        known = self.settings.root / name
        if self.run_file(name) is None and (
            known.parent != self.settings.root or self.supervisor.table.get(name) is None
        ):
            raise Refusal(404, "no such run; GET /api/v1/runs lists them", "run", name)
        return known

    @contextmanager
    def open(self, name: str) -> Iterator[Run]:
        """The run of that name; raises Refusal: there is none, or it has not begun."""
        directory = self.directory(name)
        if find_run(directory) is None:
            job = self.supervisor.table.get(name)
            told = f"has no run file yet: it is {job.state}" if job else "has no run file"
            raise Refusal(409, f"{told}; ask again later", "run", name)
        with Run.open(directory) as run:
            yield run

    async def answer(
        self, name: str, question: Hashable, of: Callable[[Run], Any], longest_s: float = LONGEST_S
    ) -> Json:
        """What a view says of a run, remembered while its file does not change; without a thread where it is known."""
        file = self.run_file(name)
        body = None if file is None else self.memory.known(file, question, longest_s)
        if body is None:
            body = await run_in_threadpool(self.remembered, name, question, of, longest_s)
        return Json(body)

    def remembered(
        self, name: str, question: Hashable, of: Callable[[Run], Any], longest_s: float = LONGEST_S
    ) -> bytes:
        """The same in the thread of the caller, as JSON."""
        if (file := self.run_file(name)) is None:
            return encoded(self.view(name, of))
        return self.memory.answer(file, question, lambda: encoded(self.view(name, of)), longest_s)

    def view(self, name: str, of: Callable[[Run], T]) -> T:
        """What a view says of a run."""
        with self.open(name) as run:
            return of(run)

    def state(self, name: str) -> dict[str, Any]:
        """State and job of a run."""
        job = self.supervisor.table.get(name)
        return {"name": name, "state": self.supervisor.state(name, job), "job": job.view() if job else None}

    def overview(self, name: str) -> bytes:
        """The whole of a run, as JSON; of one that has not begun, what was asked."""
        directory, job = self.directory(name), self.supervisor.table.get(name)
        state = self.state(name)
        if find_run(directory) is None and job is not None:
            return encoded({"config": job.config, "candidates": 0, "finished": False, **state})
        known = self.remembered(name, "overview", views.overview, OVERVIEW_S)
        return known[:-1] + b"," + encoded(state)[1:]  # two objects as one

    def listing(self) -> list[dict[str, Any]]:
        """One row a run, the newest first."""
        names = {path.name for path in self.settings.root.iterdir() if path.is_dir() and find_run(path) is not None}
        names |= set(self.supervisor.table.all())
        rows = [self._row(name) for name in names if not name.startswith(".")]
        return sorted(rows, key=_latest, reverse=True)

    def _row(self, name: str) -> dict[str, Any]:
        state = self.state(name)
        job = self.supervisor.table.get(name)
        try:
            found = json.loads(self.remembered(name, "listing", views.listing))
        except (Refusal, RunFileError, ValueError) as problem:
            asked = (job.config if job else None) or {}
            problem_text = None if isinstance(problem, Refusal) else str(problem)
            found = {"data": asked.get("data"), "space": asked.get("space"), "device": asked.get("device"),
                     "candidates": 0, "problem": problem_text}  # fmt: skip
        return {"started": job.created if job else None, **found, **state}

    def config(self, given: dict[str, Any]) -> Config:
        """Settings that this server accepts; raises Refusal."""
        try:
            config = Config.from_dict(given)
        except InvalidConfig as error:
            field = "config" if error.field is None else f"config.{error.field}"
            raise Refusal(422, str(error), field, error.value) from None
        if not self.settings.allow_custom_code:
            check_harmless(config)
        _check_names(config)
        return config


def _check_names(config: Config) -> None:
    """Raise for a name that is none here: else the job would only start to find that out."""
    if config.space != "auto" and not {":", "/"} & set(config.space):
        with about("config.space", config.space):
            load_space(config.space)
    score = config.search.score
    if ":" not in score and score not in (*SCORES, ENSEMBLE, PREDICTOR, BINAS):
        raise Refusal(422, f"unknown score, expected one of {', '.join(SCORES)}", "config.search.score", score)
    if config.engine.device_node is None and not config.device.startswith("command"):
        with about("config.device", config.device):
            find_target(config.device)


def _latest(row: dict[str, Any]) -> float:
    """When a run was last written to; one that waits comes first."""
    changed = row.get("changed")
    return float(changed) if isinstance(changed, int | float) else float("inf")
