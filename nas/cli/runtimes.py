"""``netwright runtimes``."""

from __future__ import annotations

from dataclasses import asdict

import click

from nas.cli.options import json_option, print_json, print_table
from nas.cli.stdout import print_line

COLUMNS = ("runtime", "available", "version", "runs")


@click.command()
@json_option
def runtimes(as_json: bool) -> None:
    """What can run a network: which runtimes are installed here, in what precision, and how to get the others."""
    from hardware.runtimes import availability

    found = availability()
    if as_json:
        print_json({"runtimes": [asdict(row) for row in found]})
        return
    rows = [
        {
            "runtime": row.name,
            "available": "yes" if row.available else "no",
            "version": row.version or None,
            "runs": "; ".join(f"{device}: {', '.join(offered)}" for device, offered in row.precisions.items()),
        }
        for row in found
    ]
    print_table(rows, COLUMNS)
    for row in found:
        if row.reason:
            print_line(row.reason)
