"""``netwright device read|choose|adapt``: devices whose rows somebody else measures."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import click

from nas.cli.stdout import print_line

PATH = click.Path(path_type=Path, dir_okay=False)
DRAWN = 400  # networks to choose from
POOR = 0.25  # left-out error of a device that is like no known one
NAME = click.option("--name", required=True, help="Of the device: letters, digits, '.', '_' and '-'.")
PRECISION = click.option("--precision", type=click.Choice(["fp32", "fp16", "int8"]), default="fp32", show_default=True)


@click.command()
@click.argument("file", type=PATH)
@NAME
@click.option(
    "--format",
    "form",
    default="csv",
    show_default=True,
    help="csv, tinynas, mobile-blocks, tfnas, nn-meter or networks.",
)
@click.option("--column", help="Of a file with a column for each device: networks.")
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    help="Images per call, of a file that does not say it: tfnas.  [default: 1]",
)
@PRECISION
def read(file: Path, name: str, form: str, column: str | None, batch: int | None, precision: str) -> None:
    """Store a foreign device from somebody's latency table: kernels, blocks or networks."""
    from hardware.device_store import foreign_name, save_device
    from hardware.importers import IMPORTERS

    if form not in IMPORTERS:
        raise click.BadParameter(f"{form!r}, expected one of {', '.join(IMPORTERS)}", param_hint="--format")
    if column is not None and form != "networks":
        raise click.BadParameter(f"{form} has one device a file; leave it out", param_hint="--column")
    if batch is not None and form != "tfnas":
        raise click.BadParameter(f"{form} says it for each row, or is at batch 1; leave it out", param_hint="--batch")
    more: dict[str, Any] = {key: value for key, value in (("column", column), ("batch", batch)) if value is not None}
    table = IMPORTERS[form](file, foreign_name(name), precision, **more)
    if not any(True for _ in table.rows()):
        raise click.BadParameter(f"{file} holds no row that our kernels, blocks or networks can express")
    print_line(f"{save_device(table)}: {table}")
    for reason, count in table.notes.get("uncovered", {}).items():
        print_line(f"left out {count} rows: {reason}")


@click.command()
@click.option("--space", "space_name", required=True, help="Whose networks will be searched.")
@click.option("--count", type=click.IntRange(min=5), default=10, show_default=True, help="Networks to measure.")
@click.option("--resolution", type=click.IntRange(min=1), default=32, show_default=True, help="Of the images.")
@click.option("--classes", type=click.IntRange(min=1), default=10, show_default=True)
@click.option("--like", multiple=True, help="A stored device with kernels; repeatable. All stored ones without it.")
@click.option("--seed", type=int, default=0, show_default=True)
def choose(space_name: str, count: int, resolution: int, classes: int, like: tuple[str, ...], seed: int) -> None:
    """Print as CSV which networks to measure on a new device; fill latency_ms and give it to ``device adapt``.

    Example: netwright device choose --space zen --count 10 > results.csv
    """
    import numpy as np

    from hardware.adaptation import known_ms, parts_ms
    from hardware.device_table import NetworkRow
    from hardware.fitting import LEAST_KERNELS, fit_kernel_rows
    from hardware.spaces import sample_widely
    from hardware.transfer import KnownDevices
    from hardware.transfer_choice import choose as chosen_of
    from search_spaces import load_space

    space = load_space(space_name)
    shape = (int(getattr(space, "in_channels", 3)), resolution, resolution)
    archs = list(dict.fromkeys(sample_widely(space, DRAWN, np.random.default_rng(seed))))
    networks = [NetworkRow(arch, shape, classes, 1.0) for arch in archs]
    known = [table for table in _stored(like) if len(table.kernels) >= LEAST_KERNELS]
    if like and len(known) < len(like):
        raise click.BadParameter(
            f"{', '.join(like)}: expected devices with {LEAST_KERNELS} kernels", param_hint="--like"
        )
    columns = [np.log(known_ms(parts_ms(fit_kernel_rows(t.kernels, seed), networks))) for t in known]
    log_ms = np.array(columns).T if columns else np.zeros((len(archs), 0))
    rows = chosen_of(KnownDevices(log_ms, np.array([space.encode(arch) for arch in archs])), count)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("arch", "in_channels", "in_height", "num_classes", "latency_ms"))
    writer.writerows((archs[i].to_json(), shape[0], resolution, classes, "") for i in rows)
    print_line(text.getvalue().rstrip())


@click.command()
@NAME
@click.option("--from", "results", type=PATH, required=True, help="CSV of measured networks, as of device choose.")
@click.option("--like", multiple=True, help="A stored device with kernels; repeatable. All stored ones without it.")
@PRECISION
def adapt(name: str, results: Path, like: tuple[str, ...], precision: str) -> None:
    """Store a new device from ten or so measured networks and the known device that explains them best."""
    from hardware.adaptation import adapt as adapted_of
    from hardware.device_store import foreign_name, save_device
    from hardware.importers.generic_csv import read_generic_csv

    measured = read_generic_csv(results, foreign_name(name), precision)
    found = adapted_of(measured, [table for table in _stored(like) if table.name != name])
    print_line(f"{save_device(found.table)}: {found.table}")
    factors = ", ".join(f"{kind} {factor:.3g}" for kind, factor in found.factors.items())
    print_line(
        f"{found.like} with factors {factors} and {1e3 * found.call_ms:.2g} us a kernel; left-out error "
        f"{found.held_out.mape:.1%}, {found.held_out.within_10:.0%} within 10 %, on {found.held_out.networks} networks"
    )
    if found.held_out.mape > POOR:
        click.echo(
            f"device {name}: {found.like} explains these networks badly; check the unit of latency_ms, or measure more",
            err=True,
        )


def _stored(names: tuple[str, ...]) -> list[Any]:
    from hardware.device_store import load_device, stored_devices

    return [load_device(name) for name in (names or stored_devices())]
