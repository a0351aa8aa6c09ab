"""So many streams at a time: a place is taken before the first word and given back after the last."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from nas.service.refusal import Refusal


class Places:
    """Any thread may ask."""

    def __init__(self, most: int) -> None:
        """All free."""
        self.most, self.taken, self._lock = most, 0, threading.Lock()

    def take(self) -> None:
        """One; raises Refusal: none is free."""
        with self._lock:
            if self.taken >= self.most:
                raise Refusal(429, f"{self.most} streams are open already; close one")
            self.taken += 1

    def give_back(self) -> None:
        """One."""
        with self._lock:
            self.taken -= 1


class PlacedStream(StreamingResponse):
    """A stream that has a place, until it ends or its client goes."""

    def __init__(self, lines: AsyncIterator[str], places: Places) -> None:
        """Take a place; raises Refusal: none is free."""
        super().__init__(lines, media_type="text/event-stream")
        self._places = places
        places.take()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._places.give_back()
