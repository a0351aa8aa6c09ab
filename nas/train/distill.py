"""Knowledge distillation: a network learns from the soft labels of a teacher beside the true ones.

Source: Hinton, Vinyals, Dean 2015, "Distilling the Knowledge in a Neural Network" (arXiv 1503.02531).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.typed_fields import check_types


class InvalidDistillation(ValueError):
    """A setting of the distillation is out of its range."""


@dataclass(frozen=True, eq=False)
class Distillation:
    """A teacher and how much it counts.

    Attributes:
        teacher: (N, C, H, W) normalised images -> logits (N, classes); called without gradients, on the device of the
            training.
        weight: of the soft labels, 0..1; the true labels have the rest.
        temperature: of both softmaxes; the soft loss is multiplied by its square, as published.
        name: identifies the teacher in checkpoints, for example its digest.
    """

    teacher: Callable[[Tensor], Tensor]
    weight: float = 0.5
    temperature: float = 1.0
    name: str = "teacher"

    def __post_init__(self) -> None:
        check_types(self, "distillation: ", InvalidDistillation)
        if not 0 <= self.weight <= 1 or not self.temperature > 0:
            raise InvalidDistillation(
                f"distillation: weight={self.weight}, temperature={self.temperature}, expected 0 to 1 and above 0"
            )

    def loss(self, hard: Tensor, logits: Tensor, images: Tensor) -> Tensor:
        """The weighted sum of the loss on true labels and that on the teacher's, a scalar.

        Args:
            hard: loss on the true labels.
            logits: (N, classes) of the student.
            images: (N, C, H, W) that they are of.
        """
        with torch.no_grad():
            wanted = self.teacher(images)
        return (1 - self.weight) * hard + self.weight * soft_loss(logits, wanted, self.temperature)

    def to_dict(self) -> dict[str, object]:
        """What a checkpoint of the training must fit."""
        return {"teacher": self.name, "weight": self.weight, "temperature": self.temperature}

    def begin(self, student: nn.Module, images: Tensor, seed: int) -> list[nn.Parameter]:
        """Called when a training begins; what the teaching itself learns, for the optimiser.

        Args:
            student: that is trained.
            images: (N, C, H, W) normalised, a few, on its device.
            seed: of the training.
        Raises: InvalidDistillation: the teacher does not take these images, or has other classes.
        """
        check_teacher(self.teacher, student, images)
        return []

    def fresh(self) -> Distillation:
        """For one more training: what one learns must not be another's."""
        return self

    def watch(self, student: nn.Module) -> AbstractContextManager[object]:
        """Around each forward pass of the student whose logits ``loss`` gets."""
        return nullcontext()

    def state_dict(self) -> dict[str, Tensor]:
        """What the teaching has learnt, for a checkpoint."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go back to what ``state_dict`` gave."""


def check_teacher(teacher: Callable[[Tensor], Tensor], student: nn.Module, images: Tensor) -> None:
    """Raises InvalidDistillation unless a teacher gives logits of the student's shape for the same images."""
    training = student.training
    with torch.no_grad():
        wanted = student.eval()(images)
        student.train(training)
        try:
            found = teacher(images)
        except Exception as error:  # noqa: BLE001 - a user's teacher may raise anything
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
            shape = "x".join(map(str, images.shape[1:]))
            raise InvalidDistillation(f"distillation: the teacher does not take images of {shape} ({reason})") from None
    if not isinstance(found, Tensor) or found.shape != wanted.shape:
        shown = tuple(found.shape[1:]) if isinstance(found, Tensor) else type(found).__name__
        raise InvalidDistillation(
            f"distillation: the teacher gives {shown} an image, the student {tuple(wanted.shape[1:])}; take a teacher "
            "of the same classes"
        )


def soft_loss(logits: Tensor, wanted: Tensor, temperature: float = 1.0) -> Tensor:
    """Cross-entropy with a teacher's softened outputs, times the temperature squared; its gradient is that of KL.

    Args:
        logits: (N, classes) of the student.
        wanted: (N, classes) logits of the teacher.
        temperature: of both softmaxes.
    """
    soft = F.softmax(wanted.float() / temperature, dim=1)
    return temperature**2 * F.cross_entropy(logits.float() / temperature, soft)
