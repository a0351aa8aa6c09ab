"""``netwright compare``."""

from __future__ import annotations

import click

from nas.cli.models import ImageOptions, load_model
from nas.cli.options import json_option, narrator, print_json, print_table, quiet_option, task_options
from nas.cli.stdout import print_line

COLUMNS = ("model", "latency_ms", "low_ms", "high_ms", "p50_ms", "p95_ms", "verdict", "mode")
DEFAULT_DEVICE = "onnxruntime"


@click.command()
@click.argument("models", nargs=-1, required=True)
@task_options
@click.option(
    "--device",
    "devices",
    multiple=True,
    help=f"RUNTIME[:threads=N,batch=N,precision=P]; twice for two devices, in the order of the models. "
    f"[default: {DEFAULT_DEVICE}]",
)
@click.option("--pairs", type=click.IntRange(6, 10_000), default=30, show_default=True, help="Pairs of bursts.")
@click.option("--seconds", type=click.FloatRange(1.0, 86_400.0), default=15.0, show_default=True, help="Spread over.")
@json_option
@quiet_option
def compare(  # noqa: PLR0913 - the options
    models: tuple[str, ...],
    data: str | None,
    resolution: int | None,
    classes: int | None,
    in_channels: int | None,
    devices: tuple[str, ...],
    pairs: int,
    seconds: float,
    as_json: bool,
    quiet: bool,
) -> None:
    """Say which of two networks is faster, or on which of two devices one is: in interleaved pairs of bursts.

    MODELS are one or two .onnx files or architectures, as `netwright measure` takes them.
    """
    from hardware.compare import Contestant
    from hardware.compare import compare as compare_two
    from hardware.device import Device
    from hardware.pairs import PairProtocol

    names, places = contestants(models, devices)
    images = ImageOptions(data, resolution, classes, in_channels)
    first, second = (
        Contestant(load_model(name, images), Device.parse(place)) for name, place in zip(names, places, strict=True)
    )
    protocol = PairProtocol(pairs, seconds, max_s=4 * seconds)
    with narrator(quiet) as teller:
        found = compare_two(first, second, protocol, progress=teller.update)
    if as_json:
        print_json(found.to_dict())
        return
    measured = (found.first, found.second)
    rows = [{name: getattr(each, name) for name in COLUMNS} | {"device": each.conditions.device} for each in measured]
    print_table(rows, ("model", "device", *COLUMNS[1:]))
    print_line(found.sentence())
    print_line(f"ratio of the two latencies above: {found.ratio_of_minima:.3f}")


def contestants(models: tuple[str, ...], devices: tuple[str, ...]) -> tuple[tuple[str, str], tuple[str, str]]:
    """The two models and the two devices that are meant.

    Raises: click.UsageError: not two things to compare.
    """
    places = devices or (DEFAULT_DEVICE,)
    if len(models) > 2 or len(places) > 2:
        raise click.UsageError(
            f"got {len(models)} models and {len(places)} devices, expected at most two of each; "
            "`netwright measure` times many"
        )
    if len(models) == len(places) == 1:
        raise click.UsageError("got one model on one device, expected a second model, or a second --device")
    return (models[0], models[-1]), (places[0], places[-1])
