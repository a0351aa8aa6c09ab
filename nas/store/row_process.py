"""Rows written by a process of their own: for drivers that have better to do than to pack and insert.

It (``nas.store.row_writer``) inherits the lock of the run file, so that nobody else writes while it lives, and ends
rather than say what is wrong: the driver then writes what was not answered for itself, and meets the same error.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, cast

DONE = b"done\n"
AHEAD = 2  # batches that may be unanswered
CLOSING_S = 60.0


class NotWritten(RuntimeError):
    """The process is gone; what it has not answered for may or may not be in the file."""


class RowProcess:
    """Takes rows for a run file; one writer's."""

    def __init__(self, path: Path, dictionary: str, lock: int) -> None:
        """Start it; it is ready a second later; rows wait for it.

        Args:
            path: of the run file.
            dictionary: of the designs.
            lock: descriptor of the lock file, which stays locked until the process has ended, too.
        """
        self._process = subprocess.Popen(
            [sys.executable, "-m", "nas.store.row_writer", str(path.resolve())],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            pass_fds=(lock,), start_new_session=True,  # an interrupt is for the driver
        )  # fmt: skip
        self._to, self._from = cast(IO[bytes], self._process.stdin), cast(IO[bytes], self._process.stdout)
        self._unanswered = 0
        self._whole = True  # whether the last message went out whole
        self._send(dictionary)

    def write(self, rows: Sequence[tuple[Any, ...]]) -> int:
        """Hand rows over, their designs as text; number of batches that are not answered for yet.

        Raises: NotWritten.
        """
        self._send(rows)
        self._unanswered += 1
        if self._unanswered > AHEAD:
            self._await_one()
        return self._unanswered

    def settle(self) -> None:
        """Return when everything is committed; raises NotWritten."""
        self._check()
        while self._unanswered:
            self._await_one()

    def close(self) -> None:
        """End it, after what it is about; kill it where it does not end."""
        if not self._whole:
            self._process.kill()  # what it was sent is cut off
        for pipe in (self._to, self._from):
            with suppress(OSError):  # it is gone, with some of what was sent unread
                pipe.close()
        try:
            self._process.wait(CLOSING_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _send(self, message: object) -> None:
        self._check()
        self._whole = False
        try:
            pickle.dump(message, self._to, pickle.HIGHEST_PROTOCOL)
            self._to.flush()
        except OSError as error:
            raise NotWritten(str(error)) from None
        self._whole = True

    def _check(self) -> None:
        if not self._whole:
            raise NotWritten("an interrupt cut a message off")

    def _await_one(self) -> None:
        if self._from.readline() != DONE:
            raise NotWritten("the process that writes rows has ended")
        self._unanswered -= 1
