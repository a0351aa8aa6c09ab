"""``netwright init``."""

from __future__ import annotations

from pathlib import Path

import click

FILE = Path("netwright.yaml")


@click.command()
@click.option("--data", help="Dataset, as for `netwright search`; digits by default.")
@click.option("--latency", help="Budget of one call with its unit, for example 2ms; none by default.")
@click.option("--device", help="That holds the budget, as for `netwright search`.")
@click.option("--space", help="Where to search, as for `netwright search`.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    default=FILE,
    show_default=True,
    help="File to write; - prints it.",
)
def init(data: str | None, latency: str | None, device: str | None, space: str | None, out: Path) -> None:
    """Write a configuration file with every setting, its default, its unit and its meaning.

    A file that is there is left as it is.
    """
    from nas.config import Config, InvalidConfig, read_yaml
    from nas.config_template import render_config

    flags = {"data": data, "constraints.latency": latency, "device": device, "space": space}
    text = render_config({name: value for name, value in flags.items() if value is not None})
    try:
        Config.from_dict(read_yaml(text), "init")
    except InvalidConfig as error:
        raise click.UsageError(str(error)) from None
    if str(out) == "-":
        click.echo(text, nl=False)
        return
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise click.UsageError(f"{out}: exists already and is left as it is; choose another --out") from None
    click.echo(f"{out}: edit it, then: netwright search --config {out} --out runs/mine", err=True)
    click.echo(out)
