"""The decisions of the main job: verdicts, finalists, baselines, the guard's sentence."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from hardware.conditions import Conditions
from hardware.counts import count
from hardware.lookup import ConditionsChanged
from hardware.measure import Measurement
from nas.algorithms.evolution import depth_niche
from nas.config import Config
from nas.job import finalists_stage, guard_stage
from nas.job.baselines import largest_feasible, scaled_mobilenets, scaled_resnets, strides_of
from nas.job.delivery_stage import Trained, deliver
from nas.job.finalists_stage import Finalist, _take_turns
from nas.job.guard_stage import _distance
from nas.job.guard_verdict import conclude
from nas.job.job import warn_of_other_conditions
from nas.job.task import Task, TaskFailed
from nas.narrator import Silent
from nas.records import Candidate, Success
from nas.run import NothingFeasible
from nas.runners import measuring
from nas.store import RunStore
from nas.train.evaluate import Evaluation
from nas.train.fit import TrainingDiverged
from nas.train.race import FinalistResult
from nas.verdict import judge, sentence
from search_spaces.autoformer import Sizes, transformer
from search_spaces.build import build
from search_spaces.expand import output_shape
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


@pytest.mark.parametrize(
    ("change", "budget_ms", "text"),
    [
        ({}, 1.03, "the budget of 1.03 ms is kept: the file takes 1.000 ms [0.970, 1.030]"),
        ({}, 0.9, "the budget of 0.9 ms is missed: the file takes 1.000 ms [0.970, 1.030]"),
        (
            {"verdict": "void"},
            2,
            "the budget of 2 ms is not proven to be kept: the file takes 1.000 ms [0.970, 1.030] (busy)",
        ),
        ({}, None, "the file takes 1.000 ms [0.970, 1.030]; there was no latency budget"),
    ],
)
def test_every_verdict_has_a_sentence_with_the_figure(change, budget_ms, text):
    assert sentence(replace(MEASURED, **change), budget_ms, subject="the file", reason="busy") == text


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


@pytest.mark.parametrize(("patch", "strides"), [(1, (1, 1)), (2, (2, 1)), (4, (2, 1, 2)), (16, (2, 1, 2, 2, 2))])
def test_baselines_of_a_transformer_end_at_its_resolution(patch, strides):
    arch = transformer(Sizes(), patch, 32, [(1, 1.0)])
    assert strides_of(arch) == strides
    ends = {output_shape(family, (3, 64, 64))[1:] for family in scaled_resnets(strides)}
    assert ends == {output_shape(arch, (3, 64, 64))[1:]}


@pytest.mark.parametrize(
    ("space", "score", "said"),
    [
        (
            "vit-tiny",
            "zen",
            "score 'zen' does not fit the space 'vit-tiny': .* a transformer does not have: .*synflow",
        ),
        ("vit-tiny", "mad", "score 'mad' does not fit the space 'vit-tiny': .* such as synflow"),
        (
            "autoformer-tiny",
            "synflow",
            "space 'autoformer-tiny' on 'digits', images of 8x8: .*16x16 patches do not fit",
        ),
    ],
)
def test_a_score_or_images_that_do_not_fit_the_space_are_one_line_before_anything_is_measured(space, score, said):
    task = Task(Config.from_dict({"data": "digits", "space": space, "search": {"score": score}}))
    with pytest.raises(TaskFailed, match=f"^{said}") as caught:
        task.check()
    assert "\n" not in str(caught.value)


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
        ([row("searched", 1.0, 0.98, 0.98), row("a", 1.0, 0.977, 0.977)], "no clear difference"),  # two images of 1000
        ([row("searched", 1.0, 0.90), row("a", 1.0, 0.80)], "not a conclusion"),  # one seed
        ([row("searched", 1.0, 0.90, 0.91), row("a", 1.5, 0.99, 0.99)], "no comparison"),  # slower: not a rival
        ([row("searched", 1.0), row("a", 1.0, 0.8)], "no comparison"),  # the trainings diverged
    ],
)
def test_the_guard_says_what_the_figures_say(rows, words):
    assert words in conclude(rows, 1000)


def test_the_guard_compares_with_the_best_baseline():
    rows = [row("searched", 1.0, 0.9, 0.9), row("weak", 1.0, 0.5, 0.5), row("strong", 1.0, 0.88, 0.88)]
    text = conclude(rows, 1000)
    assert "strong" in text
    assert f"{100 * np.float64(0.02):+.2f}" in text


def test_the_guard_finds_no_difference_where_there_is_none():
    rng = np.random.default_rng(0)
    said = []
    for _ in range(400):  # five networks, equally good, on the same 215 images
        right = rng.random((5, 2, 215)) < 0.98
        rows = [row(name, 1.0, *right[i].mean(axis=1)) for i, name in enumerate(("searched", "a", "b", "c", "d"))]
        said.append(conclude(rows, 215).split(":")[0])
    assert said.count("the search helped") < 0.05 * len(said)
    assert said.count("the search did not help") < 0.05 * len(said)


def success(number, arch, params):
    metrics = {"score": 1.0, "latency_ms": 1.0, "latency_upper_ms": 1.1, "params": params, "macs": 1}
    return Success(Candidate(number, arch), {**metrics, "depth": 1, "convs": 1, "peak_memory_bytes": 1})


@pytest.fixture
def store(tmp_path):
    archs = [ZEN_TINY.sample(np.random.default_rng(i)) for i in range(60)]
    with RunStore.create(tmp_path / "run.sqlite", {}) as store:
        store.append([success(i, arch, 1000 - i) for i, arch in enumerate(archs)])
        store.commit()
        yield store


def test_the_largest_baseline_is_not_the_winner_itself(store):
    winner = store.result(0).candidate.arch
    assert largest_feasible(store, winner, 2.0).arch == store.result(1).candidate.arch


def test_a_resume_goes_on_with_the_finalists_that_were_chosen(store, monkeypatch):
    config = {"search": {"algorithm": "random"}, "constraints": {"latency": "1.15ms"}, "finalists": {"trained": 4}}
    task = Task(Config.from_dict(config))
    within = {3, 20, 50, 55}  # too few in the rounds of one session

    def measured(task, batch, device, narrator):
        return [(f, replace(MEASURED, high_ms=1.0 if f.id in within else 1.2)) for f in batch]

    monkeypatch.setattr(finalists_stage, "_measure", measured)
    first = finalists_stage.choose_finalists(task, store, Silent())
    assert finalists_stage.choose_finalists(task, store, Silent()) == first


def test_a_finalist_whose_measurement_is_void_is_measured_again(monkeypatch):
    task = Task(Config.from_dict({"data": "digits", "constraints": {"latency": "2ms"}}))
    finalists = [Finalist(i, ZEN_TINY.seed, 1.0, 1.0) for i in range(3)]
    sizes = []

    def measure(models, *_):
        sizes.append(len(models))
        quiet = len(sizes) == 3
        return [replace(MEASURED, verdict="ok" if quiet or i == 0 else "void") for i in range(len(models))]

    monkeypatch.setattr(measuring, "measure", measure)
    found = list(finalists_stage._measure(task, finalists, task.device, Silent()))
    assert sizes == [3, 2, 1]
    assert [(finalist.id, measurement.verdict) for finalist, measurement in found] == [(0, "ok"), (1, "ok"), (2, "ok")]


@pytest.mark.parametrize(("asked", "longest"), [(None, (30.0, 60.0)), ("5s", (5.0, 5.0)), ("90s", (30.0, 90.0))])
def test_a_measurement_takes_no_longer_than_it_may(monkeypatch, tmp_path, asked, longest):
    settings = {} if asked is None else {"latency": {"measure": asked}}
    task = Task(Config.from_dict({"data": "digits", "constraints": {"latency": "2ms"}, **settings}))
    told = []

    def measure(models, device, protocol, *_):
        told.append(protocol.max_s)
        return [MEASURED] * len(models)

    monkeypatch.setattr(measuring, "measure", measure)
    list(finalists_stage._measure(task, [Finalist(0, ZEN_TINY.seed, 1.0, 1.0)], task.device, Silent()))
    network = build(ZEN_TINY.seed, in_channels=1, num_classes=10)
    evaluation = Evaluation(0.9, 0.3, 359)
    with RunStore.create(tmp_path / "run.sqlite", {}) as store:
        deliver(task, Finalist(0, ZEN_TINY.seed, 1.0, 1.0), Trained(network, evaluation, evaluation),
                tmp_path / "winner", store, Silent())  # fmt: skip
    assert tuple(told) == longest


def test_what_was_measured_before_a_kill_is_not_measured_again(store, monkeypatch):
    config = {"data": "digits", "search": {"algorithm": "random"}, "constraints": {"latency": "1.15ms"}}
    task = Task(Config.from_dict({**config, "finalists": {"measured": 6, "trained": 6}}))
    named, sound = [], 4

    def measure(models, *_):
        named.append([model.name for model in models])
        if len(named) == 2:
            raise KeyboardInterrupt
        return [replace(MEASURED, verdict="ok" if i < sound or len(named) > 2 else "void") for i in range(len(models))]

    monkeypatch.setattr(measuring, "measure", measure)
    with pytest.raises(KeyboardInterrupt):
        finalists_stage.choose_finalists(task, store, Silent())
    kept = [event["id"] for event in store.events("measured")]
    assert kept == [0, 1, 2, 3]
    assert len(finalists_stage.choose_finalists(task, store, Silent())) == 6
    again = {name for names in named[2:] for name in names}
    assert again
    assert not again & {f"candidate {i}" for i in kept}


def test_noise_is_not_called_slowness(store, monkeypatch):
    task = Task(Config.from_dict({"search": {"algorithm": "random"}, "constraints": {"latency": "1.15ms"}}))
    void = replace(MEASURED, verdict="void", reason="two speeds")
    monkeypatch.setattr(finalists_stage, "_measure", lambda task, batch, device, narrator: [(f, void) for f in batch])
    with pytest.raises(NothingFeasible, match="no measurement can be believed \\(two speeds\\)"):
        finalists_stage.choose_finalists(task, store, Silent())


def result(number, top1, epochs, failure=None):
    return FinalistResult(number, (), top1, epochs, failure is not None, failure)


def test_the_winner_is_the_best_of_those_that_went_furthest_and_did_not_break():
    results = [result(0, 0.9, 5), result(1, 0.95, 5), result(2, 0.99, 2), result(3, 0.98, 5, "diverged")]
    assert finalists_stage.best_of(results).id == 1


def test_when_all_trainings_break_one_line_says_why():
    with pytest.raises(TrainingDiverged, match="all 2 trainings diverged; lower learning_rate"):
        finalists_stage.best_of([result(i, None, 0, "lower learning_rate") for i in range(2)])


def test_a_guard_killed_in_its_trainings_goes_on_with_the_same_networks(store, tmp_path, monkeypatch):
    task = Task(Config.from_dict({"space": "zen-tiny", "recipe": {"epochs": 1}, "guard": {"seeds": 1}}))
    gates = SimpleNamespace(table=object())
    fields = []

    def field(*_):
        fields.append(0)
        arch = ZEN_TINY.sample(np.random.default_rng(len(fields)))  # another choice every time
        return [{**row("searched", 1.0), "arch": arch.to_dict()}, {**row("a", 1.0), "arch": arch.to_dict()}]

    trained = []

    def train(task, archs, *_):
        trained.append(archs)
        if len(trained) == 1:
            raise KeyboardInterrupt
        return [[0.9], [0.8]]

    monkeypatch.setattr(guard_stage, "_field", field)
    monkeypatch.setattr(guard_stage, "_train", train)
    winner = Finalist(0, ZEN_TINY.seed, 1.0, 1.0)
    with pytest.raises(KeyboardInterrupt):
        guard_stage.guard(task, winner, gates, store, tmp_path, Silent())
    found = guard_stage.guard(task, winner, gates, store, tmp_path, Silent())
    assert trained[0] == trained[1]
    assert [r["top1"] for r in found["rows"]] == [[0.9], [0.8]]


class Said(Silent):
    """Remembers what it was told."""

    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)


def test_a_run_that_goes_on_on_another_machine_is_told_so():
    def changed(*_):
        raise ConditionsChanged("latency table: cpu_model was Z80, now 6502. Renew it: netwright profile --space zen")

    task, said = Task(Config.from_dict({"space": "zen-tiny"})), Said()
    warn_of_other_conditions(task, SimpleNamespace(check_conditions=changed, device=None, input_shape=None), said)
    warn_of_other_conditions(
        task, SimpleNamespace(check_conditions=lambda *_: None, device=None, input_shape=None), said
    )
    warn_of_other_conditions(task, None, said)
    [line] = said.lines
    assert "cpu_model was Z80, now 6502. The search keeps its predictions" in line
    assert "profile" not in line


def test_further_devices_are_measured_too_and_one_that_is_missed_counts(store, monkeypatch):
    config = {
        "search": {"algorithm": "random"},
        "constraints": {"latency": "1.15ms"},
        "also": [{"device": "torch", "latency": "1.15ms"}],
        "finalists": {"trained": 2, "measured": 4},
    }
    task = Task(Config.from_dict(config))
    asked = []

    def measured(task, batch, device, narrator):
        asked.append((device.runtime, len(batch)))
        slow = device.runtime == "torch"
        return [(f, replace(MEASURED, high_ms=1.3 if slow and f.id % 2 else 1.0)) for f in batch]

    monkeypatch.setattr(finalists_stage, "_measure", measured)
    found = finalists_stage.measure_finalists(task, store, Silent())
    assert asked[:2] == [("onnxruntime", 4), ("torch", 4)]
    assert len(found) == 2
    assert all(finalist.id % 2 == 0 for finalist in found)
    events = store.events("measured")
    assert {event["also"]["torch"]["verdict"] for event in events} == {"kept", "unclear"}
