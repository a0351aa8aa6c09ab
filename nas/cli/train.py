"""``netwright train``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
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
    from nas.train.evaluate import Evaluation
    from nas.train.fit import EpochReport, FitReport


@click.command()
@click.argument("spec")
@click.option("--data", help="Dataset; the run's own for RUN:ID.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the trained network.")
@click.option("--overwrite", is_flag=True, help="Replace the exported network that is there.")
@click.option("--epochs", type=click.IntRange(1), help="Passes over the training images.")
@click.option("--recipe", "recipe_file", type=click.Path(path_type=Path), help="YAML file, such as `tune` writes.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Recipe setting, e.g. learning_rate=0.05.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option("--threads", type=click.IntRange(1, 1024), default=1, show_default=True, help="CPU threads of a process.")
@click.option(
    "--workers", type=click.IntRange(1, 1024), default=1, show_default=True, help="Processes that share every batch."
)
@click.option("--address", help="Of a running Ray cluster, where the processes are to be.")
@seed_option("Of initial weights, batch order and augmentation.")
@callback_option
@json_option
@quiet_option
def train(  # noqa: PLR0913 - the options
    spec: str,
    data: str | None,
    out: Path,
    overwrite: bool,
    epochs: int | None,
    recipe_file: Path | None,
    settings: tuple[str, ...],
    device: str,
    threads: int,
    workers: int,
    address: str | None,
    seed: int,
    callbacks: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> None:
    """Train one architecture and export it; called again after an interruption it goes on from its checkpoint.

    SPEC is a published structure, a JSON file, or RUN:ID.
    """
    from nas.callbacks.callback import RunStart
    from nas.callbacks.choice import make_callbacks
    from nas.callbacks.telling import telling
    from nas.cli.ray_watch import RayWatch
    from nas.cli.recipe_file import recipe_of
    from nas.cli.spec_data import spec_and_data
    from nas.export.card import CardFacts
    from nas.export.pretrained import save_pretrained
    from nas.train.data import load_dataset
    from nas.train.distributed.fit import check_shares, fit_together
    from nas.train.entrant import build_network
    from nas.train.evaluate import Evaluation, evaluate_test
    from nas.train.finalists import threads as with_threads
    from nas.train.torch_device import check_torch_device

    check_torch_device(device, "train: --device")
    found, source = spec_and_data(spec, data, "train")
    dataset = load_dataset(source)
    recipe = recipe_of(epochs, recipe_file, settings)
    check_shares(min(recipe.batch_size, len(dataset.train)), workers)
    checkpoint = checkpoint_beside(out, overwrite)
    network = build_network(found.arch, dataset, seed=seed)
    choices = make_callbacks(callback_settings(callbacks) or ())
    asked = {"spec": spec, "data": source, "seed": seed, "recipe": recipe.to_dict()}
    start = RunStart(out.with_name(f"{out.name}-log"), asked, 0, resumed=checkpoint.exists())
    watch = RayWatch(checkpoint.parent, checkpoint.name)
    with narrator(quiet) as teller, with_threads(threads), watch, telling(choices, start, teller) as dispatcher:
        report = fit_together(
            network, dataset, recipe, seed=seed, workers=workers, device=device, threads=threads, address=address,
            checkpoint=checkpoint, on_epoch=_epoch_teller(teller, recipe.epochs, dispatcher),
        )  # fmt: skip
        test = evaluate_test(network, dataset, device=device)
        dispatcher.end(_facts(out, report, test), "finished")
    last = report.curve[-1]
    validation = Evaluation(last.validation_top1, last.validation_loss, len(dataset.validation))
    facts = CardFacts(metrics={"validation": validation, "test": test})
    exported = save_pretrained(out, network, task=dataset.task, facts=facts)
    checkpoint.unlink(missing_ok=True)
    _print_result(out, report, test, exported.size_bytes, as_json)


def checkpoint_beside(out: Path, overwrite: bool) -> Path:
    """Where the checkpoint of a training into ``out`` lies.

    Raises: ExportFailed: the place cannot be used, or a finished export is there that nobody said to replace; one
        with a checkpoint beside it is being replaced already, by a training that was interrupted.
    """
    from nas.export.errors import ExportFailed
    from nas.export.place import holds_export, prepare_place

    prepare_place(out)
    checkpoint = out.with_name(f".{out.name}.checkpoint.pt")
    if holds_export(out) and not overwrite and not checkpoint.exists():
        raise ExportFailed(
            f"{out}: holds an exported network already; replace it with --overwrite, or choose another --out"
        )
    return checkpoint


def _epoch_teller(teller: Any, epochs: int, dispatcher: Dispatcher) -> Callable[[EpochReport], None]:
    from nas.callbacks.dispatcher import WINNER_EPOCH

    def tell(report: EpochReport) -> None:
        teller.update(
            f"epoch {report.epoch} of {epochs}, loss {report.train_loss:.3f}, "
            f"validation top-1 {report.validation_top1:.4f}",
            report.epoch / epochs,
        )
        dispatcher.event(WINNER_EPOCH, asdict(report))

    return tell


def _facts(out: Path, report: FitReport, test: Evaluation) -> dict[str, Any]:
    last = report.curve[-1]
    return {
        "directory": str(out),
        "test_top1": test.top1,
        "test_standard_error": test.standard_error,
        "test_images": test.n,
        "validation_top1": last.validation_top1,
        "epochs": last.epoch,
    }


def _print_result(out: Path, report: FitReport, test: Evaluation, sizes: dict[str, int], as_json: bool) -> None:
    facts = {**_facts(out, report, test), "files": sizes}
    if as_json:
        print_json({**facts, "curve": [asdict(epoch) for epoch in report.curve]})
    else:
        print_facts(facts)
