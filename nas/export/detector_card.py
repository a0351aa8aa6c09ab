"""The card of a detector: what it is, what it finds, and how to run it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from nas.export.parity import ParityReport
from nas.train.detection.average_precision import AveragePrecision
from nas.train.detection.network import Detector
from nas.train.images import ImageTask


def render_detector_card(
    model: Detector,
    task: ImageTask,
    metrics: Mapping[str, AveragePrecision],
    parity: Mapping[str, ParityReport],
) -> str:
    """The README.md with its YAML header; equal input gives equal text."""
    title = f"{task.name} detector {model.arch.digest[:8]}"
    header: dict[str, Any] = {
        "license": "unknown",
        "library_name": "netwright",
        "pipeline_tag": "object-detection",
        "tags": ["neural-architecture-search", "object-detection", "onnx", "pytorch"],
    }
    channels, height, width = task.input_shape
    strides = ", ".join(map(str, model.strides))
    parts = [
        f"---\n{yaml.safe_dump(header, sort_keys=False)}---\n",
        f"# {title}\n",
        f"{len(task.classes)} class(es); images of {width}x{height} pixels, {channels} channels; "
        f"{sum(p.numel() for p in model.parameters()):,} parameters, of these "
        f"{sum(p.numel() for p in model.backbone.parameters()):,} in the backbone; maps at strides {strides}.\n",
        _table(metrics),
        _usage(task, parity),
    ]
    return "\n".join(part for part in parts if part)


def _table(metrics: Mapping[str, AveragePrecision]) -> str:
    if not metrics:
        return "## Average precision\n\nNot measured.\n"
    rows = [
        f"| {split} | {r.ap:.4f} | {r.ap50:.4f} | {r.ap75:.4f} | {r.images} | {r.boxes} |"
        for split, r in metrics.items()
    ]
    lines = ["## Average precision (COCO)\n", "| images | AP | AP50 | AP75 | n | boxes |", "|---|---|---|---|---|---|"]
    return "\n".join([*lines, *rows, ""])


def _usage(task: ImageTask, parity: Mapping[str, ParityReport]) -> str:
    shape = ", ".join(str(n) for n in task.input_shape)
    errors = ", ".join(f"{name} {report.max_abs_error:.1e}" for name, report in parity.items())
    return f"""\
## How to run it

- `python detect.py photo.jpg --draw found.png`: NumPy, Pillow and ONNX Runtime alone; prints boxes as JSON.
- `model.onnx`: input "images" (N, {shape}) float32; outputs "boxes" (N, P, 4), x1, y1, x2, y2 in pixels, and "scores"
  (N, P, classes) at all P places. Threshold them and suppress duplicates, as `detect.py` does.
  Largest difference to PyTorch on {next(iter(parity.values())).n} seeded images: {errors}.
- `nas.export.detector.load_detector(folder)` gives the network as a PyTorch module.

Pixels are multiplied by {task.pixel_scale:.6g}, then normalised with mean and std of `config.json`.
"""
