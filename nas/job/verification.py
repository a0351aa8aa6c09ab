"""An exported network held against its latency budget, by measurement."""

from __future__ import annotations

from pathlib import Path

from hardware.device import Device
from hardware.measure import LayerModel, Measurement, MeasureProtocol, Model, OnnxFile
from nas.export.place import WEIGHTS
from nas.export.pretrained import exported_layers, load_task
from nas.narrator import Silent
from nas.runners.measuring import Here, Place
from nas.verdict import Verdict, judge

TRIES = 3


def exported_model(onnx_file: Path, device: Device) -> tuple[Model, str]:
    """What is timed on a device for an exported file, and its name in a sentence.

    A runtime that does not read ONNX gets the layers of the config.json and the weights beside the file.
    Raises: InvalidPretrained: such a runtime, and no export around the file.
    """
    if device.reads_onnx:
        return OnnxFile(onnx_file), "the exported file"
    folder = onnx_file.parent
    model = LayerModel(onnx_file.name, exported_layers(folder), load_task(folder).input_shape, weights=folder / WEIGHTS)
    return model, f"the exported network in {device.runtime}"


def verify(
    model: Model,
    device: Device,
    budget_ms: float | None,
    narrator: Silent,
    place: Place = Here(),  # noqa: B008 - has no state
    *,
    protocol: MeasureProtocol = MeasureProtocol(),  # noqa: B008 - frozen
) -> tuple[Measurement, Verdict]:
    """Measure a model and say whether it keeps a budget.

    A measurement that cannot decide (void, or an interval across the budget) is repeated, up to three in all.
    Raises: MeasurementFailed, RuntimeRefused, NumericsMismatch.
    """
    for _ in range(TRIES):
        [measurement] = place.measure([model], device, protocol, narrator)
        verdict = judge(measurement, budget_ms)
        if verdict != "unclear":
            break
    return measurement, verdict
