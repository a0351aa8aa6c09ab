"""``netwright page``: the page that the service shows of a run, as one offline file."""

from __future__ import annotations

from pathlib import Path

import click

from nas.cli.options import run_argument

PAGE = "page.html"


@click.command()
@run_argument
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write, its folder is made; page.html in the run by default.",
)
def page(run: Path, out: Path | None) -> None:
    """Write the page of a run as one HTML file: plot, candidates of the front, finalists, predictors, devices.

    It works from a disk, without a server, and asks nobody for anything; `netwright serve` shows the same, live.
    """
    from nas.run import Run
    from nas.views.document import write_page

    with Run.open(run) as opened:
        path = out or opened.directory / PAGE
        try:
            click.echo(write_page(opened, path))
        except OSError as error:
            raise click.BadParameter(f"{path}: cannot be written ({error.strerror})", param_hint="--out") from None
