"""Standard output that holds a command's data and nothing else, whatever a user's code and its processes print."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import TextIO

import click

_data: list[TextIO] = []  # where data goes while stdout leads to stderr; the last one counts


def print_line(text: str) -> None:
    """One line of data on the real standard output."""
    click.echo(text, file=_data[-1] if _data else None)


@contextmanager
def data_alone_on_stdout() -> Iterator[None]:
    """Lead standard output to standard error; only ``print_line`` writes to the real one.

    The descriptor is led there as well, for C code and child processes, where there is one.
    """
    stdout, stderr = _descriptor(sys.stdout), _descriptor(sys.stderr)
    if stdout is None or stderr is None:  # not files, as in a test or a notebook
        with _data_to(sys.stdout), redirect_stdout(sys.stderr):
            yield
        return
    sys.stdout.flush()
    kept = os.dup(stdout)
    writer = open(kept, "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors)  # noqa: SIM115 - closed below
    os.dup2(stderr, stdout)
    try:
        with _data_to(writer):
            yield
    finally:
        with suppress(OSError):
            sys.stdout.flush()
        os.dup2(kept, stdout)
        with suppress(OSError):  # the reader has gone, which print_line has already said
            writer.close()


@contextmanager
def _data_to(stream: TextIO) -> Iterator[None]:
    _data.append(stream)
    try:
        yield
    finally:
        _data.pop()


def _descriptor(stream: TextIO | None) -> int | None:
    try:
        return None if stream is None else stream.fileno()
    except (AttributeError, OSError, ValueError):
        return None
