"""Checkpoints: tensors and plain values only, written atomically, read without running any code."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

SCHEMA_VERSION = 1
_LATER = ("architecture", "network", "initial_weights")  # which the first files of this version do not say


class InvalidCheckpoint(ValueError):
    """The file is damaged, or belongs to another network, dataset, recipe or seed."""


def save_checkpoint(path: Path, state: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """Write the state so that a reader sees the old file or the new one, never a part.

    Args:
        path: of the file; its folder is made.
        state: tensors, numbers, strings, and lists and dicts of them.
        identity: what the checkpoint belongs to; compared on loading.
    Raises: OSError: naming the file; the old one is whole.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            torch.save({"version": SCHEMA_VERSION, "identity": dict(identity), "state": dict(state)}, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, RuntimeError) as error:
        raise _of_the_disk(path, error) from None
    finally:
        temporary.unlink(missing_ok=True)


def _of_the_disk(path: Path, error: BaseException) -> BaseException:
    """The system's error with the file's name; PyTorch hides a full disk behind an error of its own."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, OSError):
            return OSError(found.errno, found.strerror, str(path))
        found = found.__context__
    return error


def load_checkpoint(path: Path, identity: Mapping[str, Any]) -> dict[str, Any]:
    """Read the state back, on the CPU.

    Raises: InvalidCheckpoint: damaged, of another schema version, or of another training than ``identity``.
    """
    try:
        if not zipfile.is_zipfile(path):  # torch.load would take it for its old format
            raise ValueError("not an archive")
        data = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InvalidCheckpoint(f"{path}: cannot be read ({reason}); delete it to start again") from None
    if not isinstance(data, dict) or data.get("version") != SCHEMA_VERSION:
        raise InvalidCheckpoint(f"{path}: not a checkpoint of version {SCHEMA_VERSION}; delete it to start again")
    for name, expected in identity.items():
        if name in _LATER and name not in data["identity"]:
            continue
        if data["identity"].get(name) != expected:
            raise InvalidCheckpoint(
                f"{path}: {name} is {data['identity'].get(name)}, this training has {expected}; "
                "delete it or give another checkpoint path"
            )
    state: dict[str, Any] = data["state"]
    return state
