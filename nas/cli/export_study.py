"""``netwright export-study``."""

from __future__ import annotations

from pathlib import Path

import click

from nas.cli.options import json_option, print_facts, print_json, run_argument


@click.command("export-study")
@run_argument
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="SQLite file, or a journal file by its suffix .journal; made when it is not there.",
)
@click.option("--name", help="Of the study; the run directory's name by default.")
@click.option("--trials", type=click.IntRange(1, 10_000), default=200, show_default=True, help="At most.")
@json_option
def export_study(run: Path, out: Path, name: str | None, trials: int, as_json: bool) -> None:
    """Mirror the Pareto set, the finalists and the best candidates of a run as an Optuna study.

    Optuna's tools, optuna-dashboard among them, then show it. The run file stays the source of truth.
    """
    from nas.run import Run
    from nas.study import export_study as mirror

    with Run.open(run) as opened:
        written = mirror(opened, out, name=name, trials=trials)
    if as_json:
        print_json({"file": str(written.path), "study": written.study, "trials": written.trials, "url": written.url})
        return
    print_facts({"file": written.path, "study": written.study, "trials": written.trials})
    click.echo(f"look at it with: optuna-dashboard {written.url}", err=True)
