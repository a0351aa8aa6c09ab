"""A text file that grows by whole lines, also after a kill in the middle of one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import IO

TAIL = 1 << 16  # bytes that are looked at from the end


class LinesFile:
    """Appends lines; what an earlier session left half-written at the end is cut off."""

    def __init__(self, path: Path, *, append: bool) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[bytes] = path.open("r+b" if append and path.exists() else "w+b")
        self._cut()
        self.empty = self._file.tell() == 0

    def _cut(self) -> None:
        size = self._file.seek(0, 2)
        while size and (tail := self._tail(size)) and not tail.endswith(b"\n"):
            size -= len(tail) - (tail.rfind(b"\n") + 1)
        self._file.truncate(size)
        self._file.seek(size)

    def _tail(self, end: int) -> bytes:
        self._file.seek(max(0, end - TAIL))
        return self._file.read(min(end, TAIL))

    def backwards(self) -> Iterable[str]:
        """The lines, last first; the position for writing stays at the end."""
        end, rest = self._file.seek(0, 2), b""
        while end:
            chunk = self._tail(end) + rest
            end -= min(end, TAIL)
            first, *lines = chunk.split(b"\n")
            rest = first
            for line in reversed(lines):
                if line:
                    yield line.decode(errors="replace")
        if rest:
            yield rest.decode(errors="replace")
        self._file.seek(0, 2)

    def write(self, lines: Iterable[str]) -> None:
        """Append lines, and hand them to the system."""
        self._file.write("".join(f"{line}\n" for line in lines).encode())
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
