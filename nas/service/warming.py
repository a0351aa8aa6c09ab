"""Reads the latest runs in the background when a server starts, so that nobody waits for the first look at one."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from nas.run import Run
from nas.store import RunFileError, find_run
from nas.views.digest import KEPT_RUNS, digest_of

MOST_RUNS = KEPT_RUNS // 2  # what is asked for meanwhile keeps its place
_LOG = logging.getLogger(__name__)


class Warming:
    """A thread that reads each of the runs once, the one written to last first."""

    def __init__(self, root: Path) -> None:
        """Nothing is read yet."""
        self._root = root
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._read, name="warming", daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def close(self) -> None:
        """Begin no further run; the one that is being read is left to itself."""
        self._closing.set()

    def wait(self, seconds: float) -> bool:
        """Whether all is read within so many seconds."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _read(self) -> None:
        for directory in latest_runs(self._root)[:MOST_RUNS]:
            if self._closing.is_set():
                return
            try:
                with Run.open(directory) as run:
                    digest_of(run)
            except (RunFileError, OSError, ValueError) as error:  # whoever asks for it is told
                _LOG.info("warming: %s", error)


def latest_runs(root: Path) -> list[Path]:
    """Folders of runs in files of their own, the one written to last first."""
    found = []
    for directory in root.iterdir():
        file = None if directory.name.startswith(".") or not directory.is_dir() else find_run(directory)
        if file is not None:
            found.append((max(path.stat().st_mtime for path in directory.glob(f"{file.name}*")), directory))
    return [directory for _, directory in sorted(found, reverse=True)]
