"""``netwright predict``."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import click

from nas.cli.options import json_option, print_json
from nas.cli.stdout import print_line

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("table", type=click.Path(path_type=Path))
@click.option("--out", type=FILE, help="CSV file to write; else it is printed.")
@click.option(
    "--coverage",
    default=0.9,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="How often intervals and bounds are to hold.",
)
@click.option("--top", type=click.IntRange(1), help="Only so many, the best predicted first.")
@json_option
def predict(file: Path, table: Path, out: Path | None, coverage: float, top: int | None, as_json: bool) -> None:
    """Predict the networks of a table with a predictor that `netwright fit --out` saved.

    The columns of TABLE are printed with the prediction, its standard deviation, an interval, the bound that the label
    is at least as good as (what a search should go by), and whether the network lies outside of what the predictor has
    learned from.

    Example: netwright predict top1.predictor candidates.csv --top 10
    """
    from nas.fitting.predictions import predict_table
    from nas.fitting.predictor_file import read_facts, read_predictor
    from predictors.reading import read_csv

    predictor, kept = read_predictor(file), read_facts(file)
    facts: dict[str, Any] = kept[0] if kept else {"target": "label", "lower_is_better": False}
    frame = read_csv(table)
    found = predict_table(predictor, frame, coverage=coverage, lower_is_better=facts["lower_is_better"])
    for warning in found.warnings:
        click.echo(f"warning: {warning}", err=True)
    rows = frame.drop(columns=[name for name in found.rows if name in frame]).join(found.rows)
    if top is not None:
        rows = rows.sort_values("predicted", ascending=facts["lower_is_better"], kind="stable").head(top)
    if as_json:
        print_json(
            {
                "target": facts["target"],
                "lower_is_better": facts["lower_is_better"],
                "coverage": coverage,
                "networks": len(frame),
                "warnings": list(found.warnings),
                "ignored": list(found.ignored),
                "predictions": _records(rows[list(found.rows)]),
            }
        )
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        rows.to_csv(out, index=False)
        click.echo(f"{out}: {len(rows)} networks", err=True)
    elif not as_json:
        text = StringIO()
        rows.to_csv(text, index=False)
        print_line(text.getvalue().rstrip("\n"))


def _records(rows: Any) -> list[dict[str, Any]]:
    """Rows as dictionaries; ``row`` counts the networks of the table from 0."""
    names = list(rows)
    values = [rows[name].tolist() for name in names]
    return [
        {"row": int(index), **dict(zip(names, row, strict=True))}
        for index, row in zip(rows.index, zip(*values, strict=True), strict=True)
    ]
