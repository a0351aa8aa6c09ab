"""A search in a process of its own: ``python -m nas.algorithms.proposing_process`` and its driver's side of the pipes.

The driver sends a search, then again and again what it has been told and how many proposals it wants; the process
answers with designs as text. They take turns, so that neither waits for a pipe that the other does not read.
"""

from __future__ import annotations

import gc
import pickle
import select
import subprocess
import sys
import time
from contextlib import suppress
from typing import IO, cast

from nas.algorithms.ordered import OrderedSearch
from nas.records import Candidate, Failure, FailureKind, Metrics, Result, Success
from search_spaces.arch import Architecture

MODULE = "nas.algorithms.proposing_process"
PATIENCE_S = 60.0  # for an answer, and for its end
PORTION = 1024  # proposals that are made ahead of being asked for
RARE_COLLECTIONS = (10_000, 20, 20)  # proposals are many tuples without cycles
Design = tuple[str, int | None]  # text and parent, of a candidate that the process has not proposed itself
Told = tuple[int, FailureKind | None, float, Metrics, Design | None]
Proposal = tuple[int, int | None, str, str]  # id, parent, text, digest
Answer = tuple[list[Proposal], float]  # and CPU seconds of the process so far


class ProposerLost(RuntimeError):
    """The process is gone, or does not answer; the message is one line."""


class ProposingProcess:
    """The driver's side; one driver's.

    Attributes:
        seconds: CPU time of the process, as of its last answer.
    """

    def __init__(self, search: OrderedSearch) -> None:
        """Start it with a copy of a search, which is of no more use here.

        Raises: TypeError, AttributeError, pickle.PicklingError: the search cannot be copied. OSError.
        """
        copy = pickle.dumps(search, pickle.HIGHEST_PROTOCOL)
        self.seconds = 0.0
        self._known_from = search.asked
        self._told: list[Told] = []
        self._ready: list[Candidate] = []
        self._asking = False  # whether an answer is under way
        self._process = subprocess.Popen(
            [sys.executable, "-m", MODULE],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            start_new_session=True,  # an interrupt is for the driver
        )  # fmt: skip
        self._to, self._from = cast(IO[bytes], self._process.stdin), cast(IO[bytes], self._process.stdout)
        self._send(copy)

    def tell(self, result: Result) -> None:
        """Goes with the next request."""
        candidate = result.candidate
        design = (candidate.arch.to_json(), candidate.parent) if candidate.id < self._known_from else None
        if isinstance(result, Success):
            self._told.append((candidate.id, None, 0.0, result.metrics, design))
        else:
            self._told.append((candidate.id, result.kind, result.violation, {}, design))

    def ask(self, n: int) -> list[Candidate]:
        """At most n proposals; none while the search must wait for results. Raises ProposerLost."""
        if not self._ready:
            if self._asking:
                self._ready = self._receive()
            if not self._ready:  # it did not know then what it can be told now
                self._request()
                self._ready = self._receive()
            self._request()
        given, self._ready = self._ready[:n], self._ready[n:]
        return given

    def close(self) -> None:
        """End it."""
        for pipe in (self._to, self._from):
            with suppress(OSError):  # it is gone, with some of what was sent unread
                pipe.close()
        self._process.kill()
        self._process.wait(PATIENCE_S)

    def _request(self) -> None:
        told, self._told = self._told, []
        self._asking = True
        self._send(pickle.dumps((told, PORTION), pickle.HIGHEST_PROTOCOL))

    def _receive(self) -> list[Candidate]:
        ready, _, _ = select.select([self._from], [], [], PATIENCE_S)
        if not ready:
            raise ProposerLost(f"search: the process that makes proposals has not answered for {PATIENCE_S:g} s")
        try:
            proposals, self.seconds = cast(Answer, pickle.load(self._from))
        except (EOFError, OSError, pickle.UnpicklingError):
            raise _lost() from None
        self._asking = False
        return [
            Candidate(index, Architecture.written(text, digest), parent) for index, parent, text, digest in proposals
        ]

    def _send(self, message: bytes) -> None:
        try:
            self._to.write(message)
            self._to.flush()
        except OSError:
            raise _lost() from None


def _lost() -> ProposerLost:
    return ProposerLost("search: the process that makes proposals has ended (killed, or out of memory)")


def main() -> None:
    """Propose until the input ends."""
    messages, answers = sys.stdin.buffer, sys.stdout.buffer
    search: OrderedSearch = pickle.load(messages)
    under_way: dict[int, Candidate] = {}
    gc.freeze()
    gc.set_threshold(*RARE_COLLECTIONS)
    while True:
        try:
            told, wanted = pickle.load(messages)
        except (EOFError, pickle.UnpicklingError):  # the driver has ended, perhaps within a message
            return
        for each in told:
            search.tell(_result_of(each, under_way))
        proposed = search.ask(wanted)
        under_way.update((candidate.id, candidate) for candidate in proposed)
        answer: Answer = ([_proposal(candidate) for candidate in proposed], time.thread_time())
        pickle.dump(answer, answers, pickle.HIGHEST_PROTOCOL)
        answers.flush()


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


if __name__ == "__main__":
    main()
