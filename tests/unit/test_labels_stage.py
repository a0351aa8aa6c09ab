"""The stage that trains networks to learn from: what is recorded, how it goes on after a kill, what it says."""

import json

import pytest

from nas.config import Config, InvalidConfig
from nas.gates import Gates
from nas.job import labels_stage
from nas.job.finalists_stage import _expected_and_seen
from nas.job.labels_stage import LabelsFailed, labelled, predicted_objective, train_labels
from nas.job.search_stage import make_search, run_search
from nas.job.task import Task
from nas.narrator import Silent
from nas.records import Constraint
from nas.run import NothingFeasible
from nas.store import RunStore
from nas.train.fit import EpochReport
from nas.train.race import FinalistResult

SETTINGS = {
    "space": "nas-bench-macro",
    "search": {"score": "predictor", "evaluations": 60, "population": 16, "lookahead": 8},
    "predictor": {"labels": 12, "initial": 6, "batch": 3, "epochs": 2, "proposals": 30},
    "engine": {"kind": "serial"},
    "seed": 3,
}
GATES = Gates((1, 8, 8), 10, (Constraint("macs", 8e6),))


class Killed(BaseException):
    """The end of a process at this point."""


class Said(Silent):
    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)


def accuracy(arch):
    return round(min(0.99, 0.3 + 0.03 * len(arch.blocks) + (int(arch.digest[:6], 16) % 100) / 500), 4)


def result(entry, top1=None, failure=None):
    final = accuracy(entry.arch) if top1 is None else top1
    curve = tuple(EpochReport(i, 0.1, 1.0, 1.0, final * i / 2, 0.5) for i in (1, 2))
    return FinalistResult(entry.id, curve, None if failure else final, 2, bool(failure), failure)


@pytest.fixture
def trained(monkeypatch):
    """Trainings that take no time; lists which networks were trained, and ends the process when told so."""
    calls = []

    def train(entries, data, recipe, **settings):
        assert settings["max_epochs"] == 2
        assert settings["drop"] is False
        calls.append([entry.id for entry in entries])
        if train.killed_at == len(calls):
            raise Killed
        return [train.make(entry) for entry in entries]

    train.killed_at, train.make, train.calls = None, result, calls
    monkeypatch.setattr(labels_stage, "train_finalists", train)
    monkeypatch.setattr(labels_stage, "judge_predictor", lambda *_, **__: {"sentence": "ranks", "gain": None})
    return train


def task(**predictor):
    return Task(Config.from_dict({**SETTINGS, "predictor": {**SETTINGS["predictor"], **predictor}}))


def outcome(store):
    """Everything that was decided, without the times."""
    return [{k: v for k, v in event.items() if k != "time"} for event in store.events()]


def stage(path, fresh=True, told=None, chosen=None):
    chosen = chosen or task()
    facts = {"config": chosen.config.to_dict()}
    with RunStore.create(path, facts) if fresh else RunStore.open(path, writable=True) as store:
        train_labels(chosen, GATES, store, path.parent / "labels", told or Silent())
        return outcome(store)


def test_networks_are_trained_in_rounds_and_recorded(trained, tmp_path):
    events = stage(tmp_path / "run.sqlite", told=(said := Said()))
    assert trained.calls == [[0, 1, 2, 3, 4, 5], [6, 7, 8], [9, 10, 11]]
    kinds = [event["kind"] for event in events]
    assert kinds == ["label_round", *["label"] * 6, *["label_round", *["label"] * 3] * 2, "predictor"]
    rounds = [event for event in events if event["kind"] == "label_round"]
    found = [event for event in events if event["kind"] == "label"]
    assert [event["arch"] for event in found] == [arch for event in rounds for arch in event["archs"]]
    assert len({json.dumps(event["arch"]) for event in found}) == 12
    assert all(event["curve"][-1]["validation_top1"] == event["top1"] for event in found)
    assert "labels: round 1, 6 networks chosen far apart" in said.lines
    assert any("round 3, validation top-1" in line for line in said.lines)
    assert said.lines[-1] == "predictor: ranks"


def test_a_run_that_has_its_labels_trains_nothing_again(trained, tmp_path):
    first = stage(tmp_path / "run.sqlite")
    trained.calls.clear()
    assert stage(tmp_path / "run.sqlite", fresh=False) == first
    assert trained.calls == []


@pytest.mark.parametrize("killed_at", [2, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 3))])
def test_a_kill_in_a_training_changes_nothing(trained, tmp_path, killed_at):
    whole = stage(tmp_path / "whole" / "run.sqlite")
    trained.calls.clear()
    trained.killed_at = killed_at
    with pytest.raises(Killed):
        stage(tmp_path / "killed" / "run.sqlite")
    assert stage(tmp_path / "killed" / "run.sqlite", fresh=False) == whole
    assert trained.calls[killed_at - 1] == trained.calls[killed_at]  # the half-done round again, and no other


@pytest.mark.parametrize("record", [2, 8, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 5, 7, 9, 13))])
def test_a_kill_after_any_record_changes_nothing(trained, tmp_path, monkeypatch, record):
    whole = stage(tmp_path / "whole" / "run.sqlite")
    kept, count = RunStore.record, []

    def recording(self, kind, payload):
        kept(self, kind, payload)
        count.append(kind)
        if len(count) == record:
            raise Killed

    monkeypatch.setattr(RunStore, "record", recording)
    with pytest.raises(Killed):
        stage(tmp_path / "killed" / "run.sqlite")
    monkeypatch.setattr(RunStore, "record", kept)
    assert stage(tmp_path / "killed" / "run.sqlite", fresh=False) == whole


