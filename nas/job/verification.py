"""An exported network held against its latency budget, by measurement."""

from __future__ import annotations

from pathlib import Path

from hardware.device import Device
from hardware.measure import LayerModel, Measurement, MeasureProtocol, Model, OnnxFile, measure
from nas.export.pretrained import load_config, load_task
from nas.narrator import Silent
from nas.verdict import Verdict, judge
from search_spaces.arch import Architecture

TRIES = 3


def exported_model(onnx_file: Path, device: Device) -> tuple[Model, str]:
    """What is timed on a device for an exported file, and its name in a sentence.

    PyTorch does not run ONNX files: there it is the network of the config.json beside the file, whose layers are the
    same and whose weights do not change the time.
    Raises: InvalidPretrained: PyTorch, and no export around the file.
    """
    if device.runtime != "torch":
        return OnnxFile(onnx_file), "the exported file"
    task = load_task(onnx_file.parent)
    arch = Architecture.from_dict(load_config(onnx_file.parent)["architecture"])
    return LayerModel.of(arch, task.input_shape, len(task.classes), onnx_file.name), "the network in PyTorch"


def verify(model: Model, device: Device, budget_ms: float | None, narrator: Silent) -> tuple[Measurement, Verdict]:
    """Measure a model and say whether it keeps a budget.

    A measurement that cannot decide (void, or an interval across the budget) is repeated, up to three in all.
    Raises: MeasurementFailed, RuntimeRefused, NumericsMismatch.
    """
    for _ in range(TRIES):
        [measurement] = measure([model], device, MeasureProtocol(), narrator.update)
        narrator.done()
        verdict = judge(measurement, budget_ms)
        if verdict != "unclear":
            break
    return measurement, verdict
