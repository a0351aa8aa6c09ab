"""The callbacks of a run, told for as long as the job works on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from nas.callbacks.callback import RunStart
from nas.callbacks.choice import make_callbacks
from nas.callbacks.telling import telling
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
    known = sum(store.outcomes().values())
    resumed = known > 0 or bool(store.events())
    start = RunStart(directory, config.to_dict(), known, resumed)
    with telling(callbacks, start, narrator, store.results(), config.search.population) as dispatcher:
        yield cast(RunStore, WatchedStore(store, dispatcher))
    finished = store.events("finished")
    dispatcher.end(finished[-1]["summary"] if finished else None, "finished")
