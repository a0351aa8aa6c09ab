"""Waiting for a pipe; ``select.select`` fails with descriptors from 1,024 on, which a driver of many workers has."""

from __future__ import annotations

import selectors


def readable(descriptor: int, seconds: float) -> bool:
    """Whether there is something to read within this time, or the end."""
    return _ready(descriptor, selectors.EVENT_READ, seconds)


def writable(descriptor: int, seconds: float) -> bool:
    """Whether something can be written within this time, or never again."""
    return _ready(descriptor, selectors.EVENT_WRITE, seconds)


def _ready(descriptor: int, event: int, seconds: float) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, event)
        return bool(selector.select(max(0.0, seconds)))
