"""``netwright predictor report | ls``."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import click

from nas.cli.fit import FILE, fit_options, print_facts_of_fit, run_fit
from nas.cli.options import json_option, print_json, quiet_option
from nas.cli.stdout import print_line


@click.group()
def predictor() -> None:
    """What a predictor is worth, on one page; and which predictors there are.

    Example: netwright predictor report top1.predictor --out top1.html
    """


@predictor.command()
@json_option
def ls(as_json: bool) -> None:
    """Predictors, encoders and label maps, a line each."""
    from nas.fitting.listing import listing

    found = listing()
    if as_json:
        print_json(found)
        return
    for kind, rows in found.items():
        print_line(kind.replace("_", " "))
        width = max(len(row["name"]) for row in rows)
        for row in rows:
            print_line(f"  {row['name']:<{width}}  {row['what']}")


@predictor.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--target", metavar="COLUMN", help="The labels, where SOURCE is a table.")
@fit_options
@click.option("--out", type=FILE, required=True, help="HTML file to write.")
@json_option
@quiet_option
def report(source: Path, target: str | None, out: Path, as_json: bool, quiet: bool, **options: Any) -> None:
    """Write the card of a predictor as one offline HTML page: parity, errors by choice, calibration, baseline.

    SOURCE is a file of `netwright fit --out`, whose facts are in it, or a table, which is then fitted.
    """
    from nas.fitting.card import write_card
    from nas.fitting.predictor_file import read_facts
    from predictors.saving import InvalidPredictorFile

    if target is None:
        if source.is_file() and not zipfile.is_zipfile(source):
            raise click.UsageError(f"{source}: not a predictor; of a table, name the labels with --target")
        kept = read_facts(source)
        if kept is None:
            raise InvalidPredictorFile(
                f"predictor {source}: saved in Python, without the facts of a fit; give the table"
            )
        facts, plots = kept
    else:
        fitted = run_fit(source, target, options, quiet)
        facts, plots = fitted.facts, fitted.plots
    write_card(facts, plots, out)
    facts = {**facts, "file": None if target else str(source), "card": str(out)}
    if as_json:
        print_json(facts)
    else:
        print_facts_of_fit(facts)
