"""The files of a run that a client may have: nothing outside of it, whatever a path or a link says."""

from __future__ import annotations

import hashlib
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from nas.service.refusal import Refusal

HIDDEN = ("work", "supernet")  # checkpoints
SUFFIXES = frozenset(
    [".csv", ".html", ".json", ".jsonl", ".md", ".onnx", ".pt2", ".py", ".safetensors", ".sqlite", ".yaml"]
)
DATABASE = ".sqlite"
CHUNK = 1 << 18
YOUNG_NS = 50_000_000  # a file written so lately may be written again within one tick of the clock of its times
COPY_TURN_S = 10.0
_COPYING = threading.Lock()  # one copy at a time


def artifacts(directory: Path) -> list[dict[str, Any]]:
    """The files of a run: path below it, bytes, SHA-256 of those that do not change while a search runs."""
    found = []
    for path in sorted(_files(directory)):
        try:
            about = path.stat()
            digest = None if path.suffix == DATABASE else _sha256(path)
        except FileNotFoundError:  # it went meanwhile
            continue
        found.append({"path": path.relative_to(directory).as_posix(), "bytes": about.st_size, "sha256": digest})
    return found


def artifact(directory: Path, name: str) -> Path:
    """One of them; raises Refusal 404 for anything else."""
    wanted = next((path for path in _files(directory) if path.relative_to(directory).as_posix() == name), None)
    if wanted is None:
        raise Refusal(404, "no such file of this run; GET …/artifacts lists them", "path", name)
    return wanted


def snapshot(file: Path, folder: Path) -> IO[bytes]:
    """A database as of now, with what is still in its log, whoever writes to it meanwhile.

    Args:
        file: of SQLite.
        folder: on whose disk the copy is made; it has no name there, so that nothing is left of it, whatever happens.
    Returns: the copy, open at its beginning.
    Raises: Refusal: no database, there is no room for the copy, or others are being made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not _COPYING.acquire(timeout=COPY_TURN_S):
        raise Refusal(429, "another database is being copied; ask again later", "path", file.name)
    try:
        return _copied(file, folder)
    finally:
        _COPYING.release()


def _copied(file: Path, folder: Path) -> IO[bytes]:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        copy = Path(place) / file.name
        try:
            with (
                closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True, timeout=30)) as source,
                closing(sqlite3.connect(copy)) as target,
            ):
                source.backup(target)
                target.execute("PRAGMA journal_mode=DELETE")  # one file, for a reader without rights to its folder
            return copy.open("rb")
        except (sqlite3.Error, OSError) as error:
            raise Refusal(409, f"cannot be copied ({error}); ask again later", "path", file.name) from None


def chunks(file: IO[bytes]) -> Iterator[bytes]:
    """An open file piece by piece; closed at the end."""
    with file:
        while piece := file.read(CHUNK):
            yield piece


def _files(directory: Path) -> Iterator[Path]:
    for path in directory.rglob("*"):
        parts = path.relative_to(directory).parts
        hidden = parts[0] in HIDDEN or any(part.startswith(".") for part in parts)
        linked = any((directory / Path(*parts[:i])).is_symlink() for i in range(1, len(parts) + 1))
        if not hidden and not linked and path.suffix in SUFFIXES and path.is_file():
            yield path


def _sha256(path: Path) -> str:
    """The sum; read again only when size or time of the file are others, or its time is too near to tell."""
    about = path.stat()
    if time.time_ns() - about.st_mtime_ns < YOUNG_NS:
        return _read_sha256(path)
    return _kept_sha256(path, about.st_ino, about.st_size, about.st_mtime_ns)


@lru_cache(maxsize=4096)
def _kept_sha256(path: Path, _inode: int, _size: int, _changed: int) -> str:
    return _read_sha256(path)


def _read_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
