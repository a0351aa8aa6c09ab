"""What a user asks to compress: the winner of a run, an exported folder, or a module of their own with its weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from nas.compress.errors import CannotCompress
from nas.compress.pipeline.stages import check_outputs
from nas.export.place import CONFIG
from nas.export.pretrained import from_pretrained, load_task
from nas.run import WINNER
from nas.train.data import load_dataset
from nas.train.images import Dataset, ImageTask
from nas.weights import load_module, load_tensors_of

_EXPECTED = "expected a run with a trained winner, a folder of `train` or `export`, or package.module:factory"
_TOLERANCE = 1e-4  # of means and deviations: what rounding of equal images may differ by


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A trained network and its images.

    Attributes:
        name: as the user gave it.
        model: in evaluation mode on the CPU.
        dataset: with the normalisation that the network was trained with.
    """

    name: str
    model: nn.Module
    dataset: Dataset


def load_source(text: str, *, data: str | None = None, weights: Path | None = None) -> Source:
    """Read what is to be compressed.

    Args:
        text: a run's directory, an exported folder, or ``package.module:factory``.
        data: dataset; needed for a module, else the one that the network was trained on.
        weights: file of tensors for a module; without it the module brings them.
    Raises: CannotCompress, InvalidPretrained, RunFileError, InvalidDataset, WeightsUnreadable.
    """
    path = Path(text)
    if path.is_dir():
        if weights is not None:
            raise CannotCompress(f"--weights {weights}: {text} has its own weights; leave --weights out")
        folder = path if (path / CONFIG).is_file() else path / WINNER
        return _of_folder(text, folder, data or _data_of_run(path))
    if ":" not in text:
        raise CannotCompress(f"{text}: no such folder; {_EXPECTED}")
    if data is None:
        raise CannotCompress(f"{text}: which images? give --data, for example --data digits")
    return _of_module(text, load_dataset(data), weights)


def _data_of_run(path: Path) -> str | None:
    from nas.run import Run
    from nas.store import find_run

    for folder in (path, path.parent):
        if find_run(folder):
            with Run.open(folder) as run:
                return run.config.data
    return None


def _of_folder(text: str, folder: Path, data: str | None) -> Source:
    if not (folder / CONFIG).is_file():
        raise CannotCompress(f"{text}: holds no trained network ({folder.name}/{CONFIG} is missing); {_EXPECTED}")
    task = load_task(folder)
    dataset = load_dataset(data or task.name)
    _check_same(text, task, dataset)
    return Source(text, from_pretrained(folder), dataset)


def _check_same(text: str, task: ImageTask, dataset: Dataset) -> None:
    """The images must be those that the network knows, normalised alike."""
    if task.classes != dataset.classes or task.input_shape != dataset.input_shape:
        raise CannotCompress(
            f"{text}: it knows {len(task.classes)} classes in images of {_size(task.input_shape)}, the data "
            f"{dataset.name} have {dataset.num_classes} in {_size(dataset.input_shape)}; give --data with the images "
            "of its training"
        )
    ours, theirs = (*task.mean, *task.std, task.pixel_scale), (*dataset.mean, *dataset.std, dataset.pixel_scale)
    if any(abs(a - b) > _TOLERANCE * max(1.0, abs(a)) for a, b in zip(ours, theirs, strict=True)):
        raise CannotCompress(
            f"{text}: it normalises with mean {_short(task.mean)} and std {_short(task.std)}, the data {dataset.name} "
            f"with {_short(dataset.mean)} and {_short(dataset.std)}; give --data with the images of its training"
        )


def _of_module(text: str, dataset: Dataset, weights: Path | None) -> Source:
    model = load_module(text)
    if weights is not None:
        tensors = load_tensors_of(weights)
        missing = [name for name, value in model.state_dict().items() if name not in tensors and value.dim()]
        wrong = [n for n, v in model.state_dict().items() if n in tensors and tensors[n].shape != v.shape]
        if missing or wrong:
            name = (missing or wrong)[0]
            got = "is missing" if missing else f"has shape {tuple(tensors[name].shape)}"
            raise CannotCompress(
                f"{weights}: {name} {got}, {text} expects {tuple(model.state_dict()[name].shape)}; give the weights of "
                "this module"
            )
        model.load_state_dict({**model.state_dict(), **{n: v for n, v in tensors.items() if n in model.state_dict()}})
    check_outputs(model, dataset)
    return Source(text, model.cpu().eval(), dataset)


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _short(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
