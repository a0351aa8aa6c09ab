"""Distillation from several checkpoints of one teacher's training, weighted anew for every image.

Soft targets are sum_i w_i softmax(z_i / T) over the checkpoints' logits z_i, with w = softmax_i <A v, B u_i>: v and u_i
are the features that student and checkpoint i classify by, A and B linear maps that are trained with the student.
Source: Wang et al. 2022, "Learn From the Past: Experience Ensemble Knowledge Distillation" (EEKD, arXiv 2202.12488).
Deviations: features have length 1 before A and B; the student's are not changed by the weights' gradient; the entropy
of the weights may be rewarded, because maps that only lower the loss tend to choose the checkpoint that is closest to
the student.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.train.distill import Distillation, InvalidDistillation, check_teacher
from nas.train.fit import EpochReport, Training

_WIDTH = 64  # of the space in which student and checkpoints are compared


@dataclass(frozen=True, eq=False)
class CheckpointTeachers(Distillation):
    """Checkpoints of one training as teachers; give it wherever a training takes a ``distillation``.

    Attributes:
        teacher: the first checkpoint; kept for what reads one teacher.
        teachers: all checkpoints, frozen, on the device of the training.
        attention: whether weights are learnt; else all are equal.
        entropy: reward for weights that are spread out, in units of the soft loss; 0 for none, as published.
    """

    teachers: Sequence[nn.Module] = ()
    attention: bool = True
    entropy: float = 0.0
    _maps: nn.ModuleDict = field(default_factory=nn.ModuleDict, repr=False)
    _seen: dict[str, Tensor] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls,
        teachers: Sequence[nn.Module],
        *,
        weight: float = 0.5,
        temperature: float = 5.0,
        attention: bool = True,
        entropy: float = 0.0,
        name: str = "checkpoints",
    ) -> CheckpointTeachers:
        """Teachers with the paper's weight 0.5 and temperature 5.

        Args:
            teachers: (N, C, H, W) -> logits; set to evaluation mode and frozen here.
            weight: of the soft labels.
            temperature: of all softmaxes.
            attention: whether weights are learnt.
            entropy: reward for spread weights.
            name: identifies the teachers in checkpoints of the student.
        Raises: InvalidDistillation.
        """
        if not teachers:
            raise InvalidDistillation("distillation: no checkpoints, expected at least one")
        if not entropy >= 0:
            raise InvalidDistillation(f"distillation: entropy={entropy}, expected at least 0")
        frozen = [teacher.eval().requires_grad_(False) for teacher in teachers]
        return cls(frozen[0], weight, temperature, name, teachers=frozen, attention=attention, entropy=entropy)

    def to_dict(self) -> dict[str, object]:
        """What a checkpoint of the training must fit."""
        learned = {"teachers": len(self.teachers), "attention": self.attention, "entropy": self.entropy}
        return {**super().to_dict(), **learned}

    def begin(self, student: nn.Module, images: Tensor, seed: int) -> list[nn.Parameter]:
        """New maps A and B from the seed, if weights are learnt."""
        for teacher in self.teachers:
            check_teacher(teacher, student, images)
        if not self.attention or len(self.teachers) < 2:
            return []
        training = student.training
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            widths = [features_of(network.eval(), images)[1].shape[1] for network in (student, self.teachers[0])]
            maps = {name: nn.Linear(w, _WIDTH, bias=False) for name, w in zip(("A", "B"), widths, strict=True)}
        student.train(training)
        self._maps.clear()
        self._maps.update({name: each.to(images.device) for name, each in maps.items()})
        return list(self._maps.parameters())

    def fresh(self) -> CheckpointTeachers:
        """The same teachers with maps of their own."""
        return replace(self, _maps=nn.ModuleDict(), _seen={})

    @contextmanager
    def watch(self, student: nn.Module) -> Iterator[None]:
        """Keep the features that the student classifies by, while it computes."""
        if not self._maps:
            yield
            return
        with _watched(student) as seen:
            yield
            self._seen["student"] = seen()

    def loss(self, hard: Tensor, logits: Tensor, images: Tensor) -> Tensor:
        """(1 - weight) hard + weight T^2 KL(mixed || student), less the reward of entropy."""
        with torch.no_grad():
            pairs = [features_of(teacher, images) for teacher in self.teachers]
        soft = torch.stack([F.softmax(made.float() / self.temperature, dim=1) for made, _ in pairs], dim=1)
        weights = self.weights([features for _, features in pairs], len(images))
        mixed = (weights[:, :, None] * soft).sum(1)
        divergence = F.kl_div(
            F.log_softmax(logits.float() / self.temperature, dim=1), mixed.clamp_min(1e-12), reduction="batchmean"
        )
        soft_loss = self.temperature**2 * divergence
        if self.entropy and self._maps:
            soft_loss = soft_loss + self.entropy * (weights * weights.clamp_min(1e-12).log()).sum(1).mean()
        return (1 - self.weight) * hard + self.weight * soft_loss

    def weights(self, features: Sequence[Tensor], count: int) -> Tensor:
        """(N, checkpoints) of the images that the student has just seen; rows sum to 1.

        Args:
            features: of each checkpoint, (N, width).
            count: N.
        """
        many = len(self.teachers)
        if not self._maps:
            return torch.full((count, many), 1 / many, device=features[0].device)
        own = self._maps["A"](F.normalize(self._seen["student"].detach().float(), dim=1))
        theirs = self._maps["B"](F.normalize(torch.stack(list(features), 1).float(), dim=2))
        return F.softmax((own[:, None] * theirs).sum(2), dim=1)

    def state_dict(self) -> dict[str, Tensor]:
        """The maps."""
        return {name: value.detach().clone() for name, value in self._maps.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take the maps of a checkpoint."""
        self._maps.load_state_dict(dict(state))


