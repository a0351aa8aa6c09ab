"""``netwright measure``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from nas.cli.options import (
    device_option,
    json_option,
    narrator,
    print_json,
    print_table,
    quiet_option,
    shapes,
    task_options,
)

PRESETS = ("quick", "default", "careful")


@click.command()
@click.argument("models", nargs=-1, required=True)
@task_options
@device_option
@click.option("--preset", type=click.Choice(PRESETS), default="default", show_default=True, help="How much to measure.")
@json_option
@quiet_option
def measure(  # noqa: PLR0913 - the options
    models: tuple[str, ...],
    data: str | None,
    resolution: int | None,
    classes: int | None,
    in_channels: int | None,
    device: str,
    preset: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Time networks on this device: short bursts, interleaved and spread in time, with an interval and a verdict.

    MODELS are .onnx files, or architectures (published structure, JSON file, RUN:ID) which get random weights.
    """
    from hardware.device import Device
    from hardware.measure import MeasureProtocol, measure

    presets: dict[str, Callable[[], MeasureProtocol]] = {
        "quick": MeasureProtocol.quick,
        "default": MeasureProtocol,
        "careful": MeasureProtocol.careful,
    }
    protocol = presets[preset]()
    loaded = [_load(text, data, resolution, classes, in_channels) for text in models]
    with narrator(quiet) as teller:
        found = measure(loaded, Device.parse(device), protocol, teller.update)
    if as_json:
        rows: list[Any] = [measurement.to_dict() for measurement in found]
        print_json(rows[0] if len(rows) == 1 else {"measurements": rows})
        return
    columns = ("model", "latency_ms", "low_ms", "high_ms", "p50_ms", "p95_ms", "verdict", "mode")
    print_table([{name: getattr(measurement, name) for name in columns} for measurement in found], columns)
    for measurement in found:
        if measurement.numerics_error is None:
            click.echo(f"{measurement.model}: your command ran it, so its output was not checked", err=True)
        if measurement.reason:
            click.echo(f"{measurement.model}: {measurement.verdict}: {measurement.reason}", err=True)


def _load(text: str, data: str | None, resolution: int | None, classes: int | None, in_channels: int | None) -> Any:
    from hardware.measure import LayerModel, OnnxFile
    from nas.spec import load_spec
    from search_spaces.arch import InvalidArchitecture

    if text.endswith(".onnx"):
        if not Path(text).is_file():
            raise InvalidArchitecture(f"{text}: no such file, expected an ONNX model")
        shape = (in_channels or 3, resolution, resolution) if resolution else None
        return OnnxFile(Path(text), shape)
    spec = load_spec(text)
    own_data = spec.data if data is None and resolution is None else data
    shape, num_classes = shapes(own_data, resolution, classes, in_channels or spec.in_channels)
    name = text if len(text) <= 32 else spec.arch.digest
    return LayerModel.of(spec.arch, shape, num_classes, name)
