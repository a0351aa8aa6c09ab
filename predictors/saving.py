"""Predictors in files without pickle: what a file may contain is checked before anything is made of it."""

from __future__ import annotations

import json
import os
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

FORMAT = "netwright predictor"
VERSION = 1
_NOTE = "netwright.json"  # in the archive, beside what skops writes
_OURS = "predictors."
_FOREIGN = ("sklearn.tree._tree.Tree", "xgboost.core.Booster", "xgboost.sklearn.XGBRegressor")
_MAKE = "`netwright fit TABLE.csv --out FILE` makes one"
_LIBRARIES = ("scikit-learn", "xgboost")  # whose fitted objects a file may hold


class InvalidPredictorFile(ValueError):
    """The file is missing or is no predictor, or one of another version; the message says which, and what to do."""


def save(predictor: Any, path: str | Path) -> None:
    """Write a fitted predictor; the file is there completely or not at all."""
    import skops.io

    file = Path(path)
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        skops.io.dump(predictor, draft, compression=zipfile.ZIP_DEFLATED)
        note = {"format": FORMAT, "version": VERSION, "libraries": {name: version(name) for name in _LIBRARIES}}
        with zipfile.ZipFile(draft, "a") as archive:
            archive.writestr(_NOTE, json.dumps(note))
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


def load(path: str | Path) -> Any:
    """Read what ``save`` wrote.

    Raises: InvalidPredictorFile: no such file, not a predictor, one of another version of netwright, scikit-learn or
        xgboost (their fitted models do not keep their meaning), or one that holds foreign classes.
    """
    import skops.io

    file = Path(path)
    _check_note(file, _note(file))
    try:
        asked = skops.io.get_untrusted_types(file=file)
        foreign = [name for name in asked if not (name.startswith(_known_packages()) or name in _FOREIGN)]
        if foreign:
            raise InvalidPredictorFile(f"predictor {file}: holds {foreign[0]}, which no predictor needs; not loaded")
        return skops.io.load(file, trusted=asked)
    except InvalidPredictorFile:
        raise
    except Exception as error:  # noqa: BLE001 - a damaged archive can fail in any way
        raise InvalidPredictorFile(f"predictor {file}: damaged ({type(error).__name__}); fit it again") from None


def _known_packages() -> tuple[str, ...]:
    """Beginnings of the class names that a file may hold: ours, and those of packages that offer predictors."""
    from predictors import PREDICTORS

    return (_OURS, *(f"{offer.value.partition(':')[0].partition('.')[0]}." for offer in PREDICTORS.offers().values()))


def _note(file: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(file) as archive:
            note = json.loads(archive.read(_NOTE))
    except FileNotFoundError:
        raise InvalidPredictorFile(
            f"predictor {file}: no such file; `netwright fit TABLE.csv --out` makes one"
        ) from None
    except IsADirectoryError:
        raise InvalidPredictorFile(f"predictor {file}: is a folder, expected a file") from None
    except (zipfile.BadZipFile, KeyError, ValueError, OSError):
        raise InvalidPredictorFile(
            f"predictor {file}: not a predictor; `netwright fit TABLE.csv --out` makes one"
        ) from None
    return note if isinstance(note, dict) else {}


def _check_note(file: Path, note: dict[str, Any]) -> None:
    if note.get("format") != FORMAT or note.get("version") != VERSION:
        raise InvalidPredictorFile(
            f"predictor {file}: format {note.get('format')!r} version {note.get('version')!r}, "
            f"this release reads {FORMAT!r} version {VERSION}; fit it again"
        )
    for name in _LIBRARIES:
        theirs, ours = str(note.get("libraries", {}).get(name)), version(name)
        if theirs.split(".")[:2] != ours.split(".")[:2]:
            raise InvalidPredictorFile(f"predictor {file}: made with {name} {theirs}, here is {ours}; fit it again")
