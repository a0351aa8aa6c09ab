"""Local variants of one stage, trained briefly inside the frozen master, and what each does to its loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from hardware.pieces import head_layers
from nas.train.evaluate import Normaliser, to_tensors
from nas.train.images import Dataset
from search_spaces.arch import Architecture, Block
from search_spaces.build import Network
from search_spaces.execute import execute
from search_spaces.expand import block_inputs, block_output, expand_block
from search_spaces.layers import Layer, Shape

PEAK_RATE = 5e-3  # of Adam, falling to 0 along a half cosine
BATCH = 64
EVALUATION_BATCH = 512


class Part(NamedTuple):
    """A block of the frozen master, or its classifier, with its tensors."""

    layers: tuple[Layer, ...]
    tensors: Mapping[str, Tensor]

    def __call__(self, x: Tensor) -> Tensor:
        """The part's output in evaluation mode, batch by batch."""
        with torch.no_grad():
            return torch.cat([execute(self.layers, self.tensors, piece) for piece in torch.split(x, EVALUATION_BATCH)])


class Effect(NamedTuple):
    """What the master does with one stage replaced.

    Attributes:
        loss: mean cross-entropy on the validation images, nats.
        top1: share of them that are right, 0..1.
        distance: squared error of the stage's maps over their variance, after the brief training.
    """

    loss: float
    top1: float
    distance: float


@dataclass(frozen=True)
class FrozenMaster:
    """A trained master cut into blocks.

    Attributes:
        parts: one a block, and the classifier.
        inputs: block and the shape of what it receives.
        train_images, validation_images: normalised, (N, C, H, W).
        labels: of the validation images.
    """

    parts: tuple[Part, ...]
    inputs: tuple[tuple[Block, Shape], ...]
    train_images: Tensor
    validation_images: Tensor
    labels: Tensor

    @classmethod
    def of(cls, network: Network, dataset: Dataset, most_images: int) -> FrozenMaster:
        """Cut a trained network; at most so many training images are used for distillation."""
        inputs = tuple(block_inputs(network.arch, dataset.input_shape))
        state = {name: value.detach() for name, value in network.state_dict().items()}
        parts = [_part(state, f"blocks.{i}.", expand_block(*each)) for i, each in enumerate(inputs)]
        parts.append(Part(head_layers(block_output(*inputs[-1]), dataset.num_classes), state))
        images, _ = to_tensors(dataset.train)
        validation, labels = to_tensors(dataset.validation)
        normalise = Normaliser(dataset)
        chosen = torch.linspace(0, len(images) - 1, min(most_images, len(images))).long()
        return cls(tuple(parts), inputs, normalise(images[chosen]), normalise(validation), labels)

    def effect(self, maps: Tensor, stage: int, distance: float) -> Effect:
        """Loss and accuracy when the stage gives these maps for the validation images."""
        for part in self.parts[stage + 1 :]:
            maps = part(maps)
        loss = float(F.cross_entropy(maps, self.labels))
        return Effect(loss, float((maps.argmax(1) == self.labels).float().mean()), distance)

    def own_effect(self) -> Effect:
        """The master as it is."""
        maps = self.validation_images
        for part in self.parts[:-1]:
            maps = part(maps)
        return self.effect(maps, len(self.parts) - 2, 0.0)


class Stage:
    """One stage of the frozen master with its inputs and targets computed once, to try variants of it.

    Args:
        master: the frozen network.
        at: the stage's position.
    """

    def __init__(self, master: FrozenMaster, at: int) -> None:
        self.master, self.at = master, at
        inputs, validation = master.train_images, master.validation_images
        for part in master.parts[:at]:
            inputs, validation = part(inputs), part(validation)
        self._inputs, self._validation = inputs, validation
        self._targets = master.parts[at](inputs)
        self._scale = float(self._targets.var())

    def try_variant(self, block: Block, *, steps: int, seed: int) -> Effect:
        """Train a block in the stage's place for a few steps and put it into the master.

        Args:
            block: with the stage's stride; of another width it gets a 1x1 adapter.
            steps: of Adam on batches of 64.
            seed: of the initial weights and the batches.
        """
        generator = Generator().manual_seed(seed)
        variant = self._build(block, seed)
        optimiser = torch.optim.Adam(variant.parameters(), lr=PEAK_RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        variant.train()
        for _ in range(steps):
            batch = torch.randint(len(self._inputs), (min(BATCH, len(self._inputs)),), generator=generator)
            loss = F.mse_loss(variant(self._inputs[batch]), self._targets[batch]) / self._scale
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
        variant.eval()
        with torch.no_grad():
            maps = torch.cat([variant(piece) for piece in torch.split(self._validation, EVALUATION_BATCH)])
            expected = self.master.parts[self.at](self._validation)
            distance = float(F.mse_loss(maps, expected)) / self._scale
        return self.master.effect(maps, self.at, distance)

    def _build(self, block: Block, seed: int) -> nn.Module:
        _, in_shape = self.master.inputs[self.at]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            body = Network(expand_block(block, in_shape), Architecture((block,)), 0, in_shape[0])
            width, wanted = block.channels, self._targets.shape[1]
            return body if width == wanted else nn.Sequential(body, nn.Conv2d(width, wanted, 1))


def _part(state: Mapping[str, Tensor], prefix: str, layers: Sequence[Layer]) -> Part:
    tensors = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    return Part(tuple(layers), tensors)
