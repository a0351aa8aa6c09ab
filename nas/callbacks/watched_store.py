"""Lets callbacks hear what a run file is given, once it is durable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nas.callbacks.dispatcher import Dispatcher
from nas.records import Result
from nas.store import RunStore


class WatchedStore:
    """A run file that tells a dispatcher what it has committed; everything else is the run file's own."""

    def __init__(self, store: RunStore, dispatcher: Dispatcher) -> None:
        self._store, self._dispatcher = store, dispatcher
        self._untold: list[Result] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def append(self, results: Sequence[Result]) -> None:
        """Record results; they are told of after ``commit``."""
        self._store.append(results)
        self._untold.extend(results)

    def commit(self) -> None:
        """Make everything appended durable, then tell of it."""
        self._store.commit()
        self._tell()

    def record(self, kind: str, payload: Any) -> None:
        """Append one event, make it durable, and tell of it."""
        self._store.record(kind, payload)
        self._tell()
        self._dispatcher.event(kind, payload)

    def _tell(self) -> None:
        untold, self._untold = self._untold, []
        if untold:
            self._dispatcher.batch(untold)
