"""``netwright detect``: train, evaluate and export detectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from nas.cli.options import json_option, narrator, print_facts, print_json, quiet_option, seed_option

if TYPE_CHECKING:
    from nas.train.detection.average_precision import AveragePrecision
    from nas.train.detection.fit import DetectionEpoch
    from nas.train.detection.network import Detector
    from nas.train.detection.recipe import DetectionRecipe
    from search_spaces.arch import Architecture

F = TypeVar("F", bound=Callable[..., Any])
_PLACE = click.Path(path_type=Path)


@click.group()
def detect() -> None:
    """Train, evaluate and export a small anchor-free detector on any backbone."""


def _data_options(command: F) -> F:
    """--data, --size."""
    command = click.option("--size", type=click.IntRange(1), help="Side to which images are resized, in pixels.")(
        command
    )
    return click.option("--data", type=_PLACE, required=True, help="Images with boxes; see docs/detection.md.")(command)


@detect.command()
@click.argument("spec")
@_data_options
@click.option("--out", type=_PLACE, required=True, help="Folder for the trained detector.")
@click.option("--overwrite", is_flag=True, help="Replace the export that is there.")
@click.option("--classes", default="all", show_default=True, help="all, one (class-agnostic), or how many to keep.")
@click.option("--levels", default="3,4,5", show_default=True, help="Maps to use; level l has stride 2**l.")
@click.option("--width", default=64, show_default=True, help="Channels of pyramid and head.")
@click.option("--depth", default=2, show_default=True, help="Convolutions in each tower of the head.")
@click.option("--init", type=_PLACE, help="Exported classifier of the same architecture whose weights to start from.")
@click.option("--epochs", type=click.IntRange(1), help="Passes over the training images.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Recipe setting, e.g. learning_rate=0.05.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option("--threads", type=click.IntRange(1, 1024), default=1, show_default=True, help="CPU threads.")
@seed_option("Of initial weights, batch order and augmentation.")
@json_option
@quiet_option
def train(  # noqa: PLR0913 - the options
    spec: str,
    data: Path,
    size: int | None,
    out: Path,
    overwrite: bool,
    classes: str,
    levels: str,
    width: int,
    depth: int,
    init: Path | None,
    epochs: int | None,
    settings: tuple[str, ...],
    device: str,
    threads: int,
    seed: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Train a detector and export it; called again after an interruption it goes on from its checkpoint.

    SPEC names the backbone: a published structure, a JSON file, or RUN:ID.
    """
    from nas.cli.train import checkpoint_beside
    from nas.export.detector import save_detector
    from nas.spec import load_spec
    from nas.train.detection.data import load_detection_dataset
    from nas.train.detection.fit import evaluate_detector, fit_detector
    from nas.train.detection.network import DetectorDesign
    from nas.train.finalists import threads as with_threads
    from nas.train.torch_device import check_torch_device

    check_torch_device(device, "detect train: --device")
    design = DetectorDesign(_levels(levels), width, depth)
    arch, recipe = load_spec(spec).arch, _recipe(epochs, settings)
    dataset = load_detection_dataset(data, size=size, classes=classes)
    model = _initial(arch, len(dataset.classes), design, init, seed)
    checkpoint = checkpoint_beside(out, overwrite)
    with narrator(quiet) as teller, with_threads(threads):
        tell = _epoch_teller(teller, recipe.epochs)
        curve = fit_detector(model, dataset, recipe, seed=seed, device=device, checkpoint=checkpoint, on_epoch=tell)
        trained_on = evaluate_detector(model, dataset.train, dataset.task)
    held_out = curve[-1].validation
    assert held_out is not None
    metrics = {"held out": held_out, "training (seen)": trained_on}
    exported = save_detector(out, model.cpu(), task=dataset.task, metrics=metrics)
    checkpoint.unlink(missing_ok=True)
    facts = {"directory": str(out), **_precision(held_out), "train_ap50": trained_on.ap50, "epochs": len(curve)}
    facts |= {"classes": len(dataset.classes), "files": exported.size_bytes}
    if as_json:
        print_json({**facts, "curve": [asdict(epoch) for epoch in curve]})
    else:
        print_facts(facts)


