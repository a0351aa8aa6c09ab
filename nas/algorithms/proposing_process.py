"""A search in a process of its own, which runs ``main``, and its driver's side of the pipes.

The process says when it is there. The driver sends a search, then again and again what it has been told; the process
answers with designs as text and goes on making them, as far ahead as it may. A thread of the driver reads whatever
comes, so that the process never waits for a pipe that nobody reads, and the driver never for one that the process does
not read. What the search raises is raised in the driver.
"""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from io import FileIO
from queue import Empty, SimpleQueue
from threading import Thread
from typing import IO, cast

from nas.algorithms.ordered import OrderedSearch
from nas.pipes import readable, writable
from nas.records import Candidate, Failure, FailureKind, Metrics, Result, Success
from search_spaces.arch import Architecture

MODULE = "nas.algorithms.proposing_process"
PATIENCE_S = 60.0  # for an answer, and for its end
AHEAD = 8192  # proposals that are made and not asked for yet
PORTION = 512  # of one answer
HEAD = 8  # bytes that say how long a message is
RARE_COLLECTIONS = (10_000, 20, 20)  # proposals are many tuples without cycles
Design = tuple[str, int | None]  # text and parent, of a candidate that the process has not proposed itself
Told = tuple[int, FailureKind | None, float, Metrics, Design | None]
Order = tuple[int, list[Told], int]  # number of the message, results, and the id below which to propose
Proposal = tuple[int, int | None, str, str]  # id, parent, text, digest
Answer = tuple[int, list[Proposal], float]  # the last message read, proposals (none: it waits), CPU seconds so far
_PROGRAM = "import sys; sys.path[:] = {path!r}; from {module} import main; main()"  # the path of the driver
_SEARCH = 0  # number of the message that brings the search


class ProposerLost(RuntimeError):
    """The process is gone, or does not answer; the message is one line."""


class ProposingProcess:
    """The driver's side; one driver's.

    Attributes:
        seconds: CPU time of the process, as of its last answer.
    """

    def __init__(self) -> None:
        """Start it; it is there a second later.

        Raises: OSError, RuntimeError: there can be no further process or thread.
        """
        self.seconds = 0.0
        self._known_from = self._given = self._under_way = 0
        self._told: list[Told] = []
        self._ready: list[Candidate] = []
        self._sent, self._until = _SEARCH, 0
        self._waits_after = _SEARCH - 1  # the last message after which it had nothing to propose
        self._answers: SimpleQueue[bytes | None] = SimpleQueue()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM.format(path=sys.path, module=MODULE)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0,
            start_new_session=True,  # an interrupt is for the driver
        )  # fmt: skip
        self._to, self._from = cast(IO[bytes], self._process.stdin), cast(IO[bytes], self._process.stdout)
        self._reader = Thread(target=_read_all, args=(self._from, self._answers), daemon=True)
        try:
            os.set_blocking(self._to.fileno(), False)
            self._reader.start()
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise

    def is_there(self) -> bool:
        """Whether it can take a search. Raises ProposerLost."""
        return self._message(wait=False) is not None

    def take(self, search: OrderedSearch) -> None:
        """Give it a copy of a search, which is of no more use here afterwards; it is, where this raises.

        Raises: ProposerLost, whatever keeps the search from being copied.
        """
        self._send(pickle.dumps(search, pickle.HIGHEST_PROTOCOL))
        self._take(wait=True)
        self._known_from = self._given = self._until = search.asked
        self._under_way = search.under_way

    @property
    def coming(self) -> bool:
        """Whether it is making proposals, or has made some."""
        return bool(self._ready) or self._waits_after < self._sent

    def tell(self, result: Result) -> None:
        """Goes with the next message."""
        candidate = result.candidate
        design = (candidate.arch.to_json(), candidate.parent) if candidate.id < self._known_from else None
        self._under_way -= 1
        if isinstance(result, Success):
            self._told.append((candidate.id, None, 0.0, result.metrics, design))
        else:
            self._told.append((candidate.id, result.kind, result.violation, {}, design))

    def ask(self, n: int) -> list[Candidate]:
        """At most n proposals that are there; waits for some only where no results can come meanwhile.

        Raises: ProposerLost.
        """
        self._order()
        while not self._ready and self._take(wait=not self._under_way):
            pass
        given, self._ready = self._ready[:n], self._ready[n:]
        self._given += len(given)
        self._under_way += len(given)
        return given

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for pipe in (self._to, self._from):
            with suppress(OSError):  # some of what was sent is unread
                pipe.close()

    def _order(self) -> None:
        """Say what is new: results, and how far to propose."""
        until = self._given + AHEAD
        if self._told or until - self._until >= PORTION:
            told, self._told, self._until = self._told, [], until
            self._sent += 1
            order: Order = self._sent, told, until
            self._send(pickle.dumps(order, pickle.HIGHEST_PROTOCOL))

    def _take(self, *, wait: bool) -> bool:
        """Whether there was an answer, and take it."""
        message = self._message(wait=wait)
        if message is None:
            return False
        answer = pickle.loads(message)
        if isinstance(answer, Exception):
            raise answer
        number, proposals, self.seconds = cast(Answer, answer)
        if not proposals:
            self._waits_after = number
        self._ready += [
            Candidate(index, Architecture.written(text, digest), parent) for index, parent, text, digest in proposals
        ]
        return True

    def _message(self, *, wait: bool) -> bytes | None:
        """The next answer, as it came; None: there is none yet."""
        try:
            message = self._answers.get(wait, PATIENCE_S)
        except Empty:
            if wait:
                raise _silent() from None
            return None
        if message is None:
            self._answers.put(None)  # whoever asks next is told the same
            raise _lost()
        return message

    def _send(self, message: bytes) -> None:
        left = memoryview(len(message).to_bytes(HEAD, "big") + message)
        pipe, deadline = self._to.fileno(), time.monotonic() + PATIENCE_S
        while left:
            if not writable(pipe, deadline - time.monotonic()):
                raise _silent()
            try:
                left = left[os.write(pipe, left) :]
            except OSError:
                raise _lost() from None


