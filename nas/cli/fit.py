"""``netwright fit``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from nas.cli.options import json_option, narrator, print_json, quiet_option, seed_option
from nas.cli.stdout import print_line

if TYPE_CHECKING:
    from nas.fitting.fit import Asked, Fitted

F = TypeVar("F", bound=Callable[..., Any])
FILE = click.Path(path_type=Path, dir_okay=False)


def fit_options(command: F) -> F:
    """Options of everything that fits a table."""
    for option in reversed(
        (
            click.option("--features", metavar="A,B", help="Columns that describe networks; else all that are left."),
            click.option("--drop", metavar="A,B", help="Columns to leave out."),
            click.option("--costs", metavar="A,B", help="Columns that are costs; else those named params, macs, …"),
            click.option("--group", metavar="COLUMN", help="Equal entries are labels of one network."),
            click.option("--weights", metavar="COLUMN", help="How precise a label is, relative to one of weight 1."),
            click.option("--lower-is-better", is_flag=True, help="As of an error or a latency."),
            click.option("--folds", default=5, show_default=True, type=click.IntRange(2), help="Of the evaluation."),
            click.option(
                "--repeats",
                default=1,
                show_default=True,
                type=click.IntRange(1, 1_000),
                help="Draw the folds anew so often; narrows the intervals of small tables.",
            ),
            click.option("--model", default="auto", show_default=True, help="See `netwright predictor ls`."),
            click.option("--encoder", help="Of a named model; see `netwright predictor ls`. [default: one-hot]"),
            click.option(
                "--time-limit",
                default=8.0,
                show_default=True,
                type=click.FloatRange(0.1),
                help="Seconds for each choice of the model auto; there is one a fold and one at the end.",
            ),
            click.option("--learning-curve", is_flag=True, help="Also judge with 25, 50, 100 … labels."),
            click.option("--workers", type=click.IntRange(1), help="Processes; one per CPU by default."),
            seed_option("Of folds and models."),
        )
    ):
        command = option(command)
    return command


@click.command()
@click.argument("table", type=click.Path(path_type=Path))
@click.option("--target", required=True, metavar="COLUMN", help="The labels.")
@fit_options
@click.option("--out", type=FILE, help="Save the predictor, fitted on all rows.")
@click.option("--card", type=FILE, help="Write what it is worth as one offline HTML page.")
@json_option
@quiet_option
def fit(
    table: Path, target: str, out: Path | None, card: Path | None, as_json: bool, quiet: bool, **options: Any
) -> None:
    """Learn to predict a column from the others, and say how well new networks are ranked.

    TABLE is a CSV file, a line for each labelled network. Columns may be numbers, categories, or one text with a
    structure, a path or choices such as 1-3-2. What is reported comes from networks that were left out of fitting and
    choosing.

    Example: netwright fit accuracies.csv --target top1 --out top1.predictor --card top1.html
    """
    fitted = run_fit(table, target, options, quiet)
    if out is not None:
        from nas.fitting.predictor_file import write_predictor

        write_predictor(fitted, out)
    if card is not None:
        from nas.fitting.card import write_card

        write_card(fitted.facts, fitted.plots, card)
    facts = {**fitted.facts, "file": out and str(out), "card": card and str(card)}
    if as_json:
        print_json(facts)
        return
    print_facts_of_fit(facts)


def run_fit(table: Path, target: str, options: dict[str, Any], quiet: bool) -> Fitted:
    """Fit with the options of ``fit_options``; warnings go to stderr."""
    from nas.fitting.fit import fit_table

    with narrator(quiet) as teller:
        fitted = fit_table(table, asked_of(target, options), teller.update)
    for warning in fitted.warnings:
        click.echo(f"warning: {warning}", err=True)
    return fitted


def asked_of(target: str, options: dict[str, Any]) -> Asked:
    """Options as plain data."""
    from nas.fitting.fit import Asked
    from nas.fitting.learner import Learner
    from nas.fitting.table import Columns

    learner = Learner(options["model"], options["encoder"], options["time_limit"], options["seed"])
    columns = Columns(
        target,
        features=listed(options["features"]),
        drop=listed(options["drop"]),
        costs=None if options["costs"] is None else listed(options["costs"]),
        group=options["group"],
        weights=options["weights"],
    )
    return Asked(
        columns,
        learner,
        folds=options["folds"],
        repeats=options["repeats"],
        lower_is_better=options["lower_is_better"],
        learning_curve=options["learning_curve"],
        workers=options["workers"],
    )


def listed(text: str | None) -> tuple[str, ...]:
    """Names between commas."""
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def print_facts_of_fit(facts: dict[str, Any]) -> None:
    """A short table for people."""
    from nas.fitting.words import lines_of, table_of

    columns = ("", "value [95 % interval]", "beside")
    rows = [dict(zip(columns, row, strict=True)) for row in table_of(facts)]
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in columns}
    for row in ({name: name for name in columns}, *rows):
        print_line("  ".join(f"{row[name]:<{widths[name]}}" for name in columns).rstrip())
    for line in lines_of(facts):
        print_line(line)
    for name in ("file", "card"):
        if facts[name]:
            print_line(f"{name:<9}  {facts[name]}")
