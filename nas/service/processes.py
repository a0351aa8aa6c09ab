"""The commands that do a job, each the leader of a session of its own: they outlive the server."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

SAME_BIRTH_S = 1.0  # clocks of a machine that was suspended drift


@dataclass(frozen=True, slots=True)
class Started:
    """A process: its id, and when it was created."""

    pid: int
    born: float


class Processes:
    """Starts commands, and tells how those ended that this server started itself."""

    def __init__(self, folder: Path) -> None:
        """Logs and settings of jobs go to this folder."""
        self._folder = folder
        self._children: dict[int, int | None] = {}  # exit codes

    def start(self, name: str, directory: Path, config: dict[str, Any] | None) -> Started:
        """``netwright search`` with these settings, or ``netwright resume`` without; returns at once.

        Raises: OSError: the process or its files cannot be made.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        arguments = ["resume", str(directory)]
        if config is not None:
            settings = self._folder / f"{name}.json"
            settings.write_text(json.dumps(config), encoding="utf-8")
            arguments = ["search", "--config", str(settings), "--out", str(directory)]
        paths = os.pathsep.join(path for path in sys.path if path)
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-P", "-m", "nas", *arguments, "--json", "-q"],
            os.environ | {"PYTHONPATH": paths},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(self.log(name)), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
            setsigdef=(signal.SIGINT,),  # a server in the background of a script is deaf to it, and so its children
        )
        self._children[pid] = None
        return Started(pid, psutil.Process(pid).create_time())

    def find(self, directory: Path) -> Started | None:
        """The command that works on a run already: a server was killed before it could write down whom it started."""
        for process in psutil.process_iter(["cmdline", "create_time"]):
            words = process.info["cmdline"] or []
            if "nas" in words and str(directory) in words and {"search", "resume"} & set(words):
                return Started(process.pid, process.info["create_time"])
        return None

    def log(self, name: str) -> Path:
        """What the last command of a job printed."""
        return self._folder / f"{name}.log"

    def last_line(self, name: str) -> str:
        """The last line of it, without the name of the program."""
        try:
            text = self.log(name).read_text(encoding="utf-8", errors="replace")[-4000:]
        except OSError:
            return ""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("netwright")]
        return (errors or lines or [""])[-1].removeprefix("netwright: ")

    def alive(self, pid: int, born: float) -> bool:
        """Whether that very process is there; one that ended and waits for its parent is not."""
        if pid in self._children:
            return self._poll(pid) is None
        try:
            process = psutil.Process(pid)
            return abs(process.create_time() - born) < SAME_BIRTH_S and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def exit_code(self, pid: int) -> int | None:
        """Of a child that has ended; None for a process that another server started."""
        if pid not in self._children:
            return None
        code = self._poll(pid)
        del self._children[pid]
        return code

    def _poll(self, pid: int) -> int | None:
        if self._children[pid] is None:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                self._children[pid] = os.waitstatus_to_exitcode(status)
        return self._children[pid]

    def interrupt(self, pid: int) -> None:
        """As Ctrl-C: what is under way is finished and kept."""
        _signal(pid, signal.SIGINT)

    def kill_session(self, pid: int, born: float | None) -> None:
        """End what is left of its session, workers of Ray for example; not a stranger who has that number now."""
        try:
            if born is None or (
                psutil.pid_exists(pid) and abs(psutil.Process(pid).create_time() - born) >= SAME_BIRTH_S
            ):
                return
        except psutil.NoSuchProcess:
            pass  # it ended just now
        try:
            os.killpg(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
