"""Before and after: files of one network held against each other by bytes, work, accuracy and measured latency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from scipy.stats import norm

from hardware.compare import Contestant, compare
from hardware.device import Device
from hardware.measure import NumericsMismatch, OnnxFile, measure
from hardware.pairs import PairProtocol
from nas.compress.onnx_file.kernels import FloatNode, kernels_of
from nas.narrator import Silent
from nas.train.evaluate import Normaliser, to_tensors
from nas.train.images import Dataset, Split

Z = float(norm.ppf(0.975))
_BATCH = 64


@dataclass(frozen=True, slots=True)
class Artefact:
    """A file to look at.

    Attributes:
        name: for the report: "original", "compressed", "int8".
        path: of the ONNX file; it may take any number of images, or one.
        params, macs: of the network that it holds.
        packed_bytes: of its weights when stored packed (sparse, or in few bits); None where they are not.
    """

    name: str
    path: Path
    params: int
    macs: int
    packed_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """What one file is.

    Attributes:
        name, params, macs, packed_bytes: see ``Artefact``.
        bytes: of the file.
        top1: on the images, 0..1; low, high: its 95 % interval (Wilson).
        n: images.
        agreement: share of images for which it predicts the class that the first file does.
        difference: accuracy less that of the first file; difference_low, difference_high: 95 % interval, paired.
        latency_ms: of one call; None when not measured. latency_low, latency_high: its interval.
        speed_up: latency of the first file over this one's, from interleaved pairs; speed_up_low, speed_up_high.
        untimed: why there is no latency although a device was given: its kernels compute something else.
        floating: weighted operations that stay in floating point, of a quantised file.
    """

    name: str
    bytes: int
    params: int
    macs: int
    packed_bytes: int | None
    top1: float
    low: float
    high: float
    n: int
    agreement: float
    difference: float
    difference_low: float
    difference_high: float
    latency_ms: float | None = None
    latency_low: float | None = None
    latency_high: float | None = None
    speed_up: float | None = None
    speed_up_low: float | None = None
    speed_up_high: float | None = None
    untimed: str = ""
    floating: tuple[FloatNode, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)


def before_after(
    artefacts: Sequence[Artefact],
    dataset: Dataset,
    *,
    split: Split | None = None,
    device: Device | None = None,
    pairs: PairProtocol = PairProtocol(),  # noqa: B008 - frozen
    narrator: Silent | None = None,
) -> list[Row]:
    """One row a file; the first is what the others are held against.

    Args:
        artefacts: the original first.
        dataset: whose normalisation the network knows.
        split: images to judge by; the test images by default, which should be looked at once.
        device: where latency is measured; None measures none. A runtime that does not read ONNX measures none either.
        pairs: how many interleaved pairs of bursts, over how long.
        narrator: is told what goes on.
    Raises: CannotCompress, MeasurementFailed, RuntimeRefused; NumericsMismatch of a single file.
    """
    told = narrator or Silent()
    judged = dataset.test if split is None else split
    correct: list[NDArray[np.bool_]] = []
    classes: list[NDArray[np.int64]] = []
    for artefact in artefacts:
        told.update(f"accuracy of {artefact.name}")
        classes.append(predictions(artefact.path, dataset, judged))
        correct.append(classes[-1] == judged.labels)
    times = _latencies(artefacts, device, pairs, told)
    rows = []
    for at, artefact in enumerate(artefacts):
        low, high = wilson(int(correct[at].sum()), len(judged))
        difference, d_low, d_high = paired_difference(correct[at], correct[0])
        rows.append(
            Row(
                artefact.name, artefact.path.stat().st_size, artefact.params, artefact.macs, artefact.packed_bytes,
                float(correct[at].mean()), low, high, len(judged), float((classes[at] == classes[0]).mean()),
                difference, d_low, d_high, *times[at], floating=_floating(artefact.path),
            )
        )  # fmt: skip
    told.done()
    return rows


def predictions(path: Path, dataset: Dataset, split: Split) -> NDArray[np.int64]:
    """(N,) classes that a file predicts for a split, in ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    [given] = session.get_inputs()
    size = given.shape[0] if isinstance(given.shape[0], int) else _BATCH
    images, normalise = to_tensors(split)[0], Normaliser(dataset)
    count = len(images)
    if isinstance(given.shape[0], int) and count % size:  # the file takes whole batches: fill the last one
        images = torch.cat([images, images[-1:].expand(size - count % size, -1, -1, -1)])
    found = []
    for start in range(0, len(images), size):
        logits = session.run(None, {given.name: normalise(images[start : start + size]).numpy()})[0]
        found.append(logits.reshape(-1, dataset.num_classes).argmax(1))
    return np.concatenate(found)[:count].astype(np.int64)


