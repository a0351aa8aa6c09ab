"""The best recipe and the given one, trained equally in fresh seeds: which one is taken, and what test images say."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from nas.narrator import Silent
from nas.train.data import Dataset
from nas.train.trials.trial import Outcome, Trial
from nas.train.tuned.comparison import compare_on_test, interval_of, paired_difference, tested_top1


def paired_trials(given: Trial, best: Mapping[str, Any], *, seed: int, repeats: int, test: bool) -> list[Trial]:
    """Both recipes in each of so many seeds that no trial had: given, best, given, best, ...

    Args:
        given: the trial of the given recipe.
        best: the other recipe.
        seed: of the tuning.
        repeats: seeds.
        test: whether they are held against the test images.
    """
    return [
        replace(given, id=2 * i + at, recipe=recipe, seed=training_seed("comparison", seed, i), test=test)
        for i in range(repeats)
        for at, recipe in enumerate((given.recipe, best))
    ]


def training_seed(what: str, seed: int, number: int) -> int:
    """A hash of all three, below 2**63."""
    return int.from_bytes(hashlib.sha256(f"tune/{what}/{seed}/{number}".encode()).digest()[:8], "big") >> 1


def judge(outcomes: Sequence[Outcome], dataset: Dataset, narrator: Silent, *, tested: bool) -> dict[str, Any]:
    """Decide by the validation images alone, whatever the test images say.

    Args:
        outcomes: of ``paired_trials``.
        dataset: of them.
        narrator: told of the decision.
        tested: whether they were held against the test images.
    Returns: "taken": whether the best recipe is better on average over seeds, and breaks in none; "validation" and
        "test" with the figures of both, where both came to their end.
    """
    pairs = list(zip(outcomes[::2], outcomes[1::2], strict=True))
    sound = [pair for pair in pairs if all(outcome.finished for outcome in pair)]
    broken = [best.failure for _, best in pairs if best.failure]
    if broken:
        narrator.say(f"tune: the tuned recipe breaks in {len(broken)} of {len(pairs)} fresh seeds ({broken[0]})")
    if not sound:
        return {"taken": not broken}
    given, best = [pair[0] for pair in sound], [pair[1] for pair in sound]
    tops = [[outcome.curve[-1].validation_top1 for outcome in side] for side in (best, given)]
    difference = paired_difference(tops[0], tops[1])
    taken = difference.value > 0 and not broken
    figures = _figures(tops[0], tops[1], len(dataset.validation))
    validation = {**figures, "difference": {**asdict(difference), "verdict": difference.verdict}}
    narrator.say(
        f"tune: in {len(sound)} fresh seed(s) {figures['best']:.4f} against {figures['given']:.4f} of the given recipe "
        f"on the validation images; the {'tuned' if taken else 'given'} recipe is taken"
    )
    return {"taken": taken, "validation": validation, **({"test": _on_test(best, given, dataset)} if tested else {})}


def _on_test(best: Sequence[Outcome], given: Sequence[Outcome], dataset: Dataset) -> dict[str, Any]:
    images = len(dataset.test)
    difference = compare_on_test(best, given, images)
    figures = _figures(tested_top1(best, images), tested_top1(given, images), images)
    return {**figures, "difference": {**asdict(difference), "verdict": difference.verdict}}


def _figures(best: Sequence[float], given: Sequence[float], images: int) -> dict[str, Any]:
    """Means over seeds, each with the interval of one network's accuracy for so many images."""
    means = {"best": sum(best) / len(best), "given": sum(given) / len(given)}
    intervals = {f"{side}_interval": interval_of(mean, images) for side, mean in means.items()}
    return {"images": images, "seeds": len(best), **means, **intervals}
