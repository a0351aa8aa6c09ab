"""A predictor's file with the facts of its fit in it; ``predictors.load`` reads it as well."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

from nas.fitting.fit import Fitted
from predictors.saving import InvalidPredictorFile, load, save

_MEMBER = "fit.json"


def write_predictor(fitted: Fitted, path: Path) -> None:
    """Write predictor, facts and plots; the file is there completely or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        save(fitted.predictor, draft)
        with zipfile.ZipFile(draft, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(_MEMBER, json.dumps({"facts": fitted.facts, "plots": fitted.plots}, allow_nan=False))
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def read_facts(path: Path) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Facts and plots of the fit; None of a predictor that was saved in Python.

    Raises: InvalidPredictorFile.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            found = json.loads(archive.read(_MEMBER))
    except KeyError:
        return None
    except FileNotFoundError:
        raise InvalidPredictorFile(
            f"predictor {path}: no such file; `netwright fit TABLE.csv --out` makes one"
        ) from None
    except (zipfile.BadZipFile, ValueError, OSError):
        raise InvalidPredictorFile(
            f"predictor {path}: not a predictor; `netwright fit TABLE.csv --out` makes one"
        ) from None
    return found["facts"], found["plots"]


def read_predictor(path: Path) -> Any:
    """The predictor. Raises: InvalidPredictorFile: as ``predictors.load``, or it reads no tables."""
    found = load(path)
    if not hasattr(found, "schema_"):
        raise InvalidPredictorFile(
            f"predictor {path}: a {type(found).__name__}, which reads encoded features, not tables; load it in Python"
        )
    return found
