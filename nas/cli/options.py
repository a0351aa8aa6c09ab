"""Options that several commands share, and how they print."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from nas.cli.stdout import data_alone_on_stdout, print_line
from search_spaces.block_limits import MAX_CHANNELS
from search_spaces.expand import MAX_SIDE, check_input_shape

MAX_CLASSES = 1_000_000
F = TypeVar("F", bound=Callable[..., Any])

quiet_option = click.option("--quiet", "-q", is_flag=True, help="No progress on stderr.")
device_option = click.option(
    "--device",
    default="onnxruntime",
    show_default=True,
    help="RUNTIME[:threads=N,batch=N,precision=P], for example openvino:threads=2; see `netwright runtimes`.",
)
run_argument = click.argument("run", type=click.Path(path_type=Path))
SEEDS = click.IntRange(0, 2**63 - 1)  # what NumPy, PyTorch and a 63-bit column take


def seed_option(what: str) -> Callable[[F], F]:
    """--seed, of what its help says."""
    return click.option("--seed", type=SEEDS, default=0, show_default=True, help=what)


def json_option(command: F) -> F:
    """--json; while the command runs, stdout is for its data alone: whatever else prints, prints to stderr."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        with data_alone_on_stdout():
            return command(*args, **kwargs)

    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")(cast(F, run))


def limit_options(command: F) -> F:
    """--latency, --params, --macs, --memory, --depth."""
    for name, text in (
        ("depth", "Most sub-layers."),
        ("memory", "Peak activation memory, for example 300KB."),
        ("macs", "Multiply-accumulates of one image, for example 162M."),
        ("params", "Parameters, for example 1M."),
        ("latency", "Latency of one call, with its unit, for example 2ms."),
    ):
        command = click.option(f"--{name}", help=text)(command)
    return command


def task_options(command: F) -> F:
    """--data, or --resolution, --classes and --in-channels, for commands that need only shapes."""
    command = click.option("--in-channels", type=click.IntRange(1, MAX_CHANNELS), help="Channels of the images.")(
        command
    )
    command = click.option("--classes", type=click.IntRange(1, MAX_CLASSES), help="Number of classes.")(command)
    command = click.option(
        "--resolution", type=click.IntRange(1, MAX_SIDE), help="Side of the square images in pixels."
    )(command)
    return click.option("--data", help="Take shapes and classes from this dataset.")(command)


def shapes(
    data: str | None, resolution: int | None, classes: int | None, in_channels: int | None
) -> tuple[tuple[int, int, int], int]:
    """Input shape and number of classes; explicit values win over the dataset's."""
    found: tuple[tuple[int, int, int], int] | None = None
    if data is not None:
        from nas.train.data import load_dataset

        dataset = load_dataset(data)
        found = dataset.input_shape, dataset.num_classes
    if found is None and resolution is None:
        raise click.UsageError("which images? give --data, or --resolution (and --classes, --in-channels)")
    shape, known_classes = found or ((3, 32, 32), 10)
    side = (resolution, resolution) if resolution else shape[1:]
    images = (in_channels or shape[0], side[0], side[1])
    check_input_shape(images)
    return images, classes or known_classes


def print_json(data: Any) -> None:
    """One JSON object on stdout; NaN and infinities become null."""
    print_line(json.dumps(_finite(data), allow_nan=False))


def _finite(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    if isinstance(data, float) and not math.isfinite(data):
        return None
    return data


def print_facts(facts: Mapping[str, Any]) -> None:
    """Aligned name and value lines on stdout."""
    width = max(map(len, facts))
    for name, value in facts.items():
        print_line(f"{name:<{width}}  {value}")


def print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """An aligned table on stdout."""
    texts = [[_cell(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(column), *(len(text[i]) for text in texts), 0) for i, column in enumerate(columns)]
    print_line("  ".join(f"{column:>{width}}" for column, width in zip(columns, widths, strict=True)))
    for text in texts:
        print_line("  ".join(f"{cell:>{width}}" for cell, width in zip(text, widths, strict=True)))


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and abs(value) > 99 else f"{value:.4g}"
    return str(value)


def narrator(quiet: bool) -> Any:
    """The teller of progress."""
    from nas.narrator import Narrator, Silent

    return Silent() if quiet else Narrator()


def resources(texts: Sequence[str]) -> dict[str, float]:
    """What --worker-resources asks for: amounts by name."""
    return dict(map(_resource, texts))


def _resource(text: str) -> tuple[str, float]:
    name, _, amount = text.rpartition("=")
    try:
        number = float(amount)
    except ValueError:
        number = 0.0
    if not name.strip() or number <= 0:
        raise click.BadParameter(f"{text!r}: expected NAME=NUMBER, for example fpga=1", param_hint="--worker-resources")
    return name.strip(), number


def callback_option(command: F) -> F:
    """--callback, repeatable."""
    text = "Also tell jsonl, csv, tensorboard, mlflow, wandb or your own package.module:Class. Repeatable."
    return click.option("--callback", "callbacks", multiple=True, metavar="NAME[:KEY=VALUE,...]", help=text)(command)


def callback_settings(texts: Sequence[str]) -> list[dict[str, dict[str, Any]]] | None:
    """What --callback asks for, as the setting ``callbacks``; None when it was not given."""
    from nas.callbacks.choice import parse_choice

    return [parse_choice(text) for text in texts] or None
