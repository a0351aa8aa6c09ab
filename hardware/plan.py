"""A profile for a device that cannot run this program: models to time there, and the results read back.

A plan is a folder: ``models/`` holds one ONNX file a row, ``results.csv`` a line for each with an empty latency column,
``plan.json`` what every row is. Whoever has the device times the models with any tool, fills in milliseconds per call,
and the filled file becomes the device's table.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx

from hardware.counts import count
from hardware.device_table import DeviceTable, InvalidTable, NetworkRow, PieceRow
from hardware.models import EMPTY, LayerModel
from hardware.pieces import in_a_row
from hardware.probes import choose_probes
from hardware.rows import network_from_dict, network_to_dict, piece_from_dict, piece_to_dict
from hardware.spaces import Space, sample_widely
from search_spaces.arch import InvalidArchitecture
from search_spaces.layers import Shape
from search_spaces.onnx_graph import onnx_model
from search_spaces.random_weights import random_weights

PLAN, RESULTS, MODELS = "plan.json", "results.csv", "models"
COLUMNS = ("id", "model", "latency_ms")
SCHEMA_VERSION = 1
OVERHEAD = "overhead"  # id of the empty network
SAMPLED_NETWORKS = 300
_PLENTY_MS = 1e9  # of planned time: the number of rows is the limit


def write_plan(  # noqa: PLR0913 - the facts of a plan
    folder: Path,
    space: Space,
    input_shape: Shape,
    num_classes: int,
    *,
    pieces: int = 80,
    networks: int = 20,
    batch: int = 1,
    seed: int = 0,
) -> Path:
    """Write a plan into a new folder and return the path of its results file.

    Args:
        folder: must not exist, or be empty.
        space: whose networks will be predicted; the lighter half of them is drawn from.
        input_shape: (channels, height, width) of one image.
        num_classes: outputs of the classifier.
        pieces: how many sub-layers and classifiers at most, the most informative first.
        networks: how many whole networks.
        batch: images per call.
        seed: of the choices.
    Raises: InvalidTable: the folder holds something.
    """
    if folder.exists() and any(folder.iterdir()):
        raise InvalidTable(f"plan {folder}: the folder is not empty; give a new one")
    rng = np.random.default_rng(seed)
    drawn = sample_widely(space, SAMPLED_NETWORKS, rng)
    archs = sorted(drawn, key=lambda arch: count(arch, input_shape, num_classes).params)[: len(drawn) // 2]
    probes = choose_probes(archs, input_shape, num_classes, _PLENTY_MS, rng, batch)
    chosen = [archs[i] for i in rng.permutation(len(archs))[:networks]]
    rows: list[PieceRow | NetworkRow] = [
        *(probe.row for probe in (*probes[: max(1, pieces - 5)], *probes[-5:])),
        *(NetworkRow(arch, input_shape, num_classes, math.nan, batch=batch) for arch in dict.fromkeys(chosen)),
    ]
    rows = list({row.key: row for row in rows}.values())
    (folder / MODELS).mkdir(parents=True, exist_ok=True)
    named = {OVERHEAD: EMPTY, **{f"r{i:04d}": _model(row) for i, row in enumerate(rows)}}
    for name, model in named.items():
        proto = onnx_model(model.layers, random_weights(model.layers, 0), model.input_shape, batch=batch)
        onnx.save(proto, folder / MODELS / f"{name}.onnx")
    content = {f"r{i:04d}": _to_dict(row) for i, row in enumerate(rows)}
    (folder / PLAN).write_text(json.dumps({"version": SCHEMA_VERSION, "batch": batch, "rows": content}))
    with (folder / RESULTS).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows((name, f"{MODELS}/{name}.onnx", "") for name in named)
    return folder / RESULTS


def read_results(results: Path, name: str, *, precision: str = "fp32", source: str = "") -> DeviceTable:
    """The table of a device from a filled results file, whose plan lies beside it. Rows without a latency are left out.

    Raises: InvalidTable: naming the line, from 1 for the header.
    """
    plan = _read_plan(results.parent / PLAN)
    latencies = _read_latencies(results, {OVERHEAD, *plan})
    found = [
        (replace(row, latency_ms=latencies[key][0]), latencies[key][1]) for key, row in plan.items() if key in latencies
    ]
    found.sort(key=lambda pair: isinstance(pair[0], NetworkRow))  # the order of a table's rows
    rows, places = [row for row, _ in found], [place for _, place in found]
    table = DeviceTable(
        name,
        precision=precision,
        source=source or f"{results.name}, a plan of netwright",
        pieces=tuple(row for row in rows if isinstance(row, PieceRow)),
        networks=tuple(row for row in rows if isinstance(row, NetworkRow)),
        overhead_ms=latencies[OVERHEAD][0] if OVERHEAD in latencies else 0.0,
    )
    return table.check(places)


def _model(row: PieceRow | NetworkRow) -> LayerModel:
    if isinstance(row, NetworkRow):
        return LayerModel.of(row.arch, row.input_shape, row.num_classes)
    return LayerModel("piece", in_a_row(row.piece, row.copies), row.in_shape)


def _to_dict(row: PieceRow | NetworkRow) -> dict[str, object]:
    content = piece_to_dict(row) if isinstance(row, PieceRow) else network_to_dict(row)
    return {"what": "piece" if isinstance(row, PieceRow) else "network", **content, "latency_ms": None}


def _read_plan(path: Path) -> dict[str, PieceRow | NetworkRow]:
    if not path.is_file():
        raise InvalidTable(f"{path}: no such file; results are read beside the plan that they belong to")
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
        if data["version"] != SCHEMA_VERSION:
            raise InvalidTable(f"{path}: schema version {data['version']!r}, this release reads {SCHEMA_VERSION}")
        if not isinstance(data["rows"], dict):
            raise InvalidTable(f"{path}: rows are a {type(data['rows']).__name__}, expected an object of rows by id")
        found: dict[str, PieceRow | NetworkRow] = {}
        for key, row in data["rows"].items():
            content = {**row, "latency_ms": math.nan}
            what = content.pop("what")
            found[key] = piece_from_dict(content) if what == "piece" else network_from_dict(content)
    except (
        json.JSONDecodeError,
        UnicodeDecodeError,
        KeyError,
        TypeError,
        AttributeError,
        InvalidArchitecture,
    ) as error:
        raise InvalidTable(f"{path}: cannot be read ({type(error).__name__}: {error})") from None
    return found


def _read_latencies(path: Path, known: set[str]) -> dict[str, tuple[float, str]]:
    """Milliseconds and the place of every filled line, by id."""
    found: dict[str, tuple[float, str]] = {}
    for line, row in _result_lines(path):
        text = (row["latency_ms"] or "").strip()
        if not text:
            continue
        place = f"{path}, line {line}"
        if row["id"] not in known:
            raise InvalidTable(f"{place}: id {row['id']!r} is not of the plan beside it")
        if row["id"] in found:
            raise InvalidTable(f"{place}: id {row['id']!r} stands there twice; keep one, or their median")
        found[row["id"]] = _milliseconds(text, place), place
    if not found:
        raise InvalidTable(f"{path}: no latency is filled in; the column latency_ms takes milliseconds per call")
    return found


def _result_lines(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Number, from 1 for the header, and values of every line."""
    if not path.is_file():
        raise InvalidTable(f"{path}: no such file, expected the results of a plan")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            missing = {"id", "latency_ms"} - set(rows.fieldnames or ())
            if missing:
                raise InvalidTable(f"{path}: no column {sorted(missing)[0]!r}, expected {', '.join(COLUMNS)}")
            return [(rows.line_num, row) for row in rows]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidTable(f"{path}: cannot be read ({error}); expected text, {', '.join(COLUMNS)}") from None


def _milliseconds(text: str, place: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise InvalidTable(f"{place}: latency_ms={text!r}, expected a number of milliseconds") from None
    if not math.isfinite(value) or value <= 0:
        raise InvalidTable(f"{place}: latency_ms={text!r}, expected a positive number of milliseconds")
    return value


def merge_files(paths: Sequence[Path]) -> DeviceTable:
    """Tables of one device from several files, merged in order. Raises InvalidTable: naming the file."""
    table: DeviceTable | None = None
    for path in paths:
        found = read_table(path)
        try:
            table = found if table is None else table.merged(found)
        except InvalidTable as error:
            raise InvalidTable(f"{path}: {error}") from None
    if table is None:
        raise InvalidTable("merge: no file given")
    return table.check()


def read_table(path: Path) -> DeviceTable:
    """A device table from the file that ``device export`` wrote. Raises InvalidTable."""
    if not path.is_file():
        raise InvalidTable(f"{path}: no such file, expected a device table")
    try:
        return DeviceTable.from_json(path.read_text())
    except (InvalidTable, UnicodeDecodeError) as error:
        raise InvalidTable(f"{path}: {error}") from None
