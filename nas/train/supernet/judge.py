"""One network of a supernet on fixed images, block by block: what it shares with the one before is not run again.

Networks that are compared on one path differ in a block or in the depth of a stage; all blocks before are the same, and
so are their statistics and outputs. They are kept from one network to the next. What is run is the same operations on
the same numbers either way, so results do not depend on what came before.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from nas.train.recalibration import NoCalibrationImages, own_statistics
from search_spaces.arch import Architecture
from search_spaces.execute import execute
from search_spaces.layers import Layer
from search_spaces.supernet import Supernet

Norms = Literal["recalibrated", "batch", "stored"]
KEPT_BYTES = 256 * 1024 * 1024  # of outputs of blocks
Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class SubnetScore:
    """What one network of a supernet does on n held-out images.

    Attributes:
        digest: of the design.
        loss: mean cross-entropy, nats; lower is better.
        loss_error: its standard error over images.
        top1: share of images that are right, 0..1.
        n: images.
    """

    digest: str
    loss: float
    loss_error: float
    top1: float
    n: int

    @property
    def score(self) -> float:
        """Negative loss: higher is better."""
        return -self.loss

    @classmethod
    def of(cls, arch: Architecture, logits: Sequence[Tensor], labels: Sequence[Tensor]) -> Self:
        """From the logits (N, classes) and labels (N,) of batches of images."""
        losses = image_losses(logits, labels)
        right = sum(int((some.argmax(1) == wanted).sum()) for some, wanted in zip(logits, labels, strict=True))
        n = len(losses)
        error = float(losses.std(ddof=1)) / math.sqrt(n) if n > 1 else math.nan
        return cls(arch.digest, float(losses.mean()), error, right / n, n)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form; ``SubnetScore(**data)`` is the same."""
        return asdict(self)


def image_losses(logits: Sequence[Tensor], labels: Sequence[Tensor]) -> NDArray[np.float64]:
    """(n,) cross-entropy of every image of batches."""
    pairs = zip(logits, labels, strict=True)
    losses = [F.cross_entropy(some.float(), wanted, reduction="none").double() for some, wanted in pairs]
    return np.asarray(torch.cat(losses).cpu().numpy(), np.float64)


@dataclass(frozen=True, slots=True)
class Stop:
    """Outputs after so many blocks.

    Attributes:
        blocks: how many.
        calibration: outputs for each batch of training images.
        images: outputs for each batch of held-out images.
    """

    blocks: int
    calibration: tuple[Tensor, ...]
    images: tuple[Tensor, ...]

    @property
    def bytes(self) -> int:
        """What it holds."""
        return sum(part.numel() * part.element_size() for part in (*self.calibration, *self.images))


class Judge:
    """Logits of networks for fixed images, each with statistics of its own.

    Args:
        supernet: in evaluation mode.
        calibration: batches of normalised training images; not used unless ``norms`` is "recalibrated".
        images: batches of normalised held-out images.
        norms: as in ``ScoringSettings``.
    Raises: NoCalibrationImages: none, or a batch of one.

    Attributes:
        blocks_run: so far, heads included.
    """

    def __init__(
        self, supernet: Supernet, calibration: Sequence[Tensor], images: Sequence[Tensor], norms: Norms
    ) -> None:
        self._supernet, self._norms = supernet, norms
        recalibrates = norms == "recalibrated"
        if recalibrates and (not calibration or min(len(batch) for batch in calibration) < 2):
            raise NoCalibrationImages("scores: a batch of fewer than 2 training images; raise calibration")
        self._start = Stop(0, tuple(calibration) if recalibrates else (), tuple(images))
        self._keys: tuple[Key, ...] = ()  # of the blocks of the last network
        self._stops: list[Stop] = []
        self.blocks_run = 0

    def logits(self, arch: Architecture) -> tuple[Tensor, ...]:
        """(N, classes) of each batch of held-out images; raises InvalidArchitecture."""
        layers, _ = self._supernet.plan(arch)
        keys = tuple(zip(self._supernet.space.sites(arch), arch.blocks, strict=True))
        with torch.inference_mode():
            tensors = self._supernet.tensors(arch)
            stop = self._resume(keys)
            for segment in _segments(layers):
                if segment[0].block >= stop.blocks or segment[0].block < 0:
                    stop = self._run(segment, tensors, stop)
                    if segment[0].block >= 0:
                        self._keep(stop)
        return stop.images

    def _resume(self, keys: tuple[Key, ...]) -> Stop:
        """The last stop that this network has in common with the one before; later ones are forgotten."""
        common = 0
        for ours, theirs in zip(keys, self._keys, strict=False):
            if ours != theirs:
                break
            common += 1
        self._keys = keys
        self._stops = [stop for stop in self._stops if stop.blocks <= common]
        return self._stops[-1] if self._stops else self._start

    def _keep(self, stop: Stop) -> None:
        self._stops.append(stop)
        while sum(each.bytes for each in self._stops) > KEPT_BYTES:
            self._stops.pop(0)

    def _run(self, segment: Sequence[Layer], tensors: Mapping[str, Tensor], stop: Stop) -> Stop:
        """A block or the head, first for the statistics, then for the held-out images."""
        self.blocks_run += 1
        outputs, statistics = own_statistics(segment, tensors, stop.calibration)
        mode: Literal["batch", "given"] = "batch" if self._norms == "batch" else "given"
        given = {**tensors, **statistics}
        images = tuple(execute(segment, given, x, norm=mode) for x in stop.images)
        return Stop(max(stop.blocks, segment[0].block + 1), tuple(outputs), images)


def _segments(layers: Sequence[Layer]) -> Iterator[list[Layer]]:
    """Layers of each block, then of the head, with inputs counted from the segment's first layer."""
    start = 0
    for at in range(1, len(layers) + 1):
        if at == len(layers) or layers[at].block != layers[start].block:
            segment = layers[start:at]
            if any(i < start - 1 for layer in segment for i in layer.inputs):
                raise AssertionError(f"block {layers[start].block} reads further back than the block before it")
            yield [layer._replace(inputs=tuple(i - start for i in layer.inputs)) for layer in segment]
            start = at
