"""A small student without a teacher, and with teachers taken from one training of a larger network.

    python benchmarks/bench_distillation.py [--log distillation.jsonl] [--seeds 5] [--train 3000] [--epochs 12]
        [--snapshots 4] [--weight 0.5] [--temperature 5] [--label-smoothing 0]
        [--arms final half chosen uniform attention entropy]

Teacher and student are ``small_resnet.SmallResNet`` of width 16 and 5 on Fashion-MNIST, 14 x 14. For every seed a
teacher is trained anew and keeps ``--snapshots`` of its weights at even intervals; all students of a seed share initial
weights, batch order, recipe and epochs. No labels are smoothed, as in the papers. Arms:

none        labels alone.
final       the teacher at the end of its training.
half        the snapshot half-way.
chosen      the snapshot that ``nas.train.teacher_choice`` takes, from training images alone.
uniform     all snapshots, equal weights.
attention   all snapshots, weights learned for every image (EEKD).
entropy     the same with a reward of 1 for spread weights; only when asked for.

Accuracies are on the 10,000 test images, once for each student; paired differences to "none" and to "final" have
t-intervals over seeds. ``--log`` keeps the results of every seed and goes on from there when called again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from json_line import emit, skip
from scipy import stats
from small_fashion import small_fashion
from small_resnet import SmallResNet
from torch import nn

from nas.compress.groups import Coupling
from nas.compress.sliced_cost import SlicedCost
from nas.train.checkpoint_teachers import CheckpointTeachers, features_of, train_with_snapshots
from nas.train.data import Dataset, InvalidDataset
from nas.train.distill import Distillation
from nas.train.evaluate import Normaliser, evaluate, evaluate_test, to_tensors
from nas.train.fit import Training, fit
from nas.train.recipe import Recipe
from nas.train.teacher_choice import choose_teacher

VALIDATION = 1000
SHAPE = (1, 14, 14)
TEACHER, STUDENT = 16, 5  # widths
ARMS = ("final", "half", "chosen", "uniform", "attention", "entropy")
PASSES = 3  # a step of training costs three forward passes: one forward, two backward


@dataclass(frozen=True)
class Setting:
    """What all arms share."""

    dataset: Dataset
    recipe: Recipe
    snapshots: int
    weight: float
    temperature: float

    def key(self) -> list[float]:
        """What a line of the log must fit."""
        learned = [len(self.dataset.train), self.recipe.epochs, self.recipe.label_smoothing]
        return [*learned, self.snapshots, self.weight, self.temperature]


def main() -> None:
    """Train what the log does not hold and print all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--train", type=int, default=3000)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--snapshots", type=int, default=4, help="an even number, so that one is half-way")
    parser.add_argument("--weight", type=float, default=0.5)
    parser.add_argument("--temperature", type=float, default=5.0)
    parser.add_argument("--label-smoothing", type=float, default=0.0, help="of teachers and students")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS[:-1])
    asked = parser.parse_args()
    if asked.snapshots % 2 or asked.epochs % asked.snapshots:
        parser.error(f"{asked.snapshots} snapshots of {asked.epochs} epochs: expected an even number that divides them")
    torch.set_num_threads(1)
    try:
        dataset = small_fashion(asked.train, VALIDATION)
    except InvalidDataset as error:
        skip("distillation", str(error))
        return
    recipe = Recipe(epochs=asked.epochs, label_smoothing=asked.label_smoothing)
    setting = Setting(dataset, recipe, asked.snapshots, asked.weight, asked.temperature)
    report([logged(seed, setting, asked.arms, asked.log) for seed in range(asked.seeds)], asked.arms, setting)


def logged(seed: int, setting: Setting, arms: list[str], path: Path | None) -> dict[str, Any]:
    """The results of a seed, from the log where they are there."""
    lines = path.read_text().splitlines() if path is not None and path.exists() else []
    for row in map(json.loads, lines):
        if row["seed"] == seed and row["setting"] == setting.key() and set(arms) <= set(row["top1"]):
            return row
    row = {"seed": seed, "setting": setting.key(), **one_seed(seed, setting, arms)}
    if path is not None:
        with path.open("a") as file:
            file.write(json.dumps(row) + "\n")
    return row


def network(width: int, seed: int) -> SmallResNet:
    """With initial weights of the seed."""
    torch.manual_seed(seed)
    return SmallResNet(width)


def one_seed(seed: int, setting: Setting, arms: list[str]) -> dict[str, Any]:
    """One teacher and its students; test accuracies in percent."""
    start = time.process_time()
    teachers = snapshots(seed, setting)
    seconds = {"teacher": round(time.process_time() - start, 1)}
    start = time.process_time()
    chosen, scores = choose_teacher(teachers, setting.dataset)
    seconds["choice"] = round(time.process_time() - start, 1)
    facts: dict[str, Any] = {
        "chosen": chosen,
        "about_image": [round(score.about_image, 2) for score in scores],
        "about_label": [round(score.about_label, 3) for score in scores],
        "snapshots_validation": [round(validation(teacher, setting), 2) for teacher in teachers],
    }
    top1 = {"teacher": 100 * evaluate_test(teachers[-1], setting.dataset).top1}
    for arm in ("none", *arms):
        start = time.process_time()
        student, teaching = network(STUDENT, 1000 + seed), distillation(arm, teachers, chosen, setting)
        fit(student, setting.dataset, setting.recipe, seed=1000 + seed, distillation=teaching)
        seconds[arm] = round(time.process_time() - start, 1)
        top1[arm] = 100 * evaluate_test(student, setting.dataset).top1
        if isinstance(teaching, CheckpointTeachers) and teaching.attention:
            facts[f"weights_{arm}"] = mean_weights(student, teaching, setting.dataset)
    return {"top1": top1, "cpu_seconds": seconds, **facts}


