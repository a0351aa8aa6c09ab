"""The file that a command writes a run into: its option, and one line when it cannot be written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def html_file_option(default: str) -> Callable[[F], F]:
    """--out, a file; ``default`` in the run without it."""
    return click.option(
        "--out",
        type=click.Path(path_type=Path, dir_okay=False),
        help=f"File to write, its folder is made; {default} in the run by default.",
    )


def echo_written(write: Callable[[Path], Path], path: Path) -> None:
    """Write the file and print where it is; raises click.BadParameter."""
    try:
        click.echo(write(path))
    except OSError as error:
        raise click.BadParameter(f"{path}: cannot be written ({error.strerror})", param_hint="--out") from None
