"""The entry to post-training quantisation: a float network and a few hundred images give a network in integers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nas.compress.errors import CannotCompress
from nas.compress.quantise.bias_correction import correct_biases_
from nas.compress.quantise.caches import Caches
from nas.compress.quantise.draft import Draft, drafted
from nas.compress.quantise.fold import folded
from nas.compress.quantise.importance import importance
from nas.compress.quantise.placement import edge_layers, placed
from nas.compress.quantise.quantised import Grid, Quantised, WeightCodes
from nas.compress.quantise.reconstruct import UnitReport, UnitTraining, error_of
from nas.compress.quantise.settings import QuantiseSettings
from nas.compress.quantise.units import Unit, basic_units, single_layers
from nas.train.checkpoint import load_checkpoint, save_checkpoint
from nas.train.seeding import seeded

LEAST_IMAGES = 8
_BATCH = 64


def quantise_network(  # noqa: PLR0913 - all named
    model: nn.Module,
    images: Tensor,
    *,
    settings: QuantiseSettings | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
    on_unit: Callable[[UnitReport], None] | None = None,
) -> Quantised:
    """Quantise a trained network without labels.

    Args:
        model: (N, C, H, W) float32 -> one tensor; not changed.
        images: (N, C, H, W) float32, normalised as in use and without augmentation; 256 to 1,024 are usual.
        settings: see there; 8 bits by default.
        seed: of batches and dropped elements; on the CPU the same seed gives the same codes.
        device: where to compute.
        checkpoint: written after every unit; if it exists, the work goes on from it and ends the same.
        on_unit: called after every unit that is trained now.
    Returns: on the CPU.
    Raises: CannotCompress, Untraceable, InvalidCheckpoint.
    """
    settings = settings or QuantiseSettings()
    check_images(images)
    channels, height, width = images.shape[1:]
    graph = folded(model, (channels, height, width))
    placement = placed(graph, settings)
    if not placement.weights:
        reasons = "; ".join(placement.left_float.values()) or "it has no convolution and no linear layer"
        raise CannotCompress(f"{type(model).__name__}: no layer can be quantised: {reasons}")
    images = images.detach().to(device)
    search = settings.method != "minmax"
    draft = drafted(graph, placement, images, search=search, batch_size=_BATCH, seed=seed)
    if settings.method in ("unit", "layer"):
        _learn(draft, images, settings, seed, checkpoint, on_unit)
    if settings.bias_correction:
        correct_biases_(draft, images)
    return draft.result((channels, height, width))


def check_images(images: Tensor) -> None:
    """Raise CannotCompress unless calibration images are what networks take."""
    if not isinstance(images, Tensor) or images.ndim != 4:
        shape = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise CannotCompress(f"calibration images: {shape}, expected a tensor (N, channels, height, width)")
    if images.dtype != torch.float32:
        raise CannotCompress(f"calibration images: of type {images.dtype}, expected normalised float32 as in use")
    if len(images) < LEAST_IMAGES:
        raise CannotCompress(f"calibration images: {len(images)}, expected at least {LEAST_IMAGES}; 256 are better")
    if not bool(images.isfinite().all()):
        raise CannotCompress("calibration images: they hold NaN or infinite values; clean or drop those images")


def _learn(
    draft: Draft,
    images: Tensor,
    settings: QuantiseSettings,
    seed: int,
    checkpoint: Path | None,
    on_unit: Callable[[UnitReport], None] | None,
) -> None:
    """Unit by unit, in order of execution."""
    layers = list(draft.placement.weights)
    if settings.method == "layer":
        units = single_layers(draft.graph, layers)
    else:
        alone = edge_layers(draft.graph, layers)
        units = basic_units(draft.graph, layers, alone=alone, most_layers=settings.most_layers)
    identity = _identity(draft, images, settings, seed)
    finished = _restored(draft, checkpoint, identity)
    caches = Caches(draft, units, images)
    for at, unit in enumerate(units):
        if unit.layers and at >= finished:
            report = _train(draft, units, at, caches, settings, seed)
            if checkpoint is not None:
                save_checkpoint(checkpoint, _state(draft, at + 1), identity)
            if on_unit is not None:
                on_unit(report)
        caches.advance(unit)


def _train(
    draft: Draft, units: list[Unit], at: int, caches: Caches, settings: QuantiseSettings, seed: int
) -> UnitReport:
    """One unit; rounding to nearest stays where learning does no better on all images."""
    unit, targets = units[at], caches.targets(units[at])
    with seeded(seed, at, draft.device) as generator:
        weights = None
        if settings.importance == "output":
            later = units[at + 1 :]
            others = {node: value for node, value in caches.exact.items() if any(node in u.entries for u in later)}
            weights = importance(draft, later, targets, others, seed=generator.initial_seed())
        before, codes, grids = error_of(unit, caches, targets, weights), dict(draft.codes), list(draft.grids)
        UnitTraining(draft, unit, settings, weights).train(caches, targets, generator)
        after = error_of(unit, caches, targets, weights)
    if not after <= before:
        draft.codes, draft.grids, after = codes, grids, before
    return UnitReport(unit.name, before, after)


def _identity(draft: Draft, images: Tensor, settings: QuantiseSettings, seed: int) -> dict[str, Any]:
    digest = hashlib.sha256(images.cpu().contiguous().numpy().tobytes())
    for tensor in draft.tensors.values():
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return {"settings": asdict(settings), "seed": seed, "network and images": digest.hexdigest()[:20]}


def _state(draft: Draft, finished: int) -> dict[str, Any]:
    codes = {node.name: [each.codes, each.scale, each.bits] for node, each in draft.codes.items()}
    return {"finished": finished, "codes": codes, "grids": [[g.scale, g.zero_point, g.bits] for g in draft.grids]}


def _restored(draft: Draft, checkpoint: Path | None, identity: dict[str, Any]) -> int:
    """Put back what a checkpoint holds; returns the number of finished units."""
    if checkpoint is None or not checkpoint.exists():
        return 0
    state = load_checkpoint(checkpoint, identity)
    draft.codes = {node: WeightCodes(*state["codes"][node.name]) for node in draft.codes}
    draft.grids = [Grid(*each) for each in state["grids"]]
    return int(state["finished"])
