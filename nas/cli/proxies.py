"""``netwright proxies ls | trust``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from nas.cli.options import (
    device_option,
    json_option,
    limit_options,
    narrator,
    print_json,
    print_table,
    quiet_option,
    seed_option,
)
from nas.cli.placement import placement_options
from nas.cli.stdout import print_line


@click.group()
def proxies() -> None:
    """The training-free scores, and how far they can be trusted on your space and data."""


@proxies.command("ls")
@json_option
def list_proxies(as_json: bool) -> None:
    """Every score: what it needs, what it costs, which direction promises accuracy, where it comes from."""
    from nas.objective import SCORES

    rows = [
        {"name": name, "needs": row.needs, "cost": row.cost, "better": row.better, "source": row.source}
        for name, row in SCORES.items()
    ]
    if as_json:
        print_json({"proxies": rows})
    else:
        print_table(rows, list(rows[0]))


@proxies.command("trust")
@click.option("--data", default="digits", show_default=True, help="Dataset; its test images are not looked at.")
@click.option("--space", default="auto", show_default=True, help="Name, or package.module:Space.")
@limit_options
@device_option
@click.option("--networks", default=24, show_default=True, type=click.IntRange(8, 10_000), help="Networks to train.")
@click.option(
    "--repeats", default=6, show_default=True, type=click.IntRange(0), help="Of them trained twice, for the noise."
)
@click.option("--epochs", default=8, show_default=True, type=click.IntRange(1), help="Of each training.")
@click.option(
    "--images",
    default=2_000,
    show_default=True,
    type=click.IntRange(10),
    help="Most images to train on, and to validate on.",
)
@click.option("--all-images", is_flag=True, help="Use all of them.")
@click.option(
    "--proxies",
    "which",
    type=click.Choice(["closed", "all"]),
    default="all",
    show_default=True,
    help="Scores to judge: those in closed form, or all of `netwright proxies ls`.",
)
@click.option("--score", "scores", multiple=True, help="Further score, package.module:function. Repeatable.")
@click.option(
    "--members",
    type=click.Choice(["closed", "cheap", "all"]),
    default="cheap",
    show_default=True,
    help="Scores that the ensemble may use: closed form, also synflow and naswot, or all.",
)
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Recipe setting, e.g. batch_size=32.")
@seed_option("Of everything random.")
@placement_options
@click.option("--out", type=click.Path(path_type=Path), help="Folder; else runs/trust-<data>-<space>.")
@json_option
@quiet_option
def trust(  # noqa: PLR0913 - the options
    data: str,
    space: str,
    networks: int,
    repeats: int,
    epochs: int,
    images: int,
    all_images: bool,
    which: str,
    scores: tuple[str, ...],
    members: Any,
    settings: tuple[str, ...],
    seed: int,
    device: str,
    engine: Any,
    workers: int | None,
    address: str | None,
    out: Path | None,
    as_json: bool,
    quiet: bool,
    **limits: str | None,
) -> None:
    """Train a few dozen networks of your space briefly on your data, and see which scores rank them.

    Called again after an interruption it goes on. The report also holds a rank ensemble:
    `netwright search --score ensemble:FOLDER`.
    """
    from nas.cli.ray_watch import RayWatch
    from nas.config import with_settings
    from nas.objective import CLOSED_FORM, SCORES
    from nas.proxies.settings import TrustSettings
    from nas.proxies.trust import FILE_NAME, judge_proxies

    recipe = with_settings({}, settings)
    asked = TrustSettings(
        data=data, space=space, limits={k: v for k, v in limits.items() if v is not None}, device=device,
        networks=networks, repeats=repeats, epochs=epochs, images=None if all_images else images, recipe=recipe,
        scores=tuple(dict.fromkeys((*(SCORES if which == "all" else CLOSED_FORM), *scores))), members=members,
        seed=seed,
    )  # fmt: skip
    directory = out or Path("runs") / re.sub(r"[^A-Za-z0-9]+", "-", f"trust-{data}-{space}").strip("-")
    with narrator(quiet) as teller, RayWatch(directory, FILE_NAME):
        try:
            report = judge_proxies(asked, directory, teller, engine=engine, workers=workers, address=address)
        except KeyboardInterrupt:
            if (directory / FILE_NAME).exists():
                click.echo(f"go on with the same command; what is done is in {directory}", err=True)
            raise
    if as_json:
        print_json({"directory": str(directory), **report})
    else:
        _print(report, directory)


def _print(report: Mapping[str, Any], directory: Path) -> None:
    from nas.proxies.words import facts_of, table_of

    for line in facts_of(report):
        print_line(line)
    from io import StringIO

    from rich.console import Console

    console = Console(file=StringIO(), width=150, force_terminal=False)
    console.print(table_of(report))
    for line in console.file.getvalue().splitlines():  # type: ignore[attr-defined]
        print_line(line.rstrip())
    print_line(f"written: {directory / 'trust.json'}, {directory / 'networks.csv'}")
    if report["ensemble"]["members"]:
        print_line(f"use the ensemble: netwright search --score ensemble:{directory}")
