"""Distillation from checkpoints: equal to plain distillation with one, learnt weights, resume, choice of a teacher."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from nas.train.checkpoint_teachers import CheckpointTeachers, train_with_snapshots
from nas.train.data import Dataset, load_dataset
from nas.train.distill import Distillation, InvalidDistillation
from nas.train.fit import Training, fit
from nas.train.images import Split
from nas.train.recipe import Recipe
from nas.train.teacher_choice import choose_teacher

RECIPE = Recipe(epochs=2, batch_size=32, learning_rate=0.05, ema_decay=0)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    whole = load_dataset("digits")
    train = Split(whole.train.images[:256], whole.train.labels[:256])
    return Dataset("few digits", train, whole.validation, whole.test, whole.classes)


def network(seed: int, width: int = 8) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.Linear(4 * width, 10),
    )  # fmt: skip


def gradients(distillation: Distillation, student: nn.Module, images: torch.Tensor) -> list[torch.Tensor]:
    student.zero_grad()
    labels = torch.arange(len(images)) % 10
    with distillation.watch(student):
        logits = student(images)
    distillation.loss(nn.functional.cross_entropy(logits, labels), logits, images).backward()
    return [parameter.grad.clone() for parameter in student.parameters() if parameter.grad is not None]


def test_one_checkpoint_is_plain_distillation() -> None:
    student, teacher, images = network(0), network(1, 12).eval(), torch.randn(8, 1, 8, 8)
    one = CheckpointTeachers.of([teacher], weight=0.3, temperature=4)
    assert one.begin(student, images, 0) == []
    for a, b in zip(
        gradients(one, student, images), gradients(Distillation(teacher, 0.3, 4.0), student, images), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-7)


def test_a_student_that_equals_its_teachers_has_no_soft_gradient() -> None:
    student = network(0).eval()
    teachers = CheckpointTeachers.of([copy.deepcopy(student), copy.deepcopy(student)], weight=1.0)
    teachers.begin(student, torch.randn(2, 1, 8, 8), 0)
    student.eval()
    assert all(float(g.abs().max()) < 1e-6 for g in gradients(teachers, student, torch.randn(8, 1, 8, 8)))


def test_weights_are_learnt_and_sum_to_one() -> None:
    student, images = network(0), torch.randn(8, 1, 8, 8)
    teachers = CheckpointTeachers.of([network(seed, 12) for seed in (1, 2, 3)])
    learned = teachers.begin(student, images, 5)
    assert [tuple(each.shape) for each in learned] == [(64, 32), (64, 48)]
    again = CheckpointTeachers.of([network(seed, 12) for seed in (1, 2, 3)]).begin(student, images, 5)
    assert all(torch.equal(a, b) for a, b in zip(learned, again, strict=True))
    gradients(teachers, student, images)
    assert all(parameter.grad is not None and float(parameter.grad.abs().max()) > 0 for parameter in learned)
    features = [torch.randn(8, 48) for _ in range(3)]
    weights = teachers.weights(features, 8)
    torch.testing.assert_close(weights.sum(1), torch.ones(8))
    assert float(weights.detach().std(0).max()) > 0


def test_training_resumes_bit_for_bit_with_its_maps(tmp_path: Path, digits: Dataset) -> None:
    def teachers() -> CheckpointTeachers:
        return CheckpointTeachers.of([network(seed, 12) for seed in (1, 2)], entropy=0.1)

    whole = Training(network(0), digits, RECIPE, seed=3, distillation=teachers())
    reports = [whole.train_epoch(), whole.train_epoch()]
    first = Training(network(0), digits, RECIPE, seed=3, distillation=teachers())
    first.train_epoch()
    first.save(tmp_path / "half.pt")
    second = Training(network(0), digits, RECIPE, seed=3, distillation=teachers())
    second.load(tmp_path / "half.pt")
    assert second.train_epoch() == reports[1]
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name])
    assert whole.distillation is not None
    assert second.distillation is not None
    for name, value in whole.distillation.state_dict().items():
        assert torch.equal(value, second.distillation.state_dict()[name])


def test_hooks_do_not_stay_on_the_student(digits: Dataset) -> None:
    student = network(0)
    fit(student, digits, RECIPE, seed=0, distillation=CheckpointTeachers.of([network(1), network(2)]))
    assert not any(module._forward_pre_hooks for module in student.modules())


def test_snapshots_are_kept_and_a_killed_training_goes_on(tmp_path: Path, digits: Dataset) -> None:
    recipe = Recipe(epochs=4, batch_size=32, learning_rate=0.05)
    files = train_with_snapshots(Training(network(0), digits, recipe, seed=0), 4, 2, tmp_path / "whole")
    assert [file.name for file in files] == ["epoch-002.pt", "epoch-004.pt"]
    halves = tmp_path / "halves"
    train_with_snapshots(Training(network(0), digits, recipe, seed=0), 2, 1, halves)
    again = train_with_snapshots(Training(network(0), digits, recipe, seed=0), 4, 2, halves)
    for a, b in zip(files, again, strict=True):
        first, second = torch.load(a, weights_only=True), torch.load(b, weights_only=True)
        assert all(torch.equal(first[name], second[name]) for name in first)
    with pytest.raises(InvalidDistillation, match="5 of 4 epochs, expected 1 to 4"):
        train_with_snapshots(Training(network(0), digits, recipe, seed=0), 4, 5, tmp_path / "more")


def test_teacher_with_features_of_image_and_label_is_chosen(digits: Dataset) -> None:
    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out = nn.Linear(4, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(x.new_zeros(len(x), 4) + x.mean((1, 2, 3))[:, None] * 1e-3)

    trained = network(0)
    fit(trained, digits, Recipe(epochs=5, batch_size=32, learning_rate=0.1), seed=0)
    at, scores = choose_teacher([Constant(), trained], digits, images=256)
    assert at == 1
    assert scores[1].about_label > scores[0].about_label
    assert scores[1].about_image > scores[0].about_image
    assert np.isfinite([score.total for score in scores]).all()
    with pytest.raises(InvalidDistillation, match="expected at least two"):
        choose_teacher([trained], digits)
    with pytest.raises(InvalidDistillation, match="no checkpoints"):
        CheckpointTeachers.of([])


def test_trainings_that_share_teachers_have_maps_of_their_own(digits: Dataset) -> None:
    shared = CheckpointTeachers.of([network(seed, 12) for seed in (1, 2)])
    first = Training(network(0), digits, RECIPE, seed=3, distillation=shared)
    second = Training(network(0), digits, RECIPE, seed=4, distillation=shared)
    for training in (first, second, first, second):
        training.train_epoch()
    alone = Training(network(0), digits, RECIPE, seed=3, distillation=shared)
    alone.train_epoch()
    alone.train_epoch()
    for name, value in alone.model.state_dict().items():
        assert torch.equal(value, first.model.state_dict()[name])
    assert alone.distillation is not None
    assert len(alone.distillation.state_dict()) == 2
