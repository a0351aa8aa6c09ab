"""Boosted trees of one small depth as flat arrays: what each member of a bag of models predicts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from predictors.regressor import Floats

if TYPE_CHECKING:
    import xgboost

CHUNK = 2_048  # rows at a time: more would leave the cache


@dataclass(frozen=True)
class Stumps:
    """Trees of depth 1 of all members: each distinct question once, with what its yes adds for every member.

    Attributes:
        features: (questions,) column that is asked.
        thresholds: (questions,) float32; yes when the value, as float32, is at least so large.
        steps: (questions, members) what a yes adds.
        starts: (members,) predictions where all answers are no.
    """

    features: NDArray[np.intp]
    thresholds: NDArray[np.float32]
    steps: Floats
    starts: Floats

    @classmethod
    def of(cls, boosters: Sequence[xgboost.Booster]) -> Stumps:
        """The sums of the trees of each booster, none deeper than 1, without a base score."""
        starts = np.zeros(len(boosters))
        found: dict[tuple[int, float], Floats] = {}
        for member, booster in enumerate(boosters):
            for tree in trees_of(booster):
                values = tree["split_conditions"]
                if tree["left_children"][0] < 0:
                    starts[member] += values[0]
                    continue
                left, right = values[tree["left_children"][0]], values[tree["right_children"][0]]
                starts[member] += left
                question = (int(tree["split_indices"][0]), float(values[0]))
                found.setdefault(question, np.zeros(len(boosters)))[member] += right - left
        questions = sorted(found)
        return cls(
            np.array([feature for feature, _ in questions], np.intp),
            np.array([threshold for _, threshold in questions], np.float32),
            np.array([found[question] for question in questions]).reshape(-1, len(boosters)),
            starts,
        )

    @property
    def first(self) -> Stumps:
        """The first member alone, without questions that only others ask."""
        asked = self.steps[:, 0] != 0
        return Stumps(self.features[asked], self.thresholds[asked], self.steps[asked, :1], self.starts[:1])

    def predict(self, rows: Floats) -> Floats:
        """(n, members) sums of (n, d) rows."""
        found = np.empty((len(rows), len(self.starts)))
        for at in range(0, len(rows), CHUNK):
            found[at : at + CHUNK] = self._answers(rows[at : at + CHUNK]) @ self.steps
        return found + self.starts

    def contributions(self, rows: Floats) -> Floats:
        """(n, d) what each column adds to the first member, beside its start."""
        found = np.zeros(rows.shape)
        added = self._answers(rows) * self.steps[:, 0]
        np.add.at(found.T, self.features, added.T)
        return found

    def _answers(self, rows: Floats) -> Floats:
        return (rows.astype(np.float32)[:, self.features] >= self.thresholds).astype(np.float64)


@dataclass(frozen=True)
class Trees:
    """Trees of one depth d of all members, shorter ones filled up; a member is the sum of its trees.

    Attributes:
        features: (trees, 2**d - 1) column that each node asks, level by level.
        thresholds: (trees, 2**d - 1) float32; a smaller value goes left.
        leaves: (trees, 2**d).
        firsts: (members,) first tree of each member.
    """

    features: NDArray[np.intp]
    thresholds: NDArray[np.float32]
    leaves: Floats
    firsts: NDArray[np.intp]

    @classmethod
    def of(cls, boosters: Sequence[xgboost.Booster], depth: int) -> Trees:
        """The trees of each booster, none deeper than ``depth``, without a base score; each booster has some."""
        grown = [trees_of(booster) for booster in boosters]
        filled = [_filled(tree, depth) for trees in grown for tree in trees]
        firsts = np.cumsum([0, *(len(trees) for trees in grown[:-1])])
        return cls(
            np.array([features for features, _, _ in filled], np.intp),
            np.array([thresholds for _, thresholds, _ in filled], np.float32),
            np.array([leaves for _, _, leaves in filled], np.float64),
            firsts.astype(np.intp),
        )

    @property
    def first(self) -> Trees:
        """The first member alone."""
        end = self.firsts[1] if len(self.firsts) > 1 else len(self.leaves)
        return Trees(self.features[:end], self.thresholds[:end], self.leaves[:end], self.firsts[:1])

    def predict(self, rows: Floats) -> Floats:
        """(n, members) sums of (n, d) rows."""
        step = max(1, CHUNK * 64 // len(self.leaves))
        parts = [self._predict(rows[at : at + step]) for at in range(0, len(rows), step)]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.firsts)))

    def _predict(self, rows: Floats) -> Floats:
        count, inner = self.features.shape
        values, starts = rows.astype(np.float32).ravel(), (np.arange(len(rows)) * rows.shape[1])[:, None]
        first = np.arange(count) * inner
        node = np.zeros((len(rows), count), np.intp)
        for _ in range(inner.bit_length()):
            at = first + node
            right = values.take(starts + self.features.take(at)) >= self.thresholds.take(at)
            node = 2 * node + 1 + right
        leaves = self.leaves.take(node - inner + np.arange(count) * (inner + 1))
        found: Floats = np.add.reduceat(leaves, self.firsts, axis=1)
        return found


def trees_of(booster: xgboost.Booster) -> list[Mapping[str, Any]]:
    """As xgboost writes them: node by node, a leaf having no left child and its value as the condition."""
    content = json.loads(bytes(booster.save_raw("json")))
    trees: list[Mapping[str, Any]] = content["learner"]["gradient_booster"]["model"]["trees"]
    return trees


def _filled(tree: Mapping[str, Any], depth: int) -> tuple[list[int], list[float], list[float]]:
    """Columns and thresholds of the inner nodes and values of the leaves; below an early leaf all goes left."""
    features: list[int] = []
    thresholds: list[float] = []
    level = [0]
    for _ in range(depth):
        below = []
        for node in level:
            left = tree["left_children"][node]
            features.append(tree["split_indices"][node] if left >= 0 else 0)
            thresholds.append(tree["split_conditions"][node] if left >= 0 else np.inf)
            below += [left, tree["right_children"][node]] if left >= 0 else [node, node]
        level = below
    return features, thresholds, [tree["split_conditions"][node] for node in level]
