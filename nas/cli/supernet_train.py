"""``netwright supernet train``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas.cli.options import (
    callback_option,
    callback_settings,
    json_option,
    narrator,
    print_facts,
    print_json,
    quiet_option,
    seed_option,
)

if TYPE_CHECKING:
    from nas.callbacks.dispatcher import Dispatcher
    from nas.train.images import Dataset
    from nas.train.supernet.file import SupernetFacts
    from nas.train.supernet.recipe import SupernetRecipe
    from nas.train.supernet.training import SupernetEpoch
    from search_spaces.supernet import Supernet

CHECKPOINT = "checkpoint.pt"
_SHORTCUTS = ("epochs", "subnets", "sampler", "distillation", "progressive", "prior")  # recipe settings with an option
_SHARING = ("kernels", "norms", "classifier")


@click.command()
@click.option("--data", required=True, help="Dataset.")
@click.option("--space", required=True, help="Space of knobs; see `netwright space ls`.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the supernet.")
@click.option("--overwrite", is_flag=True, help="Replace the supernet that is there.")
@click.option("--epochs", type=click.IntRange(1), help="Passes over the training images.")
@click.option("--subnets", type=click.IntRange(1), help="Networks in a step.")
@click.option("--sampler", help="sandwich, uniform, fair or fair-sandwich.")
@click.option("--distillation", help="in-place, fixed or none.")
@click.option("--progressive", help="none, narrow or shrinking.")
@click.option("--prior", help="none, macs, params or zen: networks of a step are held to its order.")
@click.option("--sharing-kernels", help="centre, transform or apart.")
@click.option("--sharing-norms", help="shared, or width: one for each output width.")
@click.option("--sharing-classifier", help="shared, or width: one for each input width.")
@click.option("--capacity", type=float, default=1.0, show_default=True, help="Widths relative to the space's.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Recipe setting, e.g. learning_rate=0.05.")
@click.option("--train-device", "device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option("--threads", type=click.IntRange(1, 1024), default=1, show_default=True, help="CPU threads.")
@click.option("--workers", type=click.IntRange(1, 1024), default=1, show_default=True, help="Processes.")
@click.option("--address", help="Ray cluster for more than one worker; processes start here without it.")
@seed_option("Of first weights, batch order, augmentation and the networks of a step.")
@callback_option
@json_option
@quiet_option
def train(out: Path, overwrite: bool, capacity: float, as_json: bool, quiet: bool, **given: Any) -> None:
    """Train a supernet; called again after an interruption it goes on from its checkpoint."""
    from nas.callbacks.choice import make_callbacks
    from nas.train.data import load_dataset
    from nas.train.supernet.file import save_supernet
    from nas.train.torch_device import check_torch_device
    from search_spaces import load_space
    from search_spaces.sharing import Sharing
    from search_spaces.supernet import Supernet

    check_torch_device(given["device"], "supernet train: --train-device")
    recipe = _recipe(given)
    given["callbacks"] = make_callbacks(callback_settings(given["callbacks"]) or ())
    sharing = Sharing(**{name: given[f"sharing_{name}"] for name in _SHARING if given[f"sharing_{name}"] is not None})
    data, space, seed = given["data"], given["space"], given["seed"]
    dataset = load_dataset(data)
    supernet = Supernet(
        load_space(space),
        num_classes=dataset.num_classes,
        in_channels=dataset.input_shape[0],
        sharing=sharing,
        capacity=capacity,
        seed=seed,
    )
    facts = None if overwrite else _finished(out, supernet, data, recipe, seed)
    if facts is None:
        _prepare(out)
        curve = _train(supernet, dataset, recipe, out, quiet, given)
        facts = save_supernet(out, supernet, recipe, dataset.task, space=space, data=data, seed=seed, curve=curve)
        (out / CHECKPOINT).unlink(missing_ok=True)
    _print(out, facts, as_json)


def _recipe(given: dict[str, Any]) -> SupernetRecipe:
    """Of the options; --set wins."""
    from nas.config import with_settings
    from nas.train.supernet.recipe import SupernetRecipe

    values = {name: given[name] for name in _SHORTCUTS if given[name] is not None}
    return SupernetRecipe.from_dict(with_settings(values, given["settings"]))


def _finished(out: Path, supernet: Supernet, data: str, recipe: SupernetRecipe, seed: int) -> SupernetFacts | None:
    """What an earlier call wrote, when it was asked for the same; None when nothing is there.

    Raises: InvalidSupernet: another supernet is there.
    """
    from nas.train.supernet.file import InvalidSupernet, holds_supernet, load_facts

    if not holds_supernet(out):
        return None
    facts = load_facts(out)
    asked = {"space or sharing": supernet.digest, "data": data, "recipe": recipe, "seed": seed}
    there = {"space or sharing": facts.digest, "data": facts.data, "recipe": facts.recipe, "seed": facts.seed}
    differing = [name for name in asked if asked[name] != there[name]]
    if differing:
        raise InvalidSupernet(
            f"{out}: holds a supernet of {facts.space} with another {differing[0]}; replace it with --overwrite, or "
            "choose another --out"
        )
    return facts


def _prepare(out: Path) -> None:
    from nas.train.supernet.file import InvalidSupernet, holds_supernet

    if out.exists() and not out.is_dir():
        raise InvalidSupernet(f"{out}: is a file, expected a folder; choose another --out")
    there = sorted(path.name for path in out.iterdir() if not path.name.startswith(".")) if out.is_dir() else []
    if there and CHECKPOINT not in there and not holds_supernet(out):
        raise InvalidSupernet(f"{out}: holds other files ({there[0]}); choose an empty or a new folder")
    out.mkdir(parents=True, exist_ok=True)


def _train(
    supernet: Supernet, dataset: Dataset, recipe: SupernetRecipe, out: Path, quiet: bool, given: dict[str, Any]
) -> tuple[SupernetEpoch, ...]:
    from nas.callbacks.callback import RunStart
    from nas.callbacks.telling import telling
    from nas.cli.ray_watch import RayWatch
    from nas.train.finalists import threads
    from nas.train.supernet.parallel import train_supernet_in_parallel

    checkpoint = out / CHECKPOINT
    asked = {"data": given["data"], "space": given["space"], "seed": given["seed"], "recipe": recipe.to_dict()}
    start = RunStart(out.with_name(f"{out.name}-log"), asked, 0, resumed=checkpoint.exists())
    with (
        narrator(quiet) as teller,
        threads(given["threads"]),
        RayWatch(out, CHECKPOINT),
        telling(given["callbacks"], start, teller) as told,
    ):
        try:
            curve = train_supernet_in_parallel(
                supernet,
                dataset,
                recipe,
                seed=given["seed"],
                workers=given["workers"],
                device=given["device"],
                address=given["address"],
                checkpoint=checkpoint,
                on_epoch=_teller(teller, recipe.epochs, told),
            )
        except KeyboardInterrupt:
            kept = "finished epochs are kept" if checkpoint.exists() else "no epoch was finished"
            click.echo(f"supernet train: stopped, {kept}; go on with the same command", err=True)
            raise
        told.end(_counts(curve), "finished")
    return curve


def _counts(curve: tuple[SupernetEpoch, ...]) -> dict[str, Any]:
    last = curve[-1]
    return {
        "epochs": last.epoch,
        "networks_trained": sum(epoch.networks for epoch in curve),
        "largest_top1": last.largest_top1,
        "smallest_top1": last.smallest_top1,
        "seconds": round(sum(epoch.seconds for epoch in curve), 1),
    }


def _teller(teller: Any, epochs: int, told: Dispatcher) -> Callable[[SupernetEpoch], None]:
    from nas.callbacks.callback import TrialReport

    def tell(report: SupernetEpoch) -> None:
        teller.update(
            f"epoch {report.epoch} of {epochs}, loss {report.largest_loss:.3f}, validation top-1 of the largest "
            f"{report.largest_top1:.4f}, of the smallest {report.smallest_top1:.4f}",
            report.epoch / epochs,
        )
        metrics = {
            "learning_rate": report.learning_rate, "train_loss": report.largest_loss,
            "validation_top1": report.largest_top1, "smallest_top1": report.smallest_top1, "seconds": report.seconds,
        }  # fmt: skip
        told.epoch(TrialReport("supernet", report.epoch, metrics))

    return tell


def _print(out: Path, facts: SupernetFacts, as_json: bool) -> None:
    shown = {
        "directory": str(out),
        "space": facts.space,
        "data": facts.data,
        "digest": facts.digest,
        **_counts(facts.curve),
    }
    if as_json:
        print_json({**shown, "curve": facts.to_dict()["curve"]})
        return
    print_facts(shown)
    click.echo(f"Next: netwright supernet evaluate {out} largest smallest, or a search with it", err=True)
