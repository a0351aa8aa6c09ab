"""What the routes share: the runs of the root folder and those who look after them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from nas import views
from nas.config import Config
from nas.run import Run
from nas.service.own_code import check_harmless
from nas.service.refusal import Refusal
from nas.service.settings import ServiceSettings
from nas.service.supervisor import Supervisor
from nas.store import RunFileError, find_run

T = TypeVar("T")


@dataclass(frozen=True)
class House:
    """One server's runs."""

    settings: ServiceSettings
    supervisor: Supervisor

    def directory(self, name: str) -> Path:
        """The folder of a run; raises Refusal: there is no such run."""
        known = self.settings.root / name
        inside = known.parent == self.settings.root and not name.startswith(".")
        if not inside or "\0" in name or (find_run(known) is None and self.supervisor.table.get(name) is None):
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

    def view(self, name: str, of: Callable[[Run], T]) -> T:
        """What a view says of a run."""
        with self.open(name) as run:
            return of(run)

    def state(self, name: str) -> dict[str, Any]:
        """State and job of a run."""
        job = self.supervisor.table.get(name)
        return {"name": name, "state": self.supervisor.state(name, job), "job": job.view() if job else None}

    def overview(self, name: str) -> dict[str, Any]:
        """The whole of a run; of one that has not begun, what was asked."""
        directory, job = self.directory(name), self.supervisor.table.get(name)
        if find_run(directory) is None and job is not None:
            return {"config": job.config, "candidates": 0, "finished": False, **self.state(name)}
        return {**self.view(name, views.overview), **self.state(name)}

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
            found = self.view(name, views.listing)
        except (Refusal, RunFileError, ValueError) as problem:
            asked = (job.config if job else None) or {}
            problem_text = None if isinstance(problem, Refusal) else str(problem)
            found = {"data": asked.get("data"), "space": asked.get("space"), "device": asked.get("device"),
                     "candidates": 0, "problem": problem_text}  # fmt: skip
        return {"started": job.created if job else None, **found, **state}

    def config(self, given: dict[str, Any]) -> Config:
        """Settings that this server accepts; raises InvalidConfig, Refusal."""
        config = Config.from_dict(given)
        if not self.settings.allow_custom_code:
            check_harmless(config)
        return config


def _latest(row: dict[str, Any]) -> float:
    """When a run was last written to; one that waits comes first."""
    changed = row.get("changed")
    return float(changed) if isinstance(changed, int | float) else float("inf")
