"""``netwright page``: the page that the service shows of a run, as one offline file."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from nas.cli.html_file import echo_written, html_file_option
from nas.cli.options import run_argument

PAGE = "page.html"


@click.command()
@run_argument
@html_file_option(PAGE)
def page(run: Path, out: Path | None) -> None:
    """Write the page of a run as one HTML file: plot, candidates of the front, finalists, predictors, devices.

    It works from a disk, without a server, and asks nobody for anything; `netwright serve` shows the same, live.
    """
    from nas.run import Run
    from nas.views.document import write_page

    with Run.open(run) as opened:
        echo_written(partial(write_page, opened), out or opened.directory / PAGE)