@detect.command("eval")
@click.argument("folder", type=_PLACE)
@_data_options
@click.option(
    "--split",
    type=click.Choice(["held-out", "train"]),
    default="held-out",
    show_default=True,
    help="Which images to look at.",
)
@json_option
def evaluate(folder: Path, data: Path, size: int | None, split: str, as_json: bool) -> None:
    """Average precision of an exported detector; classes are merged as in its training."""
    from nas.export.detector import DETECTION, load_detector
    from nas.export.pretrained import load_task
    from nas.train.detection.data import load_detection_dataset
    from nas.train.detection.dataset import match_classes
    from nas.train.detection.fit import check_sides, evaluate_detector
    from nas.train.finalists import threads as with_threads

    model, task = load_detector(folder), load_task(folder, DETECTION)
    dataset = match_classes(load_detection_dataset(data, size=size or _side(task.input_shape)), task.classes)
    check_sides(model, dataset.input_shape)
    with with_threads(1):
        found = evaluate_detector(model, dataset.train if split == "train" else dataset.validation, task)
    (print_json if as_json else print_facts)({"detector": str(folder), "split": split, **_precision(found)})


@detect.command()
@click.argument("folder", type=_PLACE)
@click.option("--out", type=_PLACE, required=True, help="Folder to write.")
@click.option("--batch", default="1", show_default=True, help="Images per call of the ONNX file, or `any`.")
@json_option
def export(folder: Path, out: Path, batch: str, as_json: bool) -> None:
    """Write a trained detector again, for example with another batch; ONNX is checked against torch."""
    from nas.export.detector import DETECTION, load_detector, save_detector
    from nas.export.errors import ExportFailed
    from nas.export.pretrained import load_task

    if batch != "any" and not (batch.isdecimal() and int(batch) > 0):
        raise click.BadParameter(f"{batch!r}, expected a whole number of at least 1, or `any`", param_hint="--batch")
    if out.resolve() == folder.resolve():
        raise ExportFailed(f"{out}: is the source itself, whose card would lose what was measured; give another --out")
    model, task = load_detector(folder), load_task(folder, DETECTION)
    report = save_detector(out, model, task=task, batch=None if batch == "any" else int(batch))
    errors = {f"max_abs_error_{name}": parity.max_abs_error for name, parity in report.parity.items()}
    (print_json if as_json else print_facts)({"directory": str(out), "files": report.size_bytes, **errors})


def _levels(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.strip().isdecimal() and len(part) < 4 for part in parts):
        raise click.BadParameter(f"{text!r}, expected whole numbers such as 3,4,5", param_hint="--levels")
    return tuple(int(part) for part in parts)


def _recipe(epochs: int | None, settings: tuple[str, ...]) -> DetectionRecipe:
    """Of --epochs and --set; --set wins."""
    from nas.config import with_settings
    from nas.train.detection.recipe import DetectionRecipe

    given = {} if epochs is None else {"epochs": epochs}
    return DetectionRecipe.from_dict(with_settings(given, settings))


def _initial(arch: Architecture, num_classes: int, design: Any, init: Path | None, seed: int) -> Detector:
    """A new detector, its backbone's weights taken from a classifier when one is given."""
    from nas.train.detection.network import build_detector

    model = build_detector(arch, num_classes=num_classes, design=design, seed=seed)
    if init is not None:
        from nas.export.pretrained import from_pretrained
        from search_spaces.backbone import WeightsDoNotFit, load_shared

        try:
            load_shared(model.backbone, from_pretrained(init).state_dict())
        except WeightsDoNotFit as error:
            raise WeightsDoNotFit(f"{init}: is no classifier of this architecture: {error}") from None
    return model


def _epoch_teller(teller: Any, epochs: int) -> Callable[[DetectionEpoch], None]:
    def tell(report: DetectionEpoch) -> None:
        found = "" if report.validation is None else f", held-out AP50 {report.validation.ap50:.4f}"
        teller.update(f"epoch {report.epoch} of {epochs}, loss {report.train_loss:.3f}{found}", report.epoch / epochs)

    return tell


def _precision(found: AveragePrecision) -> dict[str, Any]:
    return asdict(found)


def _side(input_shape: tuple[int, int, int]) -> int:
    return max(input_shape[1:])
