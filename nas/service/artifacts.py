"""The files of a run that a client may have: nothing outside of it, whatever a path or a link says."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nas.service.refusal import Refusal

HIDDEN = ("work", "supernet")  # checkpoints
SUFFIXES = frozenset(
    [".csv", ".html", ".json", ".jsonl", ".md", ".onnx", ".pt2", ".py", ".safetensors", ".sqlite", ".yaml"]
)


def artifacts(directory: Path) -> list[dict[str, Any]]:
    """The files of a run: path below it, bytes, SHA-256 of those that do not change while a search runs."""
    return [
        {
            "path": path.relative_to(directory).as_posix(),
            "bytes": path.stat().st_size,
            "sha256": None if path.suffix == ".sqlite" else _sha256(path),
        }
        for path in sorted(_files(directory))
    ]


def artifact(directory: Path, name: str) -> Path:
    """One of them; raises Refusal 404 for anything else."""
    wanted = next((path for path in _files(directory) if path.relative_to(directory).as_posix() == name), None)
    if wanted is None:
        raise Refusal(404, "no such file of this run; GET …/artifacts lists them", "path", name)
    return wanted


def _files(directory: Path) -> Iterator[Path]:
    for path in directory.rglob("*"):
        parts = path.relative_to(directory).parts
        hidden = parts[0] in HIDDEN or any(part.startswith(".") for part in parts)
        linked = any((directory / Path(*parts[:i])).is_symlink() for i in range(1, len(parts) + 1))
        if not hidden and not linked and path.suffix in SUFFIXES and path.is_file():
            yield path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
