"""The winner of a search by BINAS: the supernet's weights, then a short training with the supernet as teacher."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nas.job.delivery_stage import Start
from nas.job.finalists_stage import Finalist
from nas.job.task import Task
from nas.store import RunStore
from nas.train.recipe import Recipe
from nas.train.supernet.file import load_supernet, weights_digest
from nas.train.supernet.subnet import extract_subnet, largest_as_teacher

RATE_SHARE = 0.1  # of the recipe's learning rate: the weights are good already (as BINAS fine-tunes)


def chosen_by_supernet(finalists: list[Finalist], store: RunStore) -> Finalist:
    """The finalist that the supernet ranks first; nothing is trained to decide. Recorded once."""
    winner = max(finalists, key=lambda finalist: (finalist.score, -finalist.id))
    if not store.events("winner"):
        store.record("winner", {"id": winner.id, "arch": winner.arch.to_dict(), "score": winner.score})
    return winner


def inherited_start(task: Task, winner: Finalist, supernet: Path) -> Start:
    """The winner with the supernet's weights and statistics of its own; the largest network teaches it.

    Raises: ExtractionFailed, InvalidSupernet.
    """
    whole, _ = load_supernet(supernet, device=task.config.train_device)
    network, _ = extract_subnet(whole, winner.arch, task.dataset)
    settings = task.config.binas
    recipe = Recipe.from_dict(task.config.recipe)
    recipe = replace(recipe, epochs=settings.fine_tuning, learning_rate=RATE_SHARE * recipe.learning_rate)
    if settings.distillation == 0:
        return Start(network, recipe)
    name = f"supernet {weights_digest(supernet)}"
    return Start(network, recipe, largest_as_teacher(whole, task.dataset, settings.distillation, name))
