"""Where trials of a command are trained: engine, workers, cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def placement_options(command: F) -> F:
    """--engine, --workers and --address."""
    for option in (
        click.option("--address", help="Of a running Ray cluster."),
        click.option("--workers", type=click.IntRange(1), help="Trainings side by side; one per CPU by default."),
        click.option(
            "--engine", type=click.Choice(["auto", "serial", "ray"]), default="auto", help="Where the work runs."
        ),
    ):
        command = option(command)
    return command
