"""The supernet of a search by BINAS: the one that the configuration names, or one that the run trains."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from nas.job.task import Task, TaskFailed
from nas.narrator import Silent
from nas.store import RunStore
from nas.train.finalists import threads
from nas.train.supernet.file import holds_supernet, load_facts, save_supernet
from nas.train.supernet.recipe import SupernetRecipe
from nas.train.supernet.training import SupernetEpoch, train_supernet
from search_spaces.sharing import Sharing
from search_spaces.space import GridSpace
from search_spaces.supernet import Supernet

FOLDER = "supernet"  # inside the run directory


def ready_supernet(task: Task, store: RunStore, directory: Path, narrator: Silent) -> Path:
    """Train the run's supernet, or check the given one; returns its folder. Goes on from its checkpoint.

    Raises: TaskFailed: the given one is for another space, data or kind of images; InvalidSupernet; TrainingDiverged.
    """
    settings = task.config.supernet
    folder = directory / FOLDER if settings.path is None else Path(settings.path)
    if settings.path is not None:
        check_fits(task, folder)
    elif not holds_supernet(folder):
        _train(task, folder, directory, narrator)
    if not store.events("supernet"):
        facts = load_facts(folder)
        curve = [asdict(report) for report in facts.curve]
        store.record("supernet", {"path": str(folder), "digest": facts.digest, "curve": curve})
        last = facts.curve[-1]
        narrator.say(
            f"supernet: validation top-1 {last.largest_top1:.3f} of the largest network, {last.smallest_top1:.3f} of "
            f"the smallest, after {len(facts.curve)} epochs"
        )
    return folder


def check_fits(task: Task, folder: Path) -> None:
    """Refuse a supernet of another space or another kind of images, in one line."""
    facts = load_facts(folder)
    wanted: dict[str, Any] = {
        "space": task.space_name,
        "classes": task.num_classes,
        "images": "x".join(map(str, task.input_shape)),
    }
    found = {
        "space": facts.space,
        "classes": facts.num_classes,
        "images": "x".join(map(str, facts.input_shape)),
    }
    for name, value in wanted.items():
        if found[name] != value:
            raise TaskFailed(
                f"supernet {folder}: is for {name} {found[name]}, this search has {value}; train one for it"
            )
    if facts.capacity != 1.0:
        raise TaskFailed(
            f"supernet {folder}: has capacity {facts.capacity:g}, so it ranks networks but has no weights for them; "
            "train one with capacity 1"
        )


def _train(task: Task, folder: Path, directory: Path, narrator: Silent) -> None:
    settings, space = task.config.supernet, task.space
    assert isinstance(space, GridSpace)
    recipe = SupernetRecipe.from_dict(settings.recipe)
    sharing = Sharing(settings.kernels, settings.norms, settings.classifier)
    supernet = Supernet(
        space,
        num_classes=task.num_classes,
        in_channels=task.input_shape[0],
        sharing=sharing,
        seed=task.config.seed,
    )

    def tell(report: SupernetEpoch) -> None:
        narrator.update(
            f"supernet: epoch {report.epoch} of {recipe.epochs}, loss {report.largest_loss:.3f}, validation top-1 "
            f"{report.largest_top1:.3f} (largest), {report.smallest_top1:.3f} (smallest)",
            report.epoch / recipe.epochs,
        )

    checkpoint = directory / "work" / "supernet.pt"
    with threads(task.config.train_threads):
        curve = train_supernet(
            supernet, task.dataset, recipe, seed=task.config.seed, device=task.config.train_device,
            checkpoint=checkpoint, on_epoch=tell,
        )  # fmt: skip
    narrator.done()
    save_supernet(
        folder, supernet, recipe, task.dataset.task, space=task.space_name, data=task.config.data,
        seed=task.config.seed, curve=curve,
    )  # fmt: skip
    checkpoint.unlink(missing_ok=True)
