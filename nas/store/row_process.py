"""Rows written by a process of their own: for drivers that have better to do than to pack and insert.

It (``nas.store.row_writer``) inherits the lock of the run file, so that nobody else writes while it lives, and ends
rather than say what is wrong: the driver then writes what was not answered for itself, and meets the same error.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, cast

from nas.pipes import readable

MODULE = "nas.store.row_writer"
DONE = b"\n"
AHEAD = 2  # batches that may be unanswered
PATIENCE_S = 60.0  # for an answer, and for its end


class NotWritten(RuntimeError):
    """The process is gone, or does not answer; what it has not answered for may or may not be in the file."""


class RowProcess:
    """Takes rows for a run file; one writer's."""

    def __init__(self, path: Path, dictionary: str, lock: int) -> None:
        """Start it; it is ready a second later; rows wait for it.

        Args:
            path: of the run file.
            dictionary: of the designs.
            lock: descriptor of the lock file, which stays locked until the process has ended, too.
        Raises: OSError: there can be no further process; NotWritten: it ended at once.
        """
        self._process = subprocess.Popen(
            [sys.executable, "-m", MODULE, str(path.resolve())],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            pass_fds=(lock,), start_new_session=True,  # an interrupt is for the driver
        )  # fmt: skip
        self._to, self._from = cast(IO[bytes], self._process.stdin), cast(IO[bytes], self._process.stdout)
        self._sent = self._answered = 0
        self._sound = True  # whether all messages went out whole, and answers came in time
        try:
            self._send(dictionary)
        except BaseException:
            self.close()
            raise

    def write(self, rows: Sequence[tuple[Any, ...]]) -> int:
        """Hand rows over, their designs as text; number of batches that are not answered for yet.

        Raises: NotWritten.
        """
        self._sent += 1  # before: an interrupt must not make it less than what is under way
        self._send(rows)
        self._await(AHEAD)
        return self._sent - self._answered

    def settle(self) -> None:
        """Return when everything is committed; raises NotWritten."""
        self._await(0)

    def close(self) -> None:
        """End it, after what it is about; kill it where it does not end."""
        if not self._sound:
            self._process.kill()
        self._sound = False
        for pipe in (self._to, self._from):
            with suppress(OSError):  # it is gone, with some of what was sent unread
                pipe.close()
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _send(self, message: object) -> None:
        self._check()
        self._sound = False
        try:
            pickle.dump(message, self._to, pickle.HIGHEST_PROTOCOL)
            self._to.flush()
        except OSError as error:
            raise NotWritten(str(error)) from None
        self._sound = True

    def _await(self, unanswered: int) -> None:
        """Until no more batches than that are unanswered."""
        self._check()
        deadline = time.monotonic() + PATIENCE_S
        while self._sent - self._answered > unanswered:
            ready = readable(self._from.fileno(), deadline - time.monotonic())
            answers = os.read(self._from.fileno(), 1 << 12) if ready else b""
            if not answers:
                self._sound = False
                raise NotWritten("the process that writes rows has ended" if ready else "it does not answer")
            self._answered += answers.count(DONE)

    def _check(self) -> None:
        if not self._sound:
            raise NotWritten("an interrupt cut a message off, or it was closed")
