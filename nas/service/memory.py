"""Answers about a run, remembered for as long as its file does not change."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path

from nas.store import FILE_NAME

KEPT_BYTES = 32 * 2**20  # of all answers
YOUNG_NS = 50_000_000  # a file written so lately may be written again within one tick of the clock of its times
LONGEST_S = 5.0  # that an answer is given, however unchanged the file looks

Stamp = tuple[tuple[int, int, int], ...]


def stamp_of(file: Path) -> Stamp | None:
    """What changes with every commit to a run file; None where nothing says so: on a server, or just written."""
    if file.name != FILE_NAME:
        return None
    found = []
    for path in (file, file.with_name(f"{FILE_NAME}-wal")):
        try:
            about = path.stat()
        except OSError:
            continue
        if path is not file and not about.st_size:  # readers make an empty log
            continue
        if time.time_ns() - about.st_mtime_ns < YOUNG_NS:
            return None
        found.append((about.st_ino, about.st_size, about.st_mtime_ns))
    return tuple(found) or None


class Memory:
    """The last answers; any thread may ask."""

    def __init__(self) -> None:
        """Nothing is known."""
        self._known: OrderedDict[tuple[Path, Hashable], tuple[Stamp, float, bytes]] = OrderedDict()
        self._bytes = 0
        self._busy: dict[tuple[Path, Hashable], threading.Lock] = {}
        self._lock = threading.Lock()

    def known(self, file: Path, question: Hashable, longest_s: float = LONGEST_S) -> bytes | None:
        """The answer, where the file is as it was when it was given; costs two looks at the file system."""
        with self._lock:
            found = self._known.get((file, question))
            if found is not None:
                self._known.move_to_end((file, question))
        if found is None or time.monotonic() - found[1] > longest_s or stamp_of(file) != found[0]:
            return None
        return found[2]

    def answer(
        self, file: Path, question: Hashable, compute: Callable[[], bytes], longest_s: float = LONGEST_S
    ) -> bytes:
        """The answer; those who ask the same at once wait for the first.

        Args:
            file: of the run.
            question: with all of its arguments.
            compute: makes the answer from the file.
            longest_s: how old an answer may be, however unchanged the file.
        """
        key = (file, question)
        with self._lock:
            turn = self._busy.setdefault(key, threading.Lock())
        with turn:
            if (found := self.known(file, question, longest_s)) is not None:
                return found
            stamp = stamp_of(file)  # before the file is read: what is written meanwhile makes it old
            try:
                body = compute()
            finally:
                with self._lock:
                    self._busy.pop(key, None)
            with self._lock:
                if stamp is not None:
                    self._keep(key, (stamp, time.monotonic(), body))
        return body

    def _keep(self, key: tuple[Path, Hashable], found: tuple[Stamp, float, bytes]) -> None:
        before = self._known.pop(key, None)
        self._bytes += len(found[2]) - (0 if before is None else len(before[2]))
        self._known[key] = found
        while self._bytes > KEPT_BYTES:
            _, (_, _, body) = self._known.popitem(last=False)
            self._bytes -= len(body)
