"""The callbacks of a run, told for as long as the job works on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from nas.callbacks.callback import RunStart
from nas.callbacks.choice import make_callbacks
from nas.callbacks.dispatcher import Dispatcher
from nas.callbacks.watched_store import WatchedStore
from nas.config import Config
from nas.narrator import Silent
from nas.store import RunStore


@contextmanager
def watching(store: RunStore, config: Config, directory: Path, narrator: Silent) -> Iterator[RunStore]:
    """The run file to work on while the configured callbacks are told; the run file itself when there are none.

    Raises: InvalidCallback.
    """
    callbacks = make_callbacks(config.callbacks)
    if not callbacks:
        yield store
        return
    dispatcher = Dispatcher(callbacks, config.search.population, narrator.say)
    known = sum(store.outcomes().values())
    resumed = known > 0 or bool(store.events())
    dispatcher.start(RunStart(directory, config.to_dict(), known, resumed), store.results())
    try:
        yield cast(RunStore, WatchedStore(store, dispatcher))
    except BaseException as error:
        lines = str(error).strip().splitlines() or [""]
        dispatcher.end(None, f"{type(error).__name__}: {lines[0]}".rstrip(": "))
        raise
    finished = store.events("finished")
    dispatcher.end(finished[-1]["summary"] if finished else None, "finished")
