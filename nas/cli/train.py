"""``netwright train``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from nas.cli.options import json_option, narrator, print_facts, print_json, quiet_option, seed_option


@click.command()
@click.argument("spec")
@click.option("--data", help="Dataset; the run's own for RUN:ID.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the trained network.")
@click.option("--epochs", type=click.IntRange(1), help="Passes over the training images.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Recipe setting, e.g. learning_rate=0.05.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option("--threads", type=click.IntRange(1, 1024), default=1, show_default=True, help="CPU threads.")
@seed_option("Of initial weights, batch order and augmentation.")
@json_option
@quiet_option
def train(  # noqa: PLR0913 - the options
    spec: str,
    data: str | None,
    out: Path,
    epochs: int | None,
    settings: tuple[str, ...],
    device: str,
    threads: int,
    seed: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Train one architecture and export it; called again after an interruption it goes on from its checkpoint.

    SPEC is a structure string, a JSON file, or RUN:ID.
    """
    from nas.config import InvalidConfig, merge, parse_setting
    from nas.export.card import CardFacts
    from nas.export.place import prepare_place
    from nas.export.pretrained import save_pretrained
    from nas.spec import load_spec
    from nas.train.data import load_dataset
    from nas.train.entrant import build_network
    from nas.train.evaluate import Evaluation, evaluate_test
    from nas.train.finalists import threads as with_threads
    from nas.train.fit import EpochReport, fit
    from nas.train.recipe import Recipe
    from nas.train.torch_device import check_torch_device

    check_torch_device(device, "train: --device")
    found = load_spec(spec)
    if (source := data or found.data) is None:
        raise InvalidConfig("train: which images? give --data, for example --data digits")
    dataset = load_dataset(source)
    values: dict[str, Any] = {} if epochs is None else {"epochs": epochs}
    for text in settings:
        values = merge(values, parse_setting(text))
    recipe = Recipe.from_dict(values)
    prepare_place(out)
    network = build_network(found.arch, dataset, seed=seed)
    checkpoint = out.with_name(f".{out.name}.checkpoint.pt")
    with narrator(quiet) as teller, with_threads(threads):

        def on_epoch(report: EpochReport) -> None:
            teller.update(
                f"epoch {report.epoch} of {recipe.epochs}, loss {report.train_loss:.3f}, "
                f"validation top-1 {report.validation_top1:.4f}",
                report.epoch / recipe.epochs,
            )

        report = fit(network, dataset, recipe, seed=seed, device=device, checkpoint=checkpoint, on_epoch=on_epoch)
        test = evaluate_test(network, dataset, device=device)
    last = report.curve[-1]
    metrics = {
        "validation": Evaluation(last.validation_top1, last.validation_loss, len(dataset.validation)),
        "test": test,
    }
    exported = save_pretrained(out, network, task=dataset.task, facts=CardFacts(metrics=metrics))
    checkpoint.unlink(missing_ok=True)
    facts = {
        "directory": str(out),
        "test_top1": test.top1,
        "test_standard_error": test.standard_error,
        "test_images": test.n,
        "validation_top1": last.validation_top1,
        "epochs": last.epoch,
        "files": exported.size_bytes,
    }
    (print_json if as_json else print_facts)(
        {**facts, "curve": [asdict(r) for r in report.curve]} if as_json else facts
    )
