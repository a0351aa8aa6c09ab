"""``netwright supernet train | show | evaluate | extract | effects``; a module for each."""

from __future__ import annotations

import click

from nas.cli.supernet_effects import effects
from nas.cli.supernet_evaluate import evaluate
from nas.cli.supernet_extract import extract
from nas.cli.supernet_show import show
from nas.cli.supernet_train import train


@click.group()
def supernet() -> None:
    """Train all networks of a space in one set of weights; look at it, judge its networks, take them out.

    Example: netwright supernet train --data digits --space mobilenetv3-tiny-images --out digits-supernet
    """


for command in (train, show, evaluate, extract, effects):
    supernet.add_command(command)
