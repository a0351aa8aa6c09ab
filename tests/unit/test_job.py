"""The decisions of the main job: verdicts, finalists, baselines, the guard's sentence."""

from dataclasses import replace

import numpy as np
import pytest

from hardware.conditions import Conditions
from hardware.counts import count
from hardware.measure import Measurement
from nas.algorithms.evolution import depth_niche
from nas.job.baselines import scaled_mobilenets, scaled_resnets, strides_of
from nas.job.delivery_stage import judge, sentence
from nas.job.finalists_stage import _take_turns
from nas.job.guard_stage import _distance, _verdict
from search_spaces.build import build
from search_spaces.zen import ZEN, ZEN_IMAGENET, ZEN_TINY

CONDITIONS = Conditions("onnxruntime", (1, 8, 8), "cpu", "f", 2, "1", "2", "1", "3.11", 0.1, 0.0, "2026-01-01")
MEASURED = Measurement("m", 1.0, 0.97, 1.03, 1.0, 1.1, 50, (1.0, 1.01), "fifo", "ok", "", 0.0, CONDITIONS)


@pytest.mark.parametrize(
    ("change", "budget_ms", "verdict"),
    [
        ({}, 1.03, "kept"),
        ({}, 1.0, "unclear"),  # the interval lies across the budget
        ({}, 0.97, "unclear"),
        ({}, 0.96, "missed"),
        ({"verdict": "noisy"}, 1.1, "kept"),  # the interval is to be believed
        ({"verdict": "void"}, 9.0, "unclear"),  # never a kept budget
        ({"verdict": "void"}, 0.1, "unclear"),
        ({}, None, "no budget"),
    ],
)
def test_only_the_whole_interval_decides(change, budget_ms, verdict):
    assert judge(replace(MEASURED, **change), budget_ms) == verdict


def test_every_verdict_has_a_sentence_with_the_figure():
    for verdict in ("kept", "missed", "unclear"):
        text = sentence(verdict, MEASURED, 0.99)
        assert "1.000 ms [0.970, 1.030]" in text
        assert "0.99 ms" in text
    assert "no latency budget" in sentence("no budget", MEASURED, None)
    assert "busy" in sentence("unclear", replace(MEASURED, verdict="void", reason="busy"), 2.0)


def test_finalists_of_evenly_spaced_depths_take_turns():
    rows = [{"id": i, "score": -i, "convs": convs} for i, convs in enumerate((64, 64, 16, 16, 4, 4, 8, 32))]
    turns = _take_turns(rows, 3)
    assert [row["convs"] for row in turns[:3]] == [4, 16, 64]
    assert [row["id"] for row in turns[:3]] == [4, 2, 0]  # the best of each
    assert [row["id"] for row in turns[3:]] == [5, 3, 1]  # then the second best
    assert _take_turns(rows[:1], 5) == rows[:1]


def test_niches_of_depth_grow_with_depth():
    niches = [depth_niche(convs) for convs in range(1, 400)]
    assert niches == sorted(niches)
    assert niches[:8] == list(range(1, 9))
    assert len(set(niches)) < 40


@pytest.mark.parametrize("space", [ZEN, ZEN_TINY, ZEN_IMAGENET], ids=lambda space: space.name)
def test_baselines_have_the_strides_of_the_searched_network(space):
    strides = strides_of(space.seed)
    shape = (3, 64, 64)
    for family in (scaled_resnets(strides), scaled_mobilenets(strides)):
        assert all(strides_of(arch)[2:] == strides[2:] for arch in family)
        costs = [count(arch, shape, 10).macs for arch in family]
        assert min(costs) * 20 < max(costs)  # a ladder, not a point
        build(family[0], num_classes=10)


def test_a_baseline_that_is_slower_comes_last():
    latencies = [0.5, 0.9, 1.02, 1.2]
    assert min(latencies, key=lambda ms: _distance(ms, 1.0)) == 1.02
    assert min([0.5, 1.2], key=lambda ms: _distance(ms, 1.0)) == 0.5


def row(name, latency_ms, *top1):
    return {"name": name, "latency_ms": latency_ms, "top1": list(top1)}


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([row("searched", 1.0, 0.90, 0.91), row("a", 1.0, 0.80, 0.81), row("b", 0.9, 0.7, 0.7)], "the search helped"),
        ([row("searched", 1.0, 0.80, 0.81), row("a", 1.0, 0.90, 0.91)], "did not help"),
        ([row("searched", 1.0, 0.80, 0.90), row("a", 1.0, 0.86, 0.80)], "no clear difference"),
        ([row("searched", 1.0, 0.90), row("a", 1.0, 0.80)], "not a conclusion"),  # one seed
        ([row("searched", 1.0, 0.90, 0.91), row("a", 1.5, 0.99, 0.99)], "no comparison"),  # slower: not a rival
        ([row("searched", 1.0), row("a", 1.0, 0.8)], "no comparison"),  # the trainings diverged
    ],
)
def test_the_guard_says_what_the_figures_say(rows, words):
    assert words in _verdict(rows)


def test_the_guard_compares_with_the_best_baseline():
    text = _verdict([row("searched", 1.0, 0.9, 0.9), row("weak", 1.0, 0.5, 0.5), row("strong", 1.0, 0.88, 0.88)])
    assert "strong" in text
    assert f"{100 * np.float64(0.02):+.2f}" in text
