"""How a user names an architecture: a published structure, a JSON file, or ``RUN:ID``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_spaces.arch import Architecture, InvalidArchitecture
from search_spaces.block_limits import MAX_CHANNELS
from search_spaces.expand import check_blocks
from search_spaces.formats import format_of, read_published

_RUN_ID = re.compile(r"(?P<run>.+):(?P<id>[0-9]{1,18})")
_EXPECTED = "expected a published structure, a JSON file, or RUN:ID (a run directory and a candidate's number)"


@dataclass(frozen=True, slots=True)
class Spec:
    """An architecture and what its source says about the task.

    Attributes:
        arch: the design.
        in_channels: of the images; None when the source does not say.
        data: the dataset of the run that it comes from; None otherwise.
    """

    arch: Architecture
    in_channels: int | None = None
    data: str | None = None


def load_spec(text: str) -> Spec:
    """Read a SPEC argument.

    Raises: InvalidArchitecture: malformed, with the place. RunFileError: no such run or candidate.
    """
    match = _RUN_ID.fullmatch(text)
    if match and _there(match["run"]):
        from nas.run import Run

        with Run.open(match["run"]) as run:
            return Spec(run.architecture(int(match["id"])), data=run.config.data)
    if format_of(text) is not None:
        return Spec(*read_published(text))
    return _read_file(_find_file(text))


def _find_file(text: str) -> Path:
    path = Path(text)
    if _there(text) and path.is_dir():
        path = path / "config.json"
    if not _there(str(path)):
        shown = text if len(text) <= 80 else f"{text[:79]}…"
        raise InvalidArchitecture(f"{shown!r}: no such file; {_EXPECTED}")
    return path


def _there(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # too long, or not a possible name of a file
        return False


def _read_file(path: Path) -> Spec:
    try:
        content = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArchitecture(f"{path}: cannot be read as text ({error}); {_EXPECTED}") from None
    if format_of(content) is not None:
        try:
            return Spec(*read_published(content))
        except InvalidArchitecture as error:
            raise InvalidArchitecture(f"{path}: {error}") from None
    import json

    try:
        data = json.loads(content)
    except json.JSONDecodeError as error:
        raise InvalidArchitecture(
            f"{path}, line {error.lineno} column {error.colno}: not JSON ({error.msg}); {_EXPECTED}"
        ) from None
    except RecursionError:
        raise InvalidArchitecture(f"{path}: nested too deeply; {_EXPECTED}") from None
    except ValueError as error:
        raise InvalidArchitecture(f"{path}: {error}; {_EXPECTED}") from None
    return _from_json(path, data)


def _from_json(path: Path, data: Any) -> Spec:
    if not isinstance(data, dict) or "architecture" not in data:
        return Spec(_checked(path, data))
    in_channels, dataset = data.get("in_channels"), data.get("dataset")  # config.json of an export
    if in_channels is not None and (type(in_channels) is not int or not 1 <= in_channels <= MAX_CHANNELS):
        raise InvalidArchitecture(f"{path}: in_channels={in_channels!r}, expected 1 to {MAX_CHANNELS}")
    if dataset is not None and not isinstance(dataset, str):
        raise InvalidArchitecture(f"{path}: dataset={dataset!r}, expected a text")
    return Spec(_checked(path, data["architecture"]), in_channels, dataset)


def _checked(path: Path, data: Any) -> Architecture:
    try:
        arch = Architecture.from_dict(data)
        check_blocks(arch)
    except InvalidArchitecture as error:
        raise InvalidArchitecture(f"{path}: {error}") from None
    return arch
