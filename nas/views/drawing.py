"""A network block by block: figures, and the drawing of the report."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from hardware.lookup import LatencyTable, TableUnreadable
from nas.report.blocks import block_rows
from nas.report.charts.architecture import draw_architecture
from nas.report.plot import NARROW, WIDE
from nas.run import Run
from predictors.proxies.entropy import block_terms
from predictors.proxies.failure import ProxyFailed
from search_spaces.arch import Architecture
from search_spaces.expand import block_inputs
from search_spaces.formats import write_published
from search_spaces.layers import Shape


def stored_table(run: Run) -> LatencyTable | None:
    """The latency table of a run; None without one, or when an older release wrote it."""
    text = run.store.fact("latency_table")
    try:
        return None if text is None else LatencyTable.from_json(text)
    except TableUnreadable:
        return None


def task_of(run: Run) -> tuple[Shape | None, int | None]:
    """Shape of one image and number of classes, as far as the run file says."""
    task = run.store.fact("task")
    if task is None:
        return None, None
    channels, height, width = task["input_shape"]
    return (channels, height, width), task["num_classes"]


def drawn(run: Run, arch: Architecture) -> dict[str, Any]:
    """A design as the page shows it.

    Returns: "spec" (as JSON data), "structure" (published text, or JSON), "svg" ("wide" and "narrow", None where the
        run does not say how large its images are), "blocks": a row each, the classifier last, with "name", "detail",
        "in_shape", "shape", "depth", "params", "macs", "peak_memory_bytes", "latency_ms" (None without a table) and
        "entropy" (nats that the block adds to the entropy of the plain network; None where that is not defined).
    """
    shape, classes = task_of(run)
    found: dict[str, Any] = {
        "spec": arch.to_dict(),
        "structure": write_published(arch, 3 if shape is None else shape[0]),
        "svg": None,
        "blocks": [],
    }
    if shape is None or classes is None:
        return found
    rows = block_rows(arch, shape, classes, stored_table(run))
    entropies = [*block_entropies(arch, shape), None]
    found["svg"] = {
        "wide": str(draw_architecture(rows, shape, WIDE)),
        "narrow": str(draw_architecture(rows, shape, NARROW)),
    }
    found["blocks"] = [{**asdict(row), "entropy": nats} for row, nats in zip(rows, entropies, strict=True)]
    return found


def block_entropies(arch: Architecture, input_shape: Shape) -> list[float | None]:
    """Nats that each block adds to the log deviation of the plain network (MAE-DET); None where it has no such term."""
    found: list[float | None] = []
    for block, in_shape in block_inputs(arch, input_shape):
        try:
            found.append(block_terms(block, in_shape).log_std)
        except ProxyFailed:
            found.append(None)
    return found
