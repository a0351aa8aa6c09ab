"""Costs, latency and accuracy of networks that a client posts."""

from __future__ import annotations

import json
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

from hardware.counts import count
from nas.gates import Gates
from nas.limits import gates_of
from nas.service.refusal import Refusal, about
from nas.service.requests import Predict
from nas.views.plain import plain
from search_spaces import load_space
from search_spaces.arch import Architecture, InvalidArchitecture
from search_spaces.expand import check_blocks
from search_spaces.formats import format_of, read_published

FOLDER = "predictors"  # below the root of the server
_FITTED = threading.Lock()  # one prediction at a time: estimators are not made for threads


def predict(asked: Predict, root: Path, *, allow_custom_code: bool) -> dict[str, Any]:
    """One row a network: counts, "latency_ms" and "latency_upper_ms" of a device, "predicted" of a predictor.

    Raises: Refusal; and what the predictor raises.
    """
    archs = [_architecture(i, given) for i, given in enumerate(asked.archs)]
    rows = [_counts(i, arch, asked) for i, arch in enumerate(archs)]
    if asked.space is not None and asked.device is None:
        raise Refusal(422, "a space goes with a device, whose latency is predicted; give its name", "device")
    if asked.device is not None:
        gates = _gates(asked, allow_custom_code=allow_custom_code)
        for row, arch in zip(rows, archs, strict=True):
            found = gates(arch)
            row |= {name: found[name] for name in ("latency_ms", "latency_upper_ms")}
    warnings: list[str] = []
    if asked.predictor is not None:
        warnings = _add_accuracy(asked, archs, rows, root / FOLDER / f"{asked.predictor}.predictor")
    return {"rows": rows, "warnings": warnings}


def _architecture(i: int, given: dict[str, Any] | str) -> Architecture:
    try:
        if isinstance(given, dict):
            arch = Architecture.from_dict(given)
        elif format_of(given) is not None:
            arch = read_published(given)[0]
        else:
            arch = Architecture.from_json(given)
        check_blocks(arch)
    except (InvalidArchitecture, RecursionError) as error:
        raise Refusal(422, str(error) or "nested too deeply", f"archs.{i}", json.dumps(given)[:100]) from None
    return arch


def _counts(i: int, arch: Architecture, asked: Predict) -> dict[str, Any]:
    try:
        found = count(arch, asked.input_shape, asked.num_classes)
    except ValueError as error:
        raise Refusal(422, str(error), f"archs.{i}") from None
    return {"digest": arch.digest, "params": found.params, "macs": found.macs, "depth": found.depth}


def _gates(asked: Predict, *, allow_custom_code: bool) -> Gates:
    space, device = asked.space, str(asked.device)
    if space is None:
        raise Refusal(422, "a latency is predicted by the table of a space; give its name", "space")
    if not allow_custom_code:
        for field, value in (("space", space), ("device", device)):
            if "/" in value or (field == "space" and ":" in value) or value.startswith("command"):
                raise Refusal(403, "is code, a command or a file; the server does not accept it", field, value)
    return _known_gates(space, device, asked.input_shape, asked.num_classes)


@lru_cache(maxsize=32)
def _known_gates(space: str, device: str, input_shape: tuple[int, int, int], num_classes: int) -> Gates:
    with about("space", space):
        loaded = load_space(space)
    with about("device", device):
        return gates_of(
            {"latency": "1000s"},
            space=loaded,
            space_name=space,
            device=device,
            input_shape=input_shape,
            num_classes=num_classes,
            where="predict",
        )


def _add_accuracy(asked: Predict, archs: list[Architecture], rows: list[dict[str, Any]], path: Path) -> list[str]:
    import pandas as pd

    from nas.fitting.predictions import predict_table

    if not path.is_file():
        known = sorted(each.stem for each in path.parent.glob("*.predictor"))
        raise Refusal(404, f"no such predictor; known: {', '.join(known) or 'none'}", "predictor", asked.predictor)
    predictor, facts = _fitted(path, path.stat().st_mtime_ns)
    frame = pd.DataFrame(rows).assign(arch=[arch.to_json() for arch in archs])
    falling = facts.get("lower_is_better", False)
    try:
        with _FITTED:
            found = predict_table(predictor, frame, coverage=asked.coverage, lower_is_better=falling)
    except ValueError as error:  # networks unlike those that it was fitted to
        raise Refusal(422, str(error), "archs") from None
    for row, predicted in zip(rows, found.rows.to_dict("records"), strict=True):
        row.update(plain(predicted))
    return list(found.warnings)


@lru_cache(maxsize=8)
def _fitted(path: Path, _changed: int) -> tuple[Any, dict[str, Any]]:
    from nas.fitting.predictor_file import read_facts, read_predictor

    kept = read_facts(path)
    return read_predictor(path), (kept[0] if kept else {})
