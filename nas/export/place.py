"""Where an export goes: what may be replaced there, and the staging folder beside it.

An export is written into a hidden folder beside its place and renamed. That folder stays locked while it is
written, so that one without a lock is what a killed export left behind.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nas.export.errors import ExportFailed

CONFIG, WEIGHTS, CARD, ONNX, PROGRAM = ("config.json", "model.safetensors", "README.md", "model.onnx", "network.py")
FILES = frozenset({CONFIG, WEIGHTS, CARD, ONNX, PROGRAM})
FORMAT = "netwright"


def prepare_place(directory: Path) -> None:
    """Make sure that an export can be put there: the parent is made, nothing else is touched.

    Raises: ExportFailed: the folder holds anything that is not of an earlier export, or cannot be made.
    """
    with writing(directory):
        directory.parent.mkdir(parents=True, exist_ok=True)
        _check_replaceable(directory)
        if not os.access(directory.resolve().parent, os.W_OK | os.X_OK):
            raise ExportFailed(f"{directory}: cannot be written (no right to write beside it); choose another folder")


def holds_export(directory: Path) -> bool:
    """Whether an earlier export is there."""
    return bool(_own_files(directory))


def _check_replaceable(directory: Path) -> None:
    if directory.exists() and not directory.is_dir():
        raise ExportFailed(f"{directory}: is a file, expected a folder; choose another name")
    if directory.resolve() == Path.cwd():
        raise ExportFailed(f"{directory}: is the current folder, which cannot be replaced; choose one in it")
    foreign = sorted(_entries(directory) - _own_files(directory)) if directory.is_dir() else []
    if foreign:
        raise ExportFailed(f"{directory}: holds other files ({foreign[0]}); choose an empty or a new folder")


@contextmanager
def staging_folder(directory: Path) -> Iterator[Path]:
    """A new hidden folder beside the export, so that putting it in place is one rename; gone afterwards.

    What killed exports to the same place left behind is removed after a success.
    """
    place = directory.resolve()
    with writing(directory):
        staging = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
        lock = os.open(staging, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        staging.chmod(0o755)
        yield staging
        _remove_left_over(place)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        os.close(lock)


def put_in_place(staging: Path, directory: Path) -> None:
    """Rename the finished folder; an earlier export steps aside first and comes back if that fails.

    Raises: OSError; ExportFailed: the place was filled with other files in the meantime.
    """
    _check_replaceable(directory)
    place = directory.resolve()
    old = staging.with_name(staging.name + ".old")
    if place.exists():
        place.rename(old)
    try:
        staging.rename(place)
    except OSError:
        if old.exists():
            old.rename(place)
        raise
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def writing(directory: Path) -> Iterator[None]:
    """Turn an OSError into ExportFailed that names the export's folder."""
    try:
        yield
    except OSError as error:
        raise ExportFailed(f"{directory}: cannot be written ({error.strerror or error})") from None


def _entries(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def _own_files(directory: Path) -> set[str]:
    """Names of the files that an earlier export wrote there; none when its configuration is not ours."""
    try:
        config = json.loads((directory / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return set()
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        return set()
    extra = config.get("extra_files")
    names = FILES | {name for name in extra if isinstance(name, str)} if isinstance(extra, list) else FILES
    return {name for name in names if (directory / name).is_file()}


def _remove_left_over(place: Path) -> None:
    """Remove staging folders of killed exports: named as ours, with nothing of others in them, and not locked."""
    name = re.compile(rf"\.{re.escape(place.name)}\.[a-z0-9_]{{8}}(\.old)?")
    for found in place.parent.iterdir():
        if name.fullmatch(found.name) and found.is_dir() and not found.is_symlink() and _left_over(found):
            shutil.rmtree(found, ignore_errors=True)


def _left_over(folder: Path) -> bool:
    if any(not entry.startswith(".tmp") for entry in _entries(folder) - FILES - _own_files(folder)):
        return False
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(lock)
    return True
