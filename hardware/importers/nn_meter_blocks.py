"""nn-Meter's block tables: ``block,latency_ms`` a line, as CSV, of phones (TFLite) and of quantised ONNX Runtime.

Keys of the phones read ``conv_side_in_out_expansion_stride_act_kernel_se`` (``nose`` without a gate),
``transds_side_in_out_stride_expansion`` (the same with a gate and a 3x3 window; ``nasvit_nose_transds_…`` without, with
swish) and ``firstconv_side_in_out_stride_kernel``; those of ONNX Runtime
``ResNetBlock_side_in_out_kernel_expansion_stride_act`` and so on. A row is taken only if a block of ours equals it in
everything that costs time. Inverted residuals that change their width have a projected shortcut there and none here,
attention has relative positions of LeViT: they are left out and counted in the notes, as are gates whose size the
source does not state.
Source: Zhang et al. 2021 (MobiSys, nn-Meter); keys and blocks by the repository's history, branches ``dev/*``.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from hardware.device_table import DeviceTable, InvalidTable, PieceRow
from hardware.importers.text_lines import lines_of
from hardware.importers.uncovered import Uncovered
from hardware.row_checks import check_rows
from search_spaces.arch import Block
from search_spaces.blocks.kind import divisible_by_8
from search_spaces.layers import HARD_SWISH, RELU, RELU6, SILU

SOURCE = "github.com/microsoft/nn-Meter (MIT)"
COLUMNS = ["block", "latency_ms"]
ACTS = {"hard-swish": HARD_SWISH, "hswish": HARD_SWISH, "swish": SILU, "relu": RELU, "relu6": RELU6}
GATES = {"se": True, "nose": False}
SHORTCUT = "inverted residual with a projected shortcut"
ROUNDING = "widths that ours round to another number"


def read_nn_meter_blocks(path: Path, name: str, precision: str = "fp32") -> DeviceTable:
    """The table of a file, plain or .gz.

    Args:
        path: of the file.
        name: of the device.
        precision: of the measurements: "int8" for the table of ONNX Runtime.
    Raises: InvalidTable: naming the line.
    """
    seen: dict[str, int] = {}
    found: dict[object, list[PieceRow]] = {}
    places: dict[object, str] = {}  # the first line of each
    uncovered: Counter[str] = Counter()
    for number, line in lines_of(path):
        place, values = f"{path.name}, line {number}", next(csv.reader([line]))
        if number == 1 and values == COLUMNS:
            continue
        key, latency_ms = _values(values, place)
        if seen.setdefault(key, number) != number:
            raise InvalidTable(f"{place}: {key} stands in line {seen[key]} already; keep one of them")
        try:
            row = replace(_piece(key, place), latency_ms=latency_ms)
        except Uncovered as reason:
            uncovered[str(reason)] += 1
            continue
        check_rows([row], path.name, [place])  # before it becomes part of a mean
        found.setdefault(row.key, []).append(row)
        places.setdefault(row.key, place)
    pieces = tuple(replace(rows[0], latency_ms=sum(r.latency_ms for r in rows) / len(rows)) for rows in found.values())
    notes = {"format": "nn-meter", "uncovered": dict(uncovered)}
    return DeviceTable(name, "", precision, SOURCE, pieces=pieces, notes=notes).check(tuple(places.values()))


def _values(values: list[str], place: str) -> tuple[str, float]:
    try:
        key, latency = values
        return key, float(latency)
    except ValueError:
        raise InvalidTable(f"{place}: {','.join(values)}, expected {', '.join(COLUMNS)}") from None


def _piece(key: str, place: str) -> PieceRow:
    """The row of a key, its latency unset."""
    kind, *parts = key.replace("hard_swish", "hard-swish").split("_")
    if kind == "nasvit":  # nasvit_nose_transds_…, nasvit_transattn_…
        at = 2 if parts[0] in GATES else 1
        kind, parts = "_".join((kind, *parts[:at])), parts[at:]
    if kind not in _READERS:
        raise Uncovered(f"block {kind}")
    try:
        return _READERS[kind](parts)
    except Uncovered:
        raise
    except (ValueError, KeyError, IndexError):
        raise InvalidTable(f"{place}: {key!r} is no key of a {kind} block of nn-Meter") from None


def _first(parts: list[str]) -> PieceRow:
    side, width, out, stride, kernel = map(int, parts[:5])
    act = ACTS[parts[5]] if len(parts) > 5 else HARD_SWISH
    return _row(Block("conv", out, kernel, stride, act=act), width, side)


def _phone_residual(parts: list[str]) -> PieceRow:
    side, width, out, expansion, stride = map(int, parts[:5])
    act, kernel, gate = parts[5:]
    return _inverted(side, (width, out), (expansion, int(kernel), stride), ACTS[act], se=GATES[gate])


def _downsampling(act: str, *, se: bool) -> Callable[[list[str]], PieceRow]:
    """The inverted residual that opens a stage of attention."""

    def read(parts: list[str]) -> PieceRow:
        side, width, out, stride, expansion = map(int, parts)
        return _inverted(side, (width, out), (expansion, 3, stride), act, se=se)

    return read


def _quantised_residual(parts: list[str]) -> PieceRow:
    side, width, out, kernel, expansion, stride = map(int, parts[:6])
    if stride != 1:
        raise Uncovered(SHORTCUT)
    return _inverted(side, (width, out), (expansion, kernel, stride), ACTS[parts[6]], se=False)


def _inverted(side: int, widths: tuple[int, int], choices: tuple[int, int, int], act: str, *, se: bool) -> PieceRow:
    """An inverted residual; ``choices`` are expansion, window and stride."""
    (width, out), (expansion, kernel, stride) = widths, choices
    if width != out:
        raise Uncovered(SHORTCUT)
    hidden = width * expansion
    if divisible_by_8(hidden) != hidden or (se and divisible_by_8(hidden // 4) != hidden // 4):
        raise Uncovered(ROUNDING)
    return _row(Block("mbconv", out, kernel, stride, expansion=expansion, se=se, act=act), width, side)


def _bottleneck(parts: list[str]) -> PieceRow:
    side, width, out, kernel = map(int, parts[:4])
    if parts[6] != RELU:
        raise Uncovered(f"ResNet block with {parts[6]}")
    inner = divisible_by_8(out * float(parts[4]))
    return _row(Block("resnet_bottleneck", out, kernel, int(parts[5]), inner=inner), width, side)


def _conv(parts: list[str]) -> PieceRow:
    side, width, out, kernel = map(int, parts[:4])
    return _row(Block("conv", out, kernel, int(parts[5]), act=ACTS[parts[6]]), width, side)


def _pooled(parts: list[str]) -> PieceRow:
    side, width, out = map(int, parts[:3])
    return _row(Block("pooled_conv_bias", out, 1, act=ACTS[parts[6]]), width, side)


def _classifier(parts: list[str]) -> PieceRow:
    side, width, out = map(int, parts[:3])
    return PieceRow(None, (width, side, side), True, 1, out, 0.0)


def _row(block: Block, width: int, side: int) -> PieceRow:
    return PieceRow(block, (width, side, side), True, 1, None, 0.0)


def _gate_unstated(parts: list[str]) -> PieceRow:
    raise Uncovered("gate whose size the source does not state")


_READERS: dict[str, Callable[[list[str]], PieceRow]] = {
    "firstconv": _first,
    "conv": _phone_residual,
    "transds": _downsampling(HARD_SWISH, se=True),
    "nasvit_se_transds": _downsampling(SILU, se=True),
    "nasvit_nose_transds": _downsampling(SILU, se=False),
    "FirstConvBlock": _conv,
    "FinalExpandBlock": _conv,
    "FeatureMixBlock": _pooled,
    "LogitsBlock": _classifier,
    "ResNetBlock": _bottleneck,
    "MobileNetV2ResBlock": _quantised_residual,
    "MobileNetV3ResBlock": _gate_unstated,
}