def _lost() -> ProposerLost:
    return ProposerLost("search: the process that makes proposals has ended (killed, or out of memory)")


def _silent() -> ProposerLost:
    return ProposerLost(f"search: the process that makes proposals has not answered for {PATIENCE_S:g} s")


def _write(pipe: IO[bytes], answer: object) -> None:
    message = pickle.dumps(answer, pickle.HIGHEST_PROTOCOL)
    pipe.write(len(message).to_bytes(HEAD, "big"))
    pipe.write(message)
    pipe.flush()


def _read(pipe: IO[bytes]) -> bytes | None:
    """The next message; None at the end, also within one."""
    head = _exactly(pipe, HEAD)
    return None if head is None else _exactly(pipe, int.from_bytes(head, "big"))


def _exactly(pipe: IO[bytes], size: int) -> bytes | None:
    """So many bytes of a pipe that may give fewer at a time; None at its end."""
    parts: list[bytes] = []
    while size:
        part = pipe.read(size)
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _read_all(pipe: IO[bytes], answers: SimpleQueue[bytes | None]) -> None:
    """Until the process ends; None says so."""
    with suppress(OSError, ValueError):
        for message in iter(lambda: _read(pipe), None):
            answers.put(message)
    answers.put(None)


def main() -> None:
    """Propose until the input ends."""
    messages = cast(IO[bytes], FileIO(0, closefd=False))  # without a buffer, so that it is seen whether there are any
    answers = sys.stdout.buffer
    gc.set_threshold(*RARE_COLLECTIONS)
    try:
        _write(answers, "there")
        if (copy := _read(messages)) is not None:
            for answer in _answers(pickle.loads(copy), messages):
                _write(answers, answer)
    except OSError:  # the driver has ended
        return
    except Exception as error:  # noqa: BLE001 - the driver raises it
        _write(answers, _travelling(error))


def _travelling(error: Exception) -> Exception:
    """The error, or what it says where it cannot be copied."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - pickling calls the error's own code
        return ProposerLost(f"search: {type(error).__name__}: {error}")
    return error


def _answers(search: OrderedSearch, messages: IO[bytes]) -> Iterator[Answer]:
    """Proposals in portions, and nothing where it has to wait."""
    under_way: dict[int, Candidate] = {}
    number, until, waits = _SEARCH, search.asked, True
    gc.freeze()
    yield number, [], time.thread_time()
    while True:
        if waits or readable(messages.fileno(), 0.0):
            message = _read(messages)
            if message is None:  # the driver has ended, perhaps within a message
                return
            number, told, until = cast(Order, pickle.loads(message))
            for each in told:
                search.tell(_result_of(each, under_way))
        proposed = search.ask(min(PORTION, until - search.asked))
        under_way.update((candidate.id, candidate) for candidate in proposed)
        waits = not proposed
        yield number, [_proposal(candidate) for candidate in proposed], time.thread_time()


def _proposal(candidate: Candidate) -> Proposal:
    return candidate.id, candidate.parent, candidate.arch.to_json(), candidate.arch.digest


def _result_of(told: Told, under_way: dict[int, Candidate]) -> Result:
    index, kind, violation, metrics, design = told
    if design is None:
        candidate = under_way.pop(index)
    else:
        candidate = Candidate(index, Architecture.from_json(design[0]), design[1])
    if kind is None:
        return Success(candidate, metrics)
    return Failure(candidate, kind, "", violation)
