"""``netwright status``, ``pareto``, ``best`` and ``report``: what a run file says."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from nas.cli.html_file import echo_written, html_file_option
from nas.cli.options import json_option, limit_options, print_facts, print_json, print_table, run_argument

COLUMNS = ("id", "score", "latency_ms", "latency_upper_ms", "params", "macs", "depth", "convs", "peak_memory_bytes")


@click.command()
@run_argument
@json_option
def status(run: Path, as_json: bool) -> None:
    """How far a run is; safe while the search is going on."""
    from nas.run import Run

    with Run.open(run) as opened:
        facts = opened.status()
    if as_json:
        print_json(facts)
        return
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in facts["outcomes"].items())
    print_facts(
        {
            "run": facts["run"],
            "candidates": f"{facts['candidates']} ({outcomes})" if outcomes else "none yet",
            "best score": "none yet" if facts["best_score"] is None else facts["best_score"],
            "stages done": ", ".join(facts["stages"]) or "none yet",
            "finished": "yes" if facts["finished"] else f"no; go on with: netwright resume {run}",
        }
    )


@click.command()
@run_argument
@json_option
def pareto(run: Path, as_json: bool) -> None:
    """The candidates that no other beats in both score and latency (MACs without a latency table)."""
    from nas.run import Run

    with Run.open(run) as opened:
        front = opened.pareto()
        rows = _rows(front)
        if as_json:
            for row in rows:
                row["spec"] = opened.architecture(row["id"]).to_dict()
    if as_json:
        print_json({"run": str(run), "pareto": rows})
    else:
        print_table(rows, COLUMNS)


@click.command()
@run_argument
@limit_options
@click.option("--device", help="Hold --latency on another device: a runtime here, or a name of `device ls`.")
@json_option
def best(run: Path, device: str | None, as_json: bool, **limits: str | None) -> None:
    """The candidate with the highest score within further limits, from the run file, on any known device.

    A run of --score binas is not limited to its candidates: the best network of the whole space is solved for, and
    judged on the run's supernet.
    """
    from nas.answers import answer, can_answer
    from nas.config import Config
    from nas.run import Run
    from search_spaces.formats import write_published

    given = {name: value for name, value in limits.items() if value is not None}
    constraints = Config.from_dict({"constraints": given}, "best").constraints.constraints()
    with Run.open(run) as opened:
        wanted = {c.metric: c.at_most for c in constraints}
        if device is not None and "latency_ms" not in wanted:
            raise click.UsageError("--device needs --latency, which is held there")
        if can_answer(opened):
            row = answer(opened, device, **wanted)
        elif device is None:
            row = opened.best(**wanted)
        else:
            row = opened.best_on(device, wanted.pop("latency_ms"), **wanted)
    arch = row.pop("arch")
    if as_json:
        print_json({"run": str(run), **row, "spec": arch.to_dict()})
        return
    facts = {name: row[name] for name in (*COLUMNS, "digest") if name in row}
    if "proven" in row:
        facts["certificate"] = _certificate(row)
    print_facts({**facts, "spec": write_published(arch)})


@click.command()
@run_argument
@html_file_option("report.html")
def report(run: Path, out: Path | None) -> None:
    """Write the offline HTML report of a run; an unfinished run can be reported as well."""
    from nas.report import write_report
    from nas.run import REPORT, Run

    with Run.open(run) as opened:
        echo_written(partial(write_report, opened), out or opened.directory / REPORT)


def _certificate(row: dict[str, Any]) -> str:
    """What is certain about a network that the exact program found."""
    judged = "judged on the supernet" if row["judged"] else "by the measured effects; the supernet is gone"
    if row["proven"]:
        return f"optimum of the expected score, {judged}"
    return f"expected score within {row['bound'] - row['objective']:.2g} of any network's in the limits, {judged}"


def _rows(table: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = table.astype(object).where(table.notna(), None).to_dict("records")
    return [{name: row[name] for name in (*COLUMNS, "digest") if name in row} for row in rows]
