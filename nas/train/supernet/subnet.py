"""One network of a supernet: statistics of its own, how good it is, and the network itself."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from nas.train.data import load_dataset
from nas.train.distill import Distillation
from nas.train.evaluate import BATCH, Normaliser, to_tensors
from nas.train.images import Dataset, Split
from nas.train.recalibration import recalibrated
from nas.train.supernet.file import InvalidSupernet, SupernetFacts
from nas.train.supernet.judge import Judge, SubnetScore
from search_spaces.arch import Architecture
from search_spaces.build import Network
from search_spaces.extremes import largest
from search_spaces.supernet import Supernet

CALIBRATION = 1024  # training images that the statistics are taken from
TOLERANCE = 1e-5  # between the outputs of the supernet and of what is extracted


class ExtractionFailed(RuntimeError):
    """The extracted network does not compute what the supernet computes."""


def dataset_of(facts: SupernetFacts, data: str | None = None) -> Dataset:
    """The images that a supernet was trained on, or others of the same shape and classes.

    Raises: InvalidSupernet: other ones; InvalidDataset.
    """
    dataset = load_dataset(data or facts.data)
    found, expected = (dataset.input_shape[0], dataset.num_classes), (facts.input_shape[0], facts.num_classes)
    if found != expected:
        raise InvalidSupernet(
            f"dataset {data or facts.data}: {found[0]} channel(s) and {found[1]} classes, the supernet was trained for "
            f"{expected[0]} and {expected[1]}"
        )
    return dataset


def calibration_batches(dataset: Dataset, device: torch.device | str, *, seed: int = 0) -> tuple[Tensor, ...]:
    """Normalised training images without augmentation, the same ones for the same seed."""
    chosen = np.random.default_rng((seed, 0xCA1)).permutation(len(dataset.train))[:CALIBRATION]
    part = Split(dataset.train.images[chosen], dataset.train.labels[chosen])
    images = Normaliser(dataset, device)(to_tensors(part, device)[0])
    parts: tuple[Tensor, ...] = torch.split(images, BATCH)
    return parts if len(parts[-1]) > 1 or len(parts) == 1 else parts[:-1]


def evaluate_subnet(supernet: Supernet, arch: Architecture, dataset: Dataset) -> SubnetScore:
    """Recalibrate and evaluate on the validation images; the supernet is not changed.

    Raises: InvalidArchitecture: no member of the space.
    """
    device = supernet.device
    images, labels = to_tensors(dataset.validation, device)
    parts = torch.split(Normaliser(dataset, device)(images), BATCH)
    judge = Judge(supernet, calibration_batches(dataset, device), parts, "recalibrated")
    return SubnetScore.of(arch, judge.logits(arch), torch.split(labels, BATCH))


def largest_as_teacher(supernet: Supernet, dataset: Dataset, weight: float, name: str = "") -> Distillation:
    """The supernet's largest network, recalibrated, as the teacher of another one of its networks.

    Args:
        supernet: trained.
        dataset: whose training images give the statistics.
        weight: of the soft labels, 0..1.
        name: what checkpoints of the training are bound to; "" takes the digest of the design alone.
    Raises: ExtractionFailed; InvalidDistillation.
    """
    teacher, _ = extract_subnet(supernet, largest(supernet.space), dataset)
    return Distillation(teacher, weight, name=name or f"largest network of supernet {supernet.digest}")


def extract_subnet(supernet: Supernet, arch: Architecture, dataset: Dataset) -> tuple[Network, float]:
    """The network with its own weights and statistics, and how far its outputs are from the supernet's at most.

    The difference is relative to the largest output, or absolute where that is below 1.

    Raises: ExtractionFailed: they differ by more than 1e-5; NoSupernet; InvalidArchitecture.
    """
    batches = calibration_batches(dataset, supernet.device)
    statistics = recalibrated(supernet, arch, batches)
    network = supernet.extract(arch, statistics)
    with torch.inference_mode():
        x = batches[0][:64]
        wanted = supernet.run(arch, x, {**supernet.tensors(arch), **statistics}, norms="given")
        error = float((network(x) - wanted).abs().max() / wanted.abs().max().clamp_min(1.0))
    if not error <= TOLERANCE:
        raise ExtractionFailed(
            f"extraction: outputs differ by {error:.2g}, expected at most {TOLERANCE:g}; please report this space"
        )
    return network, error
