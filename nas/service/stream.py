"""A run as server-sent events: what it looks like now, every event of its file, the state of its job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool

from nas.service.answer import encoded
from nas.service.house import House
from nas.service.memory import Stamp, stamp_of
from nas.service.refusal import Refusal
from nas.store import RunFileError
from nas.store.sampling import events_after, last_id

LOOK_S = 0.5
KEEP_ALIVE_S = 15.0
AT_ONCE = 500  # events of one look
RETRY = "retry: 1000\n\n"  # milliseconds after which a browser asks again


@dataclass(frozen=True, slots=True)
class Seen:
    """A look at a run.

    Attributes:
        mark: changes with the run.
        state: of its job.
        events: that are new, each with its number.
        stamp: of the file, before the look; None where it says nothing.
    """

    mark: Any
    state: dict[str, Any]
    events: list[tuple[int, dict[str, Any]]]
    stamp: Stamp | None


def look(house: House, name: str, after: int, last: Seen | None) -> Seen:
    """What a run looks like; its file is opened only when it has changed since the last look.

    Args:
        house: that has the run.
        name: of the run.
        after: number of the last event that is told; 0 for none.
        last: look; None for the first.
    """
    state, file = house.state(name), house.run_file(name)
    stamp = None if file is None else stamp_of(file)
    if last is not None and stamp is not None and stamp == last.stamp:
        return Seen((last.mark[0], state["state"]), state, [], stamp)
    try:
        with house.open(name) as run:
            mark, events = last_id(run.store), events_after(run.store, after, AT_ONCE)
    except (Refusal, RunFileError):  # it waits to begin, or cannot be read now
        mark, events = None, []
    if len(events) == AT_ONCE:
        stamp = None  # there may be more
    newest = events[-1][0] if events else after
    return Seen(((mark, newest), state["state"]), state, events, stamp)


async def follow(
    looking: Callable[[int, Seen | None], Seen], overview: Callable[[], bytes], after: int
) -> AsyncIterator[str]:
    """Lines of the stream, until the client or the run goes.

    Args:
        looking: at the run, given the number of the last event that is told, and the last look.
        overview: the whole of the run, as JSON.
        after: number of the last event that the client has; 0 for none.
    """
    yield RETRY
    with suppress(Refusal):  # the run is gone
        async for line in _lines(looking, overview, after):
            yield line


async def _lines(
    looking: Callable[[int, Seen | None], Seen], overview: Callable[[], bytes], after: int
) -> AsyncIterator[str]:
    seen: Seen | None = None
    quiet = 0.0
    while True:
        found = await run_in_threadpool(looking, after, seen)
        lines = [message("event", encoded(_short(event)), number) for number, event in found.events]
        after = found.events[-1][0] if found.events else after
        if seen is None or found.state != seen.state:
            lines.append(message("state", encoded(found.state)))
        if len(found.events) < AT_ONCE and (seen is None or found.mark != seen.mark):
            lines.append(message("overview", await run_in_threadpool(overview)))
        seen = found
        quiet = 0.0 if lines else quiet + LOOK_S
        if quiet >= KEEP_ALIVE_S:
            quiet, lines = 0.0, [": still here\n\n"]
        for line in lines:
            yield line
        await asyncio.sleep(LOOK_S if len(found.events) < AT_ONCE else 0)


def message(kind: str, data: bytes, number: int | None = None) -> str:
    """One event of the stream."""
    identity = "" if number is None else f"id: {number}\n"
    return f"{identity}event: {kind}\ndata: {data.decode()}\n\n"


def _short(event: dict[str, Any]) -> dict[str, Any]:
    """An event without its large parts: the overview has them."""
    return {key: value for key, value in event.items() if isinstance(value, bool | int | str) or value is None}
