"""``netwright tune``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from nas.cli.options import (
    callback_option,
    callback_settings,
    json_option,
    narrator,
    print_json,
    quiet_option,
    seed_option,
)
from nas.cli.placement import placement_options
from nas.cli.stdout import print_line


@click.command()
@click.argument("spec")
@click.option("--data", help="Dataset; the run's own for RUN:ID.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for recipe.yaml and all trials.")
@click.option("--trials", type=click.IntRange(2, 10_000), default=20, show_default=True, help="Recipes to try.")
@click.option("--epochs", type=click.IntRange(1), help="Of each training; the recipe's by default.")
@click.option("--bounds", type=click.Path(path_type=Path), help="YAML file: what may vary, and how far.")
@click.option("--recipe", "recipe_file", type=click.Path(path_type=Path), help="YAML file: the recipe to begin with.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Setting of it, e.g. optimiser=adamw.")
@click.option(
    "--repeats", type=click.IntRange(1, 100), default=4, show_default=True, help="Fresh seeds of the last comparison."
)
@click.option("--eta", type=click.IntRange(2, 100), default=3, show_default=True, help="One of so many passes a rung.")
@click.option("--no-drop", is_flag=True, help="Train all trials to their end.")
@click.option(
    "--lookahead",
    type=click.IntRange(1, 1000),
    default=4,
    show_default=True,
    help="Trials that may be under way at once. The outcome depends on it, not on --workers.",
)
@placement_options
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda.")
@seed_option("Of proposals, initial weights, batch order and augmentation.")
@callback_option
@json_option
@quiet_option
def tune(  # noqa: PLR0913 - the options
    spec: str,
    data: str | None,
    out: Path,
    trials: int,
    epochs: int | None,
    bounds: Path | None,
    recipe_file: Path | None,
    settings: tuple[str, ...],
    repeats: int,
    eta: int,
    no_drop: bool,
    lookahead: int,
    engine: Any,
    workers: int | None,
    address: str | None,
    device: str,
    seed: int,
    callbacks: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> None:
    """Find a better recipe for training one architecture, and say honestly how much better it is.

    SPEC is a published structure, a JSON file, or RUN:ID. Called again after an interruption it goes on; called with
    more --trials it adds some. `netwright train --recipe OUT/recipe.yaml` and `netwright search --config
    OUT/recipe.yaml` take the result.
    """
    from nas.callbacks.choice import make_callbacks
    from nas.cli.ray_watch import RayWatch
    from nas.cli.recipe_file import read_settings, recipe_of
    from nas.cli.spec_data import spec_and_data
    from nas.train.torch_device import check_torch_device
    from nas.train.trials.engine import Placement
    from nas.train.tuned.run import FILE_NAME, tune_in
    from nas.train.tuned.settings import TuneSettings
    from nas.train.tuned.tuning import Tuning

    check_torch_device(device, "tune: --device")
    found, source = spec_and_data(spec, data, "tune")
    recipe = recipe_of(epochs, recipe_file, settings)
    limits = read_bounds_file(read_settings(bounds, "learning_rate: {low: 0.01, high: 0.5}")) if bounds else {}
    asked = TuneSettings(
        trials=trials, repeats=repeats, drop=not no_drop, eta=eta, lookahead=lookahead, bounds=limits
    )  # fmt: skip
    tuning = Tuning(found.arch, source, recipe, asked, seed, device, test=True)
    told = make_callbacks(callback_settings(callbacks) or ())
    with narrator(quiet) as teller, RayWatch(out, FILE_NAME):
        try:
            result = tune_in(out, tuning, Placement(engine, workers, address), teller, told)
        except KeyboardInterrupt:
            if (out / FILE_NAME).exists():
                click.echo(f"go on with the same command; what is done is in {out}", err=True)
            raise
    if as_json:
        print_json({"directory": str(out), **result})
    else:
        _print(out, result)


def read_bounds_file(data: Mapping[str, Any]) -> dict[str, Any]:
    """The bounds of a file, under ``bounds:`` or at its top; raises InvalidBounds."""
    from nas.train.tuned.bounds import read_bounds

    found = data.get("bounds", data)
    read_bounds(found)
    return dict(found)


def _print(out: Path, result: Mapping[str, Any]) -> None:
    given, recipe = result["given"], result["recipe"]
    lines = [("trials", _trials(result["outcomes"])), ("best trial", result["best"])]
    for images in ("validation", "test"):
        if figures := result[images]:
            lines += _figures(images, figures)
    lines.append(("recipe taken", "the tuned one" if result["taken"] else "the given one"))
    lines += [(f"  {name}", f"{given[name]} -> {recipe[name]}") for name in recipe if recipe[name] != given[name]]
    lines.append(("written", out / "recipe.yaml"))
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        print_line(f"{name:<{width}}  {value}")


def _trials(outcomes: list[Mapping[str, Any]]) -> str:
    dropped, broke = (sum(bool(outcome[name]) for outcome in outcomes) for name in ("dropped", "failure"))
    return f"{len(outcomes)} ({dropped} fell out at a rung, {broke} diverged or broke)"


def _figures(images: str, figures: Mapping[str, Any]) -> list[tuple[str, Any]]:
    many = (
        f"{figures['seeds']} fresh seed(s)" if figures["seeds"] else "the trials themselves, so the best is optimistic"
    )
    lines: list[tuple[str, Any]] = [(f"{images} top-1", f"{figures['images']} images, {many}")]
    for side, name in (("best", "tuned"), ("given", "given")):
        if figures[side] is None:
            lines.append((f"  {name}", "did not come to its end"))
            continue
        low, high = figures[f"{side}_interval"]
        lines.append((f"  {name}", f"{figures[side]:.4f} ({low:.4f} to {high:.4f})"))
    if found := figures["difference"]:
        shown = f"{found['value']:+.4f} ({found['low']:+.4f} to {found['high']:+.4f}): {found['verdict']}"
        lines.append(("  difference", shown))
    return lines
