"""``netwright plugins``."""

from __future__ import annotations

import click

from nas.cli.options import json_option, print_json, print_table
from nas.cli.stdout import print_line


@click.command()
@json_option
def plugins(as_json: bool) -> None:
    """Spaces, scores, predictors and runtimes that installed packages add, and what is wrong with those that fail."""
    from nas.plugins import installed

    rows = installed()
    if as_json:
        print_json({"plugins": rows})
        return
    if not rows:
        print_line("no installed package adds a space, score, predictor or runtime; see docs/howto/plugins.md")
        return
    print_table(
        [{**row, "works": "no" if row["problem"] else "yes"} for row in rows],
        ("group", "name", "package", "version", "works"),
    )
    for row in rows:
        if row["problem"]:
            print_line(row["problem"])
