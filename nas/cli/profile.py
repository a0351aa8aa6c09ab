"""``netwright profile``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nas.cli.options import (
    device_option,
    json_option,
    narrator,
    print_facts,
    print_json,
    quiet_option,
    seed_option,
    shapes,
    task_options,
)

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.option("--space", "space_name", default="auto", show_default=True, help="Name, or package.module:Space.")
@task_options
@device_option
@click.option("--name", help="Of the device's table; else one made of the device. Rows of all spaces add up in it.")
@click.option("--seconds", default="60s", show_default=True, help="How long to measure; more is more accurate.")
@click.option(
    "--until-error",
    type=click.FloatRange(0.1, 50),
    help="Stop before the time when the held-out mean error is this many percent or less.",
)
@click.option(
    "--confidence", default=0.9, show_default=True, type=click.FloatRange(0.5, 0.99), help="Of the upper bound."
)
@click.option("--plan", type=FOLDER, help="Measure nothing: write models and a list, for a device elsewhere.")
@click.option("--import", "results", type=FILE, help="Read the filled results.csv of a plan; needs --name.")
@seed_option("Of the choice of what to measure.")
@json_option
@quiet_option
def profile(  # noqa: PLR0913 - the options
    space_name: str,
    data: str | None,
    resolution: int | None,
    classes: int | None,
    in_channels: int | None,
    device: str,
    name: str | None,
    seconds: str,
    until_error: float | None,
    confidence: float,
    plan: Path | None,
    results: Path | None,
    seed: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Measure kernels and whole networks of a space on this device; searches then predict in microseconds.

    A second run, or another space, adds to what was measured; Ctrl-C loses one part at most. The table is kept with its
    conditions and refused when they change. For a device that cannot run netwright: --plan DIR writes ONNX models and
    DIR/results.csv, to be filled in there; --import DIR/results.csv --name NAME reads it back.
    """
    if results is not None:
        facts = _read(results, name)
    else:
        from search_spaces import default_space, load_space

        shape, num_classes = shapes(data, resolution, classes, in_channels)
        spec = default_space(shape[1]) if space_name == "auto" else space_name
        space = load_space(spec)
        if plan is not None:
            facts = _write_plan(plan, space, shape, num_classes, device, seed)
        else:
            until = (until_error or 0.0) / 100
            facts = _measure(
                space, shape, num_classes, device, quiet,
                name=name or "", seconds=seconds, seed=seed, confidence=confidence, spec=spec, until_error=until,
            )  # fmt: skip
    if as_json:
        print_json(facts)
    else:
        print_facts({key: value for key, value in facts.items() if key != "conditions"})


def _measure(
    space: Any, shape: tuple[int, int, int], num_classes: int, device: str, quiet: bool, *, seconds: str, **how: Any
) -> dict[str, Any]:
    from hardware.device import Device
    from hardware.device_store import device_name
    from hardware.profiling import profile_stored
    from hardware.table_cache import save_table
    from nas.units import parse_seconds

    target = Device.parse(device)
    with narrator(quiet) as teller:
        table = profile_stored(
            space, target, shape, num_classes, seconds=parse_seconds(seconds), progress=teller.update, **how
        )
    errors = table.calibration.held_out
    return {
        "table": str(save_table(table)),
        "name": how["name"] or device_name(target),
        "space": table.space,
        "device": str(table.device),
        "input_shape": list(shape),
        "held_out_mape": errors.mape,
        "held_out_within_10_percent": errors.within_10,
        "held_out_spearman": errors.spearman,
        "networks": errors.networks,
        "upper_factor": table.calibration.upper_factor,
        "confidence": table.calibration.confidence,
        "conditions": table.conditions.to_dict(),
    }


def _write_plan(
    folder: Path, space: Any, shape: tuple[int, int, int], num_classes: int, device: str, seed: int
) -> dict[str, Any]:
    from hardware.device import Device
    from hardware.plan import write_plan

    results = write_plan(folder, space, shape, num_classes, batch=Device.parse(device).batch, seed=seed)
    models = len(list((folder / "models").iterdir()))
    return {
        "plan": str(folder),
        "models": models,
        "results": str(results),
        "next": f"time each model there, fill in latency_ms, then: netwright profile --import {results} --name NAME",
    }


def _read(results: Path, name: str | None) -> dict[str, Any]:
    from hardware.device_store import check_name, device_path, load_device, save_device
    from hardware.plan import read_results

    if name is None:
        raise click.UsageError("--import needs --name, under which the device is stored")
    table = read_results(results, check_name(name))
    if device_path(name).is_file():
        table = load_device(name).merged(table)
    return {
        "table": str(save_device(table)),
        "name": table.name,
        "pieces": len(table.pieces),
        "networks": len(table.networks),
        "overhead_ms": table.overhead_ms,
        "next": f"netwright search --device {name} …; netwright device show {name}",
    }
