"""What the training of a compressed network costs, in multiply-accumulates: passes and images."""

from __future__ import annotations

from nas.train.images import Dataset
from nas.train.recipe import Recipe

PASSES = 3  # of a training step: forward, gradients of the activations, gradients of the weights


def images_per_epoch(dataset: Dataset, recipe: Recipe) -> int:
    """Training images that an epoch really shows; a last, smaller batch is dropped."""
    size = min(recipe.batch_size, len(dataset.train))
    return len(dataset.train) // size * size