@contextmanager
def _watched(network: nn.Module) -> Iterator[Callable[[], Tensor]]:
    """Within, a function gives what the last layer of the latest forward pass read, as (N, width)."""
    read: list[Tensor] = []

    def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        read[:] = [inputs[0]]

    layers = [m for m in network.modules() if isinstance(m, nn.Linear | nn.modules.conv._ConvNd)]
    handles = [layer.register_forward_pre_hook(keep) for layer in layers]

    def latest() -> Tensor:
        if not read:
            raise InvalidDistillation(
                f"distillation: {type(network).__name__} has no linear layer or convolution; use equal weights"
            )
        found = read[0]
        return found.flatten(2).mean(2) if found.ndim > 2 else found

    try:
        yield latest
    finally:
        for handle in handles:
            handle.remove()


def features_of(network: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Logits, and the features that the last layer read."""
    with _watched(network) as seen:
        logits = network(images)
        return logits, seen()


def train_with_snapshots(
    training: Training,
    epochs: int,
    count: int,
    folder: Path,
    on_epoch: Callable[[EpochReport], None] | None = None,
) -> list[Path]:
    """Train a teacher and keep its weights at even intervals, the last epoch included.

    Args:
        training: at its start; goes on from its checkpoint in the folder where there is one.
        epochs: in all.
        count: of snapshots, 1 to ``epochs``.
        folder: of the snapshots, "epoch-010.pt" and so on, state dicts of the network that would be delivered.
        on_epoch: called after every epoch that is trained now.
    Returns: the files, oldest first.
    Raises: InvalidDistillation, TrainingDiverged, InvalidCheckpoint.
    """
    if not 1 <= count <= epochs:
        raise InvalidDistillation(f"snapshots: {count} of {epochs} epochs, expected 1 to {epochs}")
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / "training.pt"
    if checkpoint.exists():
        training.load(checkpoint)
    at = {round(epochs * part / count) for part in range(1, count + 1)}
    while training.epoch < epochs:
        report = training.train_epoch()
        if training.epoch in at:
            torch.save(training.final.state_dict(), folder / f"epoch-{training.epoch:03d}.pt")
        training.save(checkpoint)
        if on_epoch is not None:
            on_epoch(report)
    return [folder / f"epoch-{epoch:03d}.pt" for epoch in sorted(at)]
