"""``netwright measure``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from nas.cli.models import ImageOptions, load_model
from nas.cli.options import (
    device_option,
    json_option,
    narrator,
    print_json,
    print_table,
    quiet_option,
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
    images = ImageOptions(data, resolution, classes, in_channels)
    loaded = [load_model(text, images) for text in models]
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