def test_a_training_that_breaks_is_recorded_and_teaches_nothing(trained, tmp_path):
    trained.make = lambda entry: result(entry, failure="the loss is nan" if entry.id % 4 == 1 else None)
    events = stage(tmp_path / "run.sqlite", told=(said := Said()))
    assert [event["top1"] is None for event in events if event["kind"] == "label"] == [i % 4 == 1 for i in range(12)]
    assert "labels: network 2 has none: the loss is nan" in said.lines
    with RunStore.open(tmp_path / "run.sqlite") as store:
        assert sum(one.label is not None for one in labelled(task(), store)) == 9
        assert len(predicted_objective(task(), store).labels["archs"]) == 9


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda entry: result(entry, failure="nan"), "only 0 networks have one, expected at least 4; the last: nan"),
        (lambda entry: result(entry, top1=0.1), "all 12 networks reach 0.1000 .* Raise predictor.epochs"),
    ],
    ids=["all broke", "all equal"],
)
def test_labels_that_teach_nothing_end_the_run_in_one_line(trained, tmp_path, make, said):
    trained.make = make
    with pytest.raises(LabelsFailed, match=said) as caught:
        stage(tmp_path / "run.sqlite")
    assert "\n" not in str(caught.value)


def test_no_network_within_the_limits_is_said(trained, tmp_path):
    with (
        RunStore.create(tmp_path / "run.sqlite", {}) as store,
        pytest.raises(NothingFeasible, match="no network keeps the limits"),
    ):
        train_labels(task(), Gates((1, 8, 8), 10, (Constraint("params", 5),)), store, tmp_path, Silent())
    assert trained.calls == []


def test_the_search_begins_with_the_trained_networks_and_takes_the_predictor(trained, tmp_path):
    chosen = task()
    with RunStore.create(tmp_path / "run.sqlite", {}) as store:
        train_labels(chosen, GATES, store, tmp_path / "labels", Silent())
        run_search(chosen, GATES, store, Silent())
        seen = [one.arch for one in labelled(chosen, store)]
        results = list(store.results())
        scorer = predicted_objective(chosen, store).scorer()
    assert [result.candidate.arch for result in results[1:13]] == seen
    scored = [result for result in results if "score" in getattr(result, "metrics", {})]
    assert len(scored) > 12
    assert all(result.metrics["score"] == scorer(result.candidate.arch, 0) for result in scored[:20])


@pytest.mark.parametrize("algorithm", ["evolution", "regularized", "local", "nsga2", "random", "tpe"])
def test_every_search_can_begin_with_given_networks(algorithm):
    chosen = Task(Config.from_dict({"space": "nas-bench-macro", "search": {"algorithm": algorithm, "lookahead": 4}}))
    given = [chosen.space.decode({knob.name: d for knob in chosen.space.knobs}) for d in (1, 2)]
    search = make_search(chosen)
    search.begin_with(given)
    asked = []
    for _ in range(12):
        (candidate,) = search.ask(1)
        asked.append(candidate.arch)
        checked = GATES.check(candidate)
        search.tell(labels_stage_success(checked))
    assert asked[1:3] == given


def labels_stage_success(checked):
    from nas.records import Failure, Success

    if isinstance(checked, Failure):
        return checked
    return Success(checked, {**checked.metrics, "score": accuracy(checked.arch), "latency_ms": 1.0})


def test_expected_and_seen_take_turns():
    rows = [{"id": i, "digest": str(i)} for i in range(6)]  # by score
    turns = _expected_and_seen(rows, {"4": 0.9, "5": 0.95, "0": 0.2})
    assert [row["id"] for row in turns] == [0, 5, 1, 4, 2, 3]
    assert _expected_and_seen(rows, {}) == rows


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"predictor": {"labels": 10, "initial": 12}}, "labels=10 and initial=12; expected at least as many labels"),
        ({"predictor": {"labels": 5}}, "predictor.labels=5"),
        ({"predictor": {"acquisition": "pi"}}, "predictor.acquisition='pi'"),
        ({"predictor": {"explore": 1.5}}, "predictor.explore=1.5"),
        ({"predictor": {"label": 20}}, "unknown setting 'predictor.label'; did you mean 'labels'"),
        ({"predictor": {"labels": 20}, "search": {"score": "zen"}}, "search.score='zen'; give score: predictor"),
    ],
)
def test_settings_that_make_no_sense_are_one_line(data, said):
    with pytest.raises(InvalidConfig) as caught:
        Config.from_dict({"search": {"score": "predictor"}, **data})
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_score_of_a_predictor_needs_no_niches_of_depth():
    assert Config.from_dict({"search": {"score": "predictor"}}).search.niches == "none"
    assert Config.from_dict({"search": {"score": "predictor", "niches": "depth"}}).search.niches == "depth"
    assert Config().search.niches == "depth"
    config = Config.from_dict({"search": {"score": "predictor"}, "predictor": {"labels": 20}})
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config
