"""The model card: what the network is, how good, how fast by measurement, and how it was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from nas.export.parity import ParityReport
from nas.train.evaluate import Evaluation
from nas.train.images import ImageTask
from nas.verdict import budget_is, judge
from search_spaces.arch import Architecture
from search_spaces.expand import expand
from search_spaces.layers import Layer


@dataclass(frozen=True, slots=True)
class LatencyEvidence:
    """A measurement of the exported file.

    Attributes:
        device: name of the machine and its processor.
        runtime: name and version, with the number of threads.
        batch: images per call.
        latency_ms: per call.
        low_ms, high_ms: its 95 % interval.
        verdict: ok, noisy or void.
        budget_ms: what was asked for; None without a budget.
    """

    device: str
    runtime: str
    batch: int
    latency_ms: float
    low_ms: float
    high_ms: float
    verdict: str
    budget_ms: float | None = None

    @property
    def sentence(self) -> str:
        """One plain sentence that holds the number and its conditions."""
        text = (
            f"{self.latency_ms:.3f} ms (95 % interval {self.low_ms:.3f} to {self.high_ms:.3f} ms, "
            f"measurement {self.verdict}) a batch of {self.batch} on {self.device}, {self.runtime}."
        )
        if self.budget_ms is None:
            return text
        words = budget_is(judge(self, self.budget_ms), self.budget_ms)
        return f"{text} {words[0].upper()}{words[1:]}."


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What the card says beyond the network itself.

    Attributes:
        metrics: by split name ("validation", "test").
        license: an SPDX or Hugging Face identifier; the weights' owner chooses.
        search: how the design was found: space, budget, seed, candidates ... shown as a table.
    """

    metrics: Mapping[str, Evaluation] = field(default_factory=dict)
    license: str = "unknown"
    search: Mapping[str, Any] = field(default_factory=dict)


def render_card(
    arch: Architecture,
    task: ImageTask,
    facts: CardFacts,
    parity: ParityReport,
    latency: LatencyEvidence | None,
    layers: Sequence[Layer] | None = None,
) -> str:
    """The README.md with its YAML header; equal input gives equal text.

    Args:
        arch: the design.
        task: what the images are.
        facts: beyond the network itself.
        parity: of the ONNX file with PyTorch.
        latency: of the ONNX file, if it was measured.
        layers: at the input shape of the task, where they are no longer those of ``arch``.
    """
    layers = layers or expand(arch, task.input_shape, len(task.classes))
    header = yaml.safe_dump(_header(arch, task, facts, latency), sort_keys=False, allow_unicode=True)
    parts = [
        f"---\n{header}---\n",
        f"# {_title(task, arch)}\n",
        _summary(layers, task),
        _metrics(facts.metrics),
        _latency(latency),
        _table("How it was found", facts.search),
        _usage(task, parity),
    ]
    return "\n".join(part for part in parts if part)


def _title(task: ImageTask, arch: Architecture) -> str:
    return f"{task.name} classifier {arch.digest[:8]}"


def _header(arch: Architecture, task: ImageTask, facts: CardFacts, latency: LatencyEvidence | None) -> dict[str, Any]:
    metrics: list[dict[str, Any]] = [
        {
            "type": "accuracy",
            "name": f"{split} top-1",
            "value": round(result.top1, 6),
            "n": result.n,
            "standard_error": round(result.standard_error, 6),
        }
        for split, result in facts.metrics.items()
    ]
    if latency is not None:
        metrics.append({"type": "latency_ms", "name": latency.device, "value": round(latency.latency_ms, 4)})
    dataset = {"name": task.name, "type": task.name}
    result = {"task": {"type": "image-classification"}, "dataset": dataset, "metrics": metrics}
    return {
        "license": facts.license,
        "library_name": "netwright",
        "pipeline_tag": "image-classification",
        "tags": ["neural-architecture-search", "image-classification", "onnx", "pytorch"],
        "model-index": [{"name": _title(task, arch), "results": [result]}],
    }


def _summary(layers: Sequence[Layer], task: ImageTask) -> str:
    params, macs = sum(layer.weight_count for layer in layers), sum(layer.macs for layer in layers)
    channels, height, width = task.input_shape
    return (
        f"{len(task.classes)} classes; images of {width}x{height} pixels, {channels} channel(s); "
        f"{params:,} parameters; {macs:,} multiply-accumulates an image.\n"
    )


def _metrics(metrics: Mapping[str, Evaluation]) -> str:
    if not metrics:
        return ""
    rows = [
        f"| {split} | {result.top1:.4f} | {result.standard_error:.4f} | {result.loss:.4f} | {result.n} |"
        for split, result in metrics.items()
    ]
    return "\n".join(
        [
            "## Accuracy\n",
            "| split | top-1 | standard error | loss | images |",
            "|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


def _latency(latency: LatencyEvidence | None) -> str:
    said = "Not measured." if latency is None else latency.sentence
    return f"## Latency\n\n{said}\n"


def _table(title: str, rows: Mapping[str, Any]) -> str:
    if not rows:
        return ""
    lines = [f"| {_cell(name)} | {_cell(value)} |" for name, value in rows.items()]
    return "\n".join([f"## {title}\n", "| | |", "|---|---|", *lines, ""])


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def _usage(task: ImageTask, parity: ParityReport) -> str:
    shape = ", ".join(str(n) for n in task.input_shape)
    return f"""\
## How to run it

- `python network.py` rebuilds the network with PyTorch alone and prints the shape of its logits.
- `model.onnx`: input "images" (N, {shape}) float32, output "logits". On {parity.n} seeded images
  its logits differ from PyTorch's by at most {parity.max_abs_error:.1e}; the predicted class agrees on
  {parity.agree_top1:.0%}.
- `nas.export.pretrained.from_pretrained(folder)` gives the network as a PyTorch module.

Pixels are multiplied by {task.pixel_scale:.6g}, then normalised with mean and std of `config.json`.
"""
