"""``netwright supernet effects``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nas.cli.options import json_option, print_json, print_table, run_argument

_COLUMNS = ("stage", "part", "choice", "effect", "error")


@click.command()
@run_argument
@click.argument("spec", required=False)
@json_option
def effects(run: Path, spec: str | None, as_json: bool) -> None:
    """What every choice adds, as a run of `search --score binas` measured it, with costs beside.

    RUN is the run directory. With SPEC (a structure, a JSON file or RUN:ID) what the choices of that network add; they
    and the base sum to its expected score, which is a negative loss.
    """
    from nas.answers import contributions

    found = contributions(run, spec)
    if as_json:
        print_json(found)
        return
    costs = found["resources"]
    rows: list[dict[str, Any]] = [
        {**row, **{name: row["costs"][name] for name in costs}} for row in found["contributions"]
    ]
    print_table(rows, (*_COLUMNS, *costs))
    if spec is not None:
        click.echo(f"base {found['base']:.4f}, expected {found['expected']:.4f}")
