"""A run as server-sent events: what it looks like now, every event of its file, the state of its job."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.concurrency import run_in_threadpool

LOOK_S = 0.5
KEEP_ALIVE_S = 15.0

Look = Callable[[], tuple[Any, dict[str, Any], Callable[[], dict[str, Any]], list[dict[str, Any]]]]


async def follow(look: Look, after: int) -> AsyncIterator[str]:
    """Lines of the stream, until the client goes or the job has ended and all is told.

    Args:
        look: a mark that changes with the run, the job's state, what makes the overview, all events of the file.
        after: number of the last event that the client has; -1 for none.
    """
    seen: Any = None
    told: dict[str, Any] | None = None
    quiet = 0.0
    while True:
        mark, state, overview, events = await run_in_threadpool(look)
        lines = [message("event", event, i) for i, event in enumerate(events) if i > after]
        after = max(after, len(events) - 1)
        if state != told:
            told = state
            lines.append(message("state", state))
        if mark != seen:
            seen = mark
            lines.append(message("overview", await run_in_threadpool(overview)))
        quiet = 0.0 if lines else quiet + LOOK_S
        if quiet >= KEEP_ALIVE_S:
            quiet, lines = 0.0, [": still here\n\n"]
        for line in lines:
            yield line
        await asyncio.sleep(LOOK_S)


def message(kind: str, data: Any, number: int | None = None) -> str:
    """One event of the stream."""
    identity = "" if number is None else f"id: {number}\n"
    return f"{identity}event: {kind}\ndata: {json.dumps(data, allow_nan=False)}\n\n"