def snapshots(seed: int, setting: Setting) -> list[nn.Module]:
    """Train a teacher; its networks at even intervals, oldest first."""
    training = Training(network(TEACHER, seed), setting.dataset, setting.recipe, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        files = train_with_snapshots(training, setting.recipe.epochs, setting.snapshots, Path(folder))
        found: list[nn.Module] = []
        for file in files:
            teacher = network(TEACHER, seed)
            teacher.load_state_dict(torch.load(file, weights_only=True))
            found.append(teacher.eval().requires_grad_(False))
    return found


def distillation(arm: str, teachers: list[nn.Module], chosen: int, setting: Setting) -> Distillation | None:
    """Who teaches in an arm."""
    single = {"final": len(teachers) - 1, "half": len(teachers) // 2 - 1, "chosen": chosen}
    if arm == "none":
        return None
    if arm in single:
        return Distillation(teachers[single[arm]], setting.weight, setting.temperature, name=arm)
    return CheckpointTeachers.of(
        teachers,
        weight=setting.weight,
        temperature=setting.temperature,
        attention=arm != "uniform",
        entropy=1.0 if arm == "entropy" else 0.0,
        name=arm,
    )


def validation(model: nn.Module, setting: Setting) -> float:
    """Accuracy in percent on the validation images."""
    return 100 * evaluate(model, *to_tensors(setting.dataset.validation), normalise=Normaliser(setting.dataset)).top1


def mean_weights(student: nn.Module, teaching: CheckpointTeachers, dataset: Dataset) -> list[float]:
    """Of every snapshot, on validation images."""
    images = Normaliser(dataset)(to_tensors(dataset.validation)[0])
    with torch.no_grad():
        with teaching.watch(student):
            student(images)
        features = [features_of(teacher, images)[1] for teacher in teaching.teachers]
        return [round(value, 4) for value in teaching.weights(features, len(images)).mean(0).tolist()]


def report(rows: list[dict[str, Any]], arms: list[str], setting: Setting) -> None:
    """One line an arm, then the paired differences and what was chosen."""
    every = setting.recipe.epochs // setting.snapshots
    macs = {w: SlicedCost(SmallResNet(w), Coupling({}, {}, SHAPE)).macs({}) for w in (TEACHER, STUDENT)}
    taught = {"teacher": 0, "none": 0, "uniform": setting.snapshots}
    size = setting.recipe.batch_size
    seen = setting.recipe.epochs * (len(setting.dataset.train) // size) * size  # images
    for arm in ("teacher", "none", *arms):
        values = [row["top1"][arm] for row in rows]
        forwards = setting.snapshots if arm in ("uniform", "attention", "entropy") else taught.get(arm, 1)
        own = macs[TEACHER if arm == "teacher" else STUDENT]
        emit(
            f"distillation.{arm}",
            values,
            "% test accuracy",
            **spread(values),
            training_macs=round(seen * (PASSES * own + forwards * macs[TEACHER]) / 1e9),
            training_macs_unit="GMAC a network, without the teacher's own training",
            cpu_seconds=round(float(np.mean([row["cpu_seconds"][arm] for row in rows])), 1),
            epochs=setting.recipe.epochs,
            train_images=len(setting.dataset.train),
            **({"weights": [row[key] for row in rows]} if (key := f"weights_{arm}") in rows[0] else {}),
        )
    for base in ("none", "final"):
        for arm in arms:
            if arm != base and base in rows[0]["top1"]:
                difference(rows, arm, base)
    if {"uniform", "attention"} <= set(arms):
        difference(rows, "attention", "uniform")
    emit(
        "distillation.epoch of the chosen snapshot",
        [every * (row["chosen"] + 1) for row in rows],
        "epochs",
        seeds=[every * (row["chosen"] + 1) for row in rows],
        about_image_nats=[row["about_image"] for row in rows],
        about_label_nats=[row["about_label"] for row in rows],
        snapshots_validation_percent=[row["snapshots_validation"] for row in rows],
        cpu_seconds=[row["cpu_seconds"]["choice"] for row in rows],
    )


def spread(values: list[float]) -> dict[str, object]:
    """Mean, deviation and the values themselves."""
    deviation = round(float(np.std(values, ddof=1)), 2) if len(values) > 1 else None
    return {"mean": round(float(np.mean(values)), 2), "sd": deviation, "seeds": [round(value, 2) for value in values]}


def difference(rows: list[dict[str, Any]], first: str, second: str) -> None:
    """Paired difference in points with its 95 % t-interval over seeds."""
    found = np.array([row["top1"][first] - row["top1"][second] for row in rows])
    mean, facts = float(found.mean()), {}
    if len(found) > 1:
        half = float(stats.t.ppf(0.975, len(found) - 1) * found.std(ddof=1) / np.sqrt(len(found)))
        facts["t_interval"] = [round(mean - half, 2), round(mean + half, 2)]
    emit(f"distillation.{first} minus {second}", found.tolist(), "points, paired", mean=round(mean, 2),
         pairs=found.round(2).tolist(), **facts)  # fmt: skip


if __name__ == "__main__":
    main()