def wilson(successes: int, n: int) -> tuple[float, float]:
    """95 % interval of a share. Source: Wilson 1927."""
    p, z2 = successes / n, Z * Z
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z / (1 + z2 / n) * float(np.sqrt(p * (1 - p) / n + z2 / (4 * n * n)))
    return middle - half, middle + half


def paired_difference(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Accuracy of the first less that of the second on the same images, with its 95 % interval.

    The interval is that of the paired difference of shares, with half an image added to each kind of disagreement so
    that it has a width where there is none (Bonett and Price 2012).
    """
    n = len(first)
    won, lost = int((first & ~second).sum()), int((~first & second).sum())
    p, q = (won + 1) / (n + 2), (lost + 1) / (n + 2)
    half = Z * float(np.sqrt((p + q - (p - q) ** 2) / (n + 2)))
    return (won - lost) / n, (p - q) - half, (p - q) + half


Times = tuple[float | None, float | None, float | None, float | None, float | None, float | None, str]
_NONE: Times = (None, None, None, None, None, None, "")


def _latencies(artefacts: Sequence[Artefact], device: Device | None, pairs: PairProtocol, told: Silent) -> list[Times]:
    if device is None or not device.reads_onnx:
        return [_NONE] * len(artefacts)
    first = Contestant(OnnxFile(artefacts[0].path), device)
    if len(artefacts) == 1:
        [alone] = measure([first.model], device, progress=told.update)
        return [(alone.latency_ms, alone.low_ms, alone.high_ms, 1.0, 1.0, 1.0, "")]
    base, others = _NONE, []
    for artefact in artefacts[1:]:
        told.update(f"timing {artefact.name} against {artefacts[0].name}")
        try:
            seen = compare(first, Contestant(OnnxFile(artefact.path), device), pairs, progress=told.update)
        except NumericsMismatch as error:
            told.say(f"not timed: {error}")
            others.append((*_NONE[:-1], str(error)))
            continue
        if base is _NONE:
            base = (seen.first.latency_ms, seen.first.low_ms, seen.first.high_ms, 1.0, 1.0, 1.0, "")
        second = seen.second
        others.append((second.latency_ms, second.low_ms, second.high_ms, seen.ratio, seen.low, seen.high, ""))
    return [base, *others]


def _floating(path: Path) -> tuple[FloatNode, ...]:
    model = onnx.load(path)
    if not any(node.op_type == "DequantizeLinear" for node in model.graph.node):
        return ()
    return kernels_of(model).floating


COLUMNS = ("file", "bytes", "params", "MACs", "top-1", "95 %", "against first", "agreement", "latency", "speed-up")


def texts(row: Row) -> tuple[str, ...]:
    """Cells of a row, in the order of ``COLUMNS``."""
    packed = "" if row.packed_bytes is None else f" (weights packed {row.packed_bytes:,})"
    latency = "not measured" if row.latency_ms is None else f"{row.latency_ms:.4g} ms"
    speed = "-"
    if row.speed_up is not None and row.speed_up_low is not None and row.speed_up_high is not None:
        speed = f"{row.speed_up:.2f}x ({row.speed_up_low:.2f} to {row.speed_up_high:.2f})"
    return (
        row.name,
        f"{row.bytes:,}{packed}",
        f"{row.params:,}",
        f"{row.macs:,}",
        f"{row.top1:.4f}",
        f"{row.low:.4f} to {row.high:.4f}",
        f"{row.difference:+.4f} ({row.difference_low:+.4f} to {row.difference_high:+.4f})",
        f"{row.agreement:.4f}",
        latency,
        speed,
    )
