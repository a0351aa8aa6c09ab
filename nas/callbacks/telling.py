"""Callbacks from the start of a piece of work to its end, however it ends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from nas.callbacks.callback import Callback, RunStart
from nas.callbacks.dispatcher import Dispatcher
from nas.narrator import Silent
from nas.records import Result


@contextmanager
def telling(
    callbacks: Sequence[tuple[str, Callback]],
    start: RunStart,
    narrator: Silent,
    known: Iterable[Result] = (),
    population: int = 1,
) -> Iterator[Dispatcher]:
    """Begin to tell; whoever finishes the work says so with ``Dispatcher.end``.

    Args:
        callbacks: with their names.
        start: what they are told first.
        narrator: told once of each callback that fails.
        known: results of before.
        population: candidates that make a generation.
    """
    dispatcher = Dispatcher(callbacks, population, narrator.say)
    dispatcher.start(start, known)
    try:
        yield dispatcher
    except BaseException as error:  # an interrupt too: callbacks hear how the work ended, and it goes on its way
        lines = str(error).strip().splitlines() or [""]
        dispatcher.end(None, f"{type(error).__name__}: {lines[0]}".rstrip(": "))
        raise
