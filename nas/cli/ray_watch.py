"""Ends a command in one line when the Ray under it is gone: Ray itself would end it a minute later with its own log."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from nas.cli.main import USAGE
from nas.store import find_run
from nas.store.row_process import MODULE as ROW_WRITER

EVERY_S = 0.5
GRACE_S = 2.0  # of a private cluster: nobody starts its processes again
HEAD_GRACE_S = 45.0  # of a cluster that was joined: its head may be restarted; Ray gives up after 60
_PROCESSES = ("gcs_server", "raylet")


class RayWatch:
    """Looks at the processes of Ray from a thread while a block runs."""

    def __init__(self, run: Path, again: str | None = None) -> None:
        """Say what can be gone on with.

        Args:
            run: directory that can be resumed.
            again: a file in it that the same command goes on from; None: ``netwright resume`` does.
        """
        self._run, self._again = run, again
        self._ended = threading.Event()
        self._known: dict[str, Any] = {}
        self._missing_since: float | None = None

    def __enter__(self) -> None:
        threading.Thread(target=self._watch, name="ray-watch", daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def _watch(self) -> None:
        while not self._ended.wait(EVERY_S):
            ray = sys.modules.get("ray")
            if ray is None or not hasattr(ray, "is_initialized") or not ray.is_initialized():
                self._known, self._missing_since = {}, None
                continue
            missing, grace = self._missing(ray)
            now = time.monotonic()
            if missing is None:
                self._missing_since = None
            elif self._missing_since is None:
                self._missing_since = now
            elif now - self._missing_since >= grace and ray.is_initialized():
                self._give_up(missing)

    def _missing(self, ray: Any) -> tuple[str | None, float]:
        """The process that is gone, and how long to wait for it."""
        import psutil

        with suppress(psutil.Error):
            for process in psutil.Process().children():
                with suppress(psutil.Error):
                    if process.name() in _PROCESSES:
                        self._known.setdefault(process.name(), process)
        for name, process in self._known.items():
            if not _lives(process):
                return f"its process {name}, which was killed or ran out of memory", GRACE_S
        address = None if self._known else _head_of(ray)
        if address is not None and not _answers(address):
            return f"its head at {address}", HEAD_GRACE_S
        return None, 0.0

    def _give_up(self, missing: str) -> None:
        import psutil

        text = f"netwright: Ray has lost {missing}; what was committed is in the run"
        if self._again is not None and (self._run / self._again).exists():
            text += f", go on with the same command; it is in {self._run}"
        elif self._again is None and find_run(self._run):
            text += f", go on with: netwright resume {self._run}"
        click.echo(text, err=True)
        for process in [] if not self._known else psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                if ROW_WRITER not in process.cmdline():  # that one ends with what it has been given
                    process.kill()  # what is left of the private cluster
        sys.stderr.flush()
        os._exit(USAGE)  # the main thread may wait inside Ray for good


def _lives(process: Any) -> bool:
    import psutil

    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _head_of(ray: Any) -> str | None:
    """host:port of the head of a cluster that was joined; None when Ray does not say."""
    with suppress(Exception):  # Ray raises bare ones while it goes down
        return str(ray.get_runtime_context().gcs_address)
    return None


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5.0).close()
    except (OSError, ValueError):
        return False
    return True
