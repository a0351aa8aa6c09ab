"""Tells a person what is going on: a live bar on a terminal, else a line now and then; always to stderr."""

from __future__ import annotations

import logging
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn

LINE_EVERY_S = 10.0
_LOG = logging.getLogger("nas")


class Silent:
    """Says nothing; the default of the library."""

    def say(self, text: str) -> None:
        """A line worth keeping."""

    def update(self, what: str, share: float | None = None) -> None:
        """What is going on right now; share done in 0..1, None when unknown."""

    def done(self) -> None:
        """The current activity is over."""

    def __enter__(self) -> Self:
        """From here on the library's log is told as well."""
        self._ear = _Ear(self)
        _LOG.addHandler(self._ear)
        _LOG.setLevel(logging.INFO)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.done()
        _LOG.removeHandler(self._ear)


class Narrator(Silent):
    """Writes to stderr; data belongs to stdout."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._last_line = time.monotonic()

    def say(self, text: str) -> None:
        """Print one line."""
        self.console.print(text, markup=False)

    def update(self, what: str, share: float | None = None) -> None:
        """Move the bar, or print a line when ten seconds have passed since the last."""
        if self.console.is_terminal:
            self._move_bar(what, share)
        elif time.monotonic() - self._last_line >= LINE_EVERY_S:
            self._last_line = time.monotonic()
            self.say(f"  {what}" + (f" ({100 * share:.0f} %)" if share is not None else ""))

    def _move_bar(self, what: str, share: float | None) -> None:
        if self._bar is None:
            self._bar = Progress(
                SpinnerColumn(), BarColumn(24), TextColumn("{task.description}"), console=self.console, transient=True
            )
            self._bar.start()
            self._task = self._bar.add_task(what, total=1.0)
        assert self._task is not None
        self._bar.update(self._task, description=what, completed=share or 0.0, total=None if share is None else 1.0)

    def done(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class _Ear(logging.Handler):
    """Hands what the library logs to a narrator."""

    def __init__(self, narrator: Silent) -> None:
        super().__init__(logging.INFO)
        self._narrator = narrator

    def emit(self, record: logging.LogRecord) -> None:
        """Say the message."""
        self._narrator.say(record.getMessage())
