"""Looks after jobs: starts what is queued, notices what has ended, finds again what ran before the server did."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from nas.run import Run
from nas.service.cluster import where_it_goes_on
from nas.service.job_table import LIVE, Job, JobTable, State, now
from nas.service.processes import Processes
from nas.service.refusal import Refusal
from nas.service.settings import ServiceSettings
from nas.store import RunFileError, find_run

TICK_S = 0.2
PATIENCE_S = 60.0  # after Ctrl-C, before a process is killed
INTERRUPTED = 130  # exit code of the command
ATTEMPTS = 3  # processes that die without a word, before a job has failed
WISHES: dict[State, State] = {"pausing": "paused", "stopping": "stopped"}
_LOG = logging.getLogger(__name__)


class Supervisor:
    """The jobs of one root folder."""

    def __init__(self, settings: ServiceSettings) -> None:
        """Read the table; processes are looked for when it starts."""
        self.root = settings.root
        self._limit = settings.jobs
        self._cluster = settings.cluster
        self.table = JobTable(settings.own_folder / "jobs.sqlite")
        self._processes = Processes(settings.own_folder / "logs")
        self._asked_to_end: dict[str, float] = {}
        self._begun: set[str] = set()  # runs whose file was seen
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)

    def start(self) -> None:
        """Begin to watch, in a thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop watching; the jobs go on."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def launch(self, name: str, config: dict[str, Any]) -> Job:
        """Queue a new search. Raises Refusal: the name is taken."""
        with self.table.changing():
            if self.table.get(name) or (self.root / name).exists():
                raise Refusal(409, "a run of that name is there, expected another", "name", name)
            return self.table.put(Job(name, "queued", self.table.last_place() + 1, config, now()))

    def pause(self, name: str) -> Job:
        """Let what is under way finish, and keep the place of the rest; raises Refusal."""
        return self._end(name, "pausing", ("queued", "running"))

    def stop(self, name: str) -> Job:
        """End a job; it can be resumed. Raises Refusal."""
        return self._end(name, "stopping", ("queued", "running", "pausing", "paused"))

    def resume(self, name: str) -> Job:
        """Queue a job that does not run, or a run that was there without a job; raises Refusal."""
        with self.table.changing():
            job = self.table.get(name)
            state = self.state(name, job)
            if state not in ("paused", "stopped", "failed"):
                raise Refusal(409, f"is {state}, expected paused, stopped or failed", "run", name)
            base = job or Job(name, "queued", 0, None, now())
            place = self.table.last_place() + 1
            return self.table.put(replace(base, state="queued", place=place, attempts=0, message=None))

    def state(self, name: str, job: Job | None) -> State:
        """Of a job, or of a run that was put there without one."""
        if job is not None:
            return job.state
        return "finished" if _finished(self.root / name) else "stopped"

    def _end(self, name: str, wish: State, among: tuple[State, ...]) -> Job:
        with self.table.changing():
            job = self.table.get(name)
            state = self.state(name, job)
            if job is None or state not in among:
                raise Refusal(409, f"is {state}, expected {' or '.join(among)}", "run", name)
            if job.state not in LIVE:
                return self.table.put(replace(job, state=WISHES[wish]))
            assert job.pid is not None
            self._processes.interrupt(job.pid)
            self._asked_to_end[name] = time.monotonic()
            return self.table.put(replace(job, state=wish))

    def _watch(self) -> None:
        while not self._closing.is_set():
            for step in (self._notice_ends, self._start_next):
                try:
                    step()
                except (OSError, RuntimeError, ValueError, SQLAlchemyError):  # the watch goes on
                    _LOG.exception("supervisor")
            self._closing.wait(TICK_S)

    def _notice_ends(self) -> None:
        for name, job in self.table.all().items():
            if job.state not in LIVE:
                continue
            if job.pid is not None and job.born is not None and self._processes.alive(job.pid, job.born):
                if self._is_there(name):
                    self._lose_patience(name, job)
                else:
                    self._abandon(name)
                continue
            with self.table.changing():
                current = self.table.get(name)
                if current is not None and current.state in LIVE:
                    self._has_ended(current)

    def _is_there(self, name: str) -> bool:
        """Whether a job's run still has the file that it had; one that has none yet is there."""
        if find_run(self.root / name) is not None:
            self._begun.add(name)
            return True
        return name not in self._begun

    def _abandon(self, name: str) -> None:
        """End a job whose folder somebody has removed: what it finds would go nowhere."""
        with self.table.changing():
            job = self.table.get(name)
            if job is None or job.state not in LIVE or job.pid is None:
                return
            self._processes.kill_session(job.pid, job.born)
            self._begun.discard(name)
            gone = replace(job, pid=None, born=None, ended=now(), config=None)
            self.table.put(replace(gone, state="failed", message="its folder was removed while it ran"))

    def _lose_patience(self, name: str, job: Job) -> None:
        asked = self._asked_to_end.get(name)
        if asked is not None and time.monotonic() - asked > PATIENCE_S and job.pid is not None:
            self._processes.kill_session(job.pid, job.born)

    def _has_ended(self, job: Job) -> None:
        code = self._processes.exit_code(job.pid) if job.pid is not None else None
        if job.pid is not None:
            self._processes.kill_session(job.pid, job.born)
        self._asked_to_end.pop(job.name, None)
        ended = replace(job, pid=None, born=None, ended=now())
        if _finished(self.root / job.name):
            self.table.put(replace(ended, state="finished", message=None))
        elif job.state in WISHES:
            self.table.put(replace(ended, state=WISHES[job.state]))
        elif self._was_interrupted(job.name, code):
            self.table.put(replace(ended, state="stopped", message="somebody interrupted its process"))
        elif (code is not None and code > 0) or (code is None and self._said_why(job.name)):
            message = self._told_of_its_cluster(self.root / job.name, self._processes.last_line(job.name))
            self.table.put(replace(ended, state="failed", message=message))
        elif job.attempts + 1 >= ATTEMPTS:
            message = f"its process died {ATTEMPTS} times without a word; {self._processes.last_line(job.name)}"
            self.table.put(replace(ended, state="failed", message=message))
        else:
            message = "its process was killed; it goes on where it was"
            self.table.put(replace(ended, state="queued", attempts=job.attempts + 1, message=message))

    def _was_interrupted(self, name: str, code: int | None) -> bool:
        """Whether a process ended by a Ctrl-C that did not come from here."""
        said = self._processes.last_line(name)
        return code == INTERRUPTED or (code is None and said.startswith(("interrupted", "stopped by Ctrl-C")))

    def _said_why(self, name: str) -> bool:
        """Whether a process that another server started ended with an error of its own."""
        try:
            return "\nnetwright: " in "\n" + self._processes.log(name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return False

    def _start_next(self) -> None:
        with self.table.changing():
            jobs = self.table.all().values()
            room = self._limit - sum(job.state in LIVE for job in jobs)
            for job in [job for job in jobs if job.state == "queued"][: max(0, room)]:
                self._start(job)

    def _start(self, job: Job) -> None:
        directory = self.root / job.name
        config, message = job.config, self._told_of_its_cluster(directory, job.message)
        if find_run(directory) is not None:
            config = None
        elif config is None:
            self.table.put(replace(job, state="failed", message="its run file is gone"))
            return
        elif self._cluster is not None:
            config = self._cluster.placed(config)
        try:
            process = self._processes.find(directory) or self._processes.start(job.name, directory, config)
        except OSError as error:
            self.table.put(replace(job, state="failed", message=f"cannot be started: {error.strerror}"))
            return
        started = replace(job, state="running", pid=process.pid, born=process.born, started=now(), ended=None)
        self.table.put(replace(started, message=message))

    def _told_of_its_cluster(self, directory: Path, message: str | None) -> str | None:
        """A run keeps the cluster that its run file names; its message says so where the server has another."""
        if find_run(directory) is None:
            return message
        try:
            with Run.open(directory) as run:
                told = where_it_goes_on(self._cluster, run.config.engine.address)
        except (ValueError, RuntimeError):  # a damaged run file, or its server is away: the command says which
            return message
        if told is None or told in (message or ""):
            return message
        return f"{message}; {told}" if message else told


def _finished(directory: Path) -> bool:
    return _of_run(directory, lambda run: bool(run.events("finished")))


def _of_run(directory: Path, ask: Callable[[Run], bool]) -> bool:
    try:
        with Run.open(directory) as run:
            return ask(run)
    except RunFileError:
        return False
