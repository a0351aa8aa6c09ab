"""``netwright profile``."""

from __future__ import annotations

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


@click.command()
@click.option("--space", "space_name", default="auto", show_default=True, help="Name, or package.module:Space.")
@task_options
@device_option
@click.option("--seconds", default="60s", show_default=True, help="How long to measure; more is more accurate.")
@click.option(
    "--confidence", default=0.9, show_default=True, type=click.FloatRange(0.5, 0.99), help="Of the upper bound."
)
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
    seconds: str,
    confidence: float,
    seed: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Measure blocks and whole networks of a space on this device, once; searches then predict in microseconds.

    The table is cached with its conditions and refused when they change.
    """
    from hardware.device import Device
    from hardware.profiling import profile_space
    from hardware.table_cache import save_table
    from nas.units import parse_seconds
    from search_spaces import default_space, load_space

    shape, num_classes = shapes(data, resolution, classes, in_channels)
    name = default_space(shape[1]) if space_name == "auto" else space_name
    space = load_space(name)
    with narrator(quiet) as teller:
        table = profile_space(
            space,
            Device.parse(device),
            shape,
            num_classes,
            seconds=parse_seconds(seconds),
            seed=seed,
            confidence=confidence,
            spec=name,
            progress=teller.update,
        )
    path = save_table(table)
    errors = table.calibration.held_out
    facts = {
        "table": str(path),
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
    if as_json:
        print_json(facts)
    else:
        print_facts({key: value for key, value in facts.items() if key != "conditions"})
