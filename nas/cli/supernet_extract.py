"""``netwright supernet extract``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nas.cli.options import json_option, narrator, print_facts, print_json, quiet_option, seed_option
from nas.cli.supernet_spec import subnet

if TYPE_CHECKING:
    from nas.train.evaluate import Evaluation
    from nas.train.images import Dataset
    from search_spaces.build import Network
    from search_spaces.supernet import Supernet

FINE_TUNING_RATE = 0.02  # of the learning rate's peak: the weights are good already


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("spec")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the network.")
@click.option("--epochs", type=click.IntRange(0), default=0, show_default=True, help="Of fine-tuning.")
@click.option(
    "--distillation", type=click.FloatRange(0, 1), default=0.5, show_default=True, help="Weight of the teacher."
)
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Recipe setting of the fine-tuning.")
@click.option("--data", help="Dataset; the supernet's own without it.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@seed_option("Of the fine-tuning.")
@json_option
@quiet_option
def extract(  # noqa: PLR0913 - the options
    folder: Path,
    spec: str,
    out: Path,
    epochs: int,
    distillation: float,
    settings: tuple[str, ...],
    data: str | None,
    device: str,
    seed: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Take a network out of a supernet, with statistics of its own, check it, and export it.

    FOLDER is one of `supernet train`. SPEC is a published structure, a JSON file, RUN:ID, largest or smallest. With
    --epochs the network is fine-tuned with the supernet's largest network as teacher.
    """
    from nas.export.card import CardFacts
    from nas.export.place import prepare_place
    from nas.export.pretrained import save_pretrained
    from nas.train.evaluate import evaluate_test
    from nas.train.finalists import threads
    from nas.train.supernet.file import load_supernet
    from nas.train.supernet.subnet import dataset_of, extract_subnet
    from nas.train.torch_device import check_torch_device

    check_torch_device(device, "supernet extract: --device")
    supernet, facts = load_supernet(folder, device=device)
    arch = subnet(supernet.space, spec)
    prepare_place(out)
    dataset = dataset_of(facts, data)
    with threads(1):
        network, difference = extract_subnet(supernet, arch, dataset)
        if epochs:
            _fine_tune(network, supernet, dataset, _Tuning(epochs, distillation, settings, seed, device), quiet)
        validation, test = _validated(network, dataset, device), evaluate_test(network, dataset, device=device)
    origin = f"extracted from a supernet of {facts.space}, digest {facts.digest}"
    card = CardFacts(
        metrics={"validation": validation, "test": test},
        search={"weights": f"{origin}, fine-tuned for {epochs} epochs" if epochs else origin},
    )
    exported = save_pretrained(out, network, task=dataset.task, facts=card)
    result = {
        "directory": str(out),
        "digest": arch.digest,
        "difference_to_supernet": difference,
        "epochs": epochs,
        "validation_top1": validation.top1,
        "test_top1": test.top1,
        "test_standard_error": test.standard_error,
        "test_images": test.n,
        "files": exported.size_bytes,
        "max_abs_error": exported.parity.max_abs_error,
    }
    (print_json if as_json else print_facts)(result)


class _Tuning:
    """How the network is fine-tuned."""

    def __init__(self, epochs: int, distillation: float, settings: tuple[str, ...], seed: int, device: str) -> None:
        from nas.config import with_settings
        from nas.train.recipe import Recipe

        values = {"epochs": epochs, "learning_rate": FINE_TUNING_RATE, "weight_decay": 0.0}
        self.recipe = Recipe.from_dict(with_settings(values, settings))
        self.distillation, self.seed, self.device = distillation, seed, device


def _fine_tune(network: Network, supernet: Supernet, dataset: Dataset, tuning: _Tuning, quiet: bool) -> None:
    from nas.train.fit import EpochReport, fit
    from nas.train.supernet.subnet import largest_as_teacher

    lesson = largest_as_teacher(supernet, dataset, tuning.distillation)
    with narrator(quiet) as teller:

        def tell(report: EpochReport) -> None:
            text = f"fine-tuning, epoch {report.epoch}, validation top-1 {report.validation_top1:.4f}"
            teller.update(text, report.epoch / tuning.recipe.epochs)

        fit(network, dataset, tuning.recipe, seed=tuning.seed, device=tuning.device, on_epoch=tell, distillation=lesson)


def _validated(network: Network, dataset: Dataset, device: str) -> Evaluation:
    from nas.train.evaluate import Normaliser, evaluate, to_tensors

    images, labels = to_tensors(dataset.validation, device)
    return evaluate(network, images, labels, normalise=Normaliser(dataset, device))
