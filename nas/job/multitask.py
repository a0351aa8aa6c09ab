"""A sparse network for two tasks as a job: build it on a backbone, prune and train it, write weights and report."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nas.compress.disparse import DisparseSettings, disparse
from nas.compress.disparse.result import DisparseResult
from nas.compress.errors import CannotCompress
from nas.compress.packed import write_packed
from nas.train.data import load_dataset
from nas.train.detection.network import DetectorDesign
from nas.train.multitask.labels import TURNS, with_rotation
from nas.train.multitask.network import MultitaskNetwork, build_scene_network
from nas.train.multitask.recipe import MultitaskRecipe
from nas.train.multitask.scenes import load_scenes
from nas.train.multitask.tasks import MultitaskData
from nas.train.multitask.training import MultitaskEpoch, fit_multitask
from search_spaces.arch import Architecture, InvalidArchitecture
from search_spaces.build import build

PACKED, REPORT = "packed.safetensors", "report.json"
_LEVELS = (5, 4, 3, 2, 1, 0)
_TRAINED_FIRST = ("pretrained", "magnitude")


@dataclass(frozen=True, slots=True, eq=False)
class Tasks:
    """A network for several tasks, untrained, and its data."""

    network: MultitaskNetwork
    data: MultitaskData


class PooledClassifier(nn.Module):
    """The deepest map of a backbone, pooled, to logits."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(channels, channels, 1)
        self.classes = nn.Linear(channels, classes)

    def forward(self, maps: tuple[Tensor, ...]) -> Tensor:
        """(N, C, H, W) last -> (N, classes)."""
        logits: Tensor = self.classes(torch.relu(self.mix(maps[-1])).mean((2, 3)))
        return logits


def label_tasks(arch: Architecture, images: str, seed: int) -> Tasks:
    """Two labels of each image: its class, and by how many quarters it was turned.

    Args:
        arch: of the backbone.
        images: a dataset's name or path.
        seed: of the turns and the first weights.
    Raises: InvalidDataset, InvalidArchitecture.
    """
    dataset = load_dataset(images)
    data = with_rotation(dataset, seed=seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for level in _LEVELS:
            try:
                trunk = build(arch, features=(level,), in_channels=dataset.input_shape[0])
                break
            except InvalidArchitecture:
                if level == _LEVELS[-1]:
                    raise
        counts = dict(zip((task.name for task in data.tasks), (dataset.num_classes, TURNS), strict=True))
        heads = {name: PooledClassifier(trunk.channels[-1], count) for name, count in counts.items()}
        return Tasks(MultitaskNetwork(trunk, heads), data)


def scene_tasks(arch: Architecture, file: Path, *, size: int, seed: int) -> Tasks:
    """Segmentation and detection of one file of photographs.

    Args:
        arch: of the backbone; it must reach stride 32.
        file: see ``nas.train.multitask.scenes.load_scenes``.
        size: side in pixels.
        seed: of the first weights.
    Raises: InvalidDataset, InvalidArchitecture.
    """
    design = DetectorDesign()
    strides = [2**level for level in design.levels]
    data = load_scenes(file, size=size, strides=strides, boxes="one")
    masks = data.train.targets["segmentation"][0]
    regions = int(masks[(masks >= 0) & (masks < 255)].max()) + 1
    network = build_scene_network(arch, segmentation_classes=regions, detection_classes=1, design=design, seed=seed)
    return Tasks(network, data)


def run_multitask(  # noqa: PLR0913 - the facts of a job, all named
    tasks: Tasks,
    out: Path,
    *,
    settings: DisparseSettings,
    recipe: MultitaskRecipe,
    seed: int,
    device: str = "cpu",
    on_epoch: Callable[[str, MultitaskEpoch], None] | None = None,
) -> dict[str, Any]:
    """Prune, train and write; called again after an interruption it goes on from its checkpoints.

    Args:
        tasks: network and data.
        out: folder of the result, new or of an earlier run of this.
        settings: mode and density.
        recipe: of the training; for modes that prune a trained network also of that training.
        seed: of everything random.
        device: where to train.
        on_epoch: called with "dense" or "sparse" and the report of every epoch.
    Returns: what ``report.json`` holds.
    Raises: CannotCompress, TrainingDiverged, InvalidCheckpoint.
    """
    out = out.resolve()
    _check_place(out)
    tell = on_epoch or (lambda stage, report: None)
    work = out.with_name(f".{out.name}.work")
    network: nn.Module = tasks.network
    if settings.mode in _TRAINED_FIRST:
        fit_multitask(
            network, tasks.data, recipe, seed=seed, device=device, checkpoint=work / "dense.pt",
            on_epoch=lambda report: tell("dense", report),
        )  # fmt: skip
    result = disparse(
        network, tasks.data, recipe, settings=settings, seed=seed, device=device,
        checkpoint=work / "sparse.pt", on_epoch=lambda report: tell("sparse", report),
    )  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    size = write_packed(out / PACKED, result.network.cpu(), result.masks)
    facts = _facts(result, settings, recipe, seed, {"file": size.file, "dense": size.dense})
    (out / REPORT).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    for name in ("dense.pt", "sparse.pt"):
        (work / name).unlink(missing_ok=True)
    if work.is_dir():
        work.rmdir()
    return facts


def _check_place(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise CannotCompress(f"{out}: is a file, expected a folder; choose another --out")
    others = {path.name for path in out.iterdir()} - {PACKED, REPORT} if out.is_dir() else set()
    if others:
        raise CannotCompress(f"{out}: holds other files ({min(others)}); choose an empty or a new folder")


def _facts(
    result: DisparseResult, settings: DisparseSettings, recipe: MultitaskRecipe, seed: int, sizes: dict[str, int]
) -> dict[str, Any]:
    overlap = result.overlap
    return {
        "version": 1,
        "settings": settings.to_dict(),
        "recipe": recipe.to_dict(),
        "seed": seed,
        "density": result.masks.density,
        "kept": result.masks.kept,
        "of": result.masks.total,
        "bytes": sizes,
        "scores": result.curve[-1].scores,
        "empty_layers": list(result.empty),
        "overlap": None if overlap is None else overlap.table(),
        "watershed": None if overlap is None else overlap.watershed(),
        "curve": [asdict(epoch) for epoch in result.curve],
    }
