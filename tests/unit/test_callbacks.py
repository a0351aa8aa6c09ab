"""Callbacks: what they hear, that none can end a search, and what the shipped ones write."""

import csv
import json
import math
import struct
from pathlib import Path

import numpy as np
import pytest

from nas import Run, resume, search
from nas.callbacks import CALLBACKS, Callback, RunStart
from nas.callbacks.choice import InvalidCallback, check_choices, make_callbacks, parse_choice
from nas.callbacks.csv_table import CsvTable
from nas.callbacks.dispatcher import Dispatcher, trial_reports
from nas.callbacks.extra import ExtraMissing, import_extra
from nas.callbacks.inside import reaches_out
from nas.callbacks.json_lines import JsonLines
from nas.callbacks.lines_file import LinesFile
from nas.callbacks.standing import Front, Standing
from nas.config import Config, InvalidConfig
from nas.pareto import pareto_front
from nas.records import Candidate, Failure, Success
from search_spaces import SPACES

RNG = np.random.default_rng(0)
ARCHS = [SPACES["genet-tiny"].sample(RNG) for _ in range(3)]
SETTINGS = {"train": False, "space": "zen-tiny", "engine": {"kind": "serial"}, "constraints": {"macs": "500k"}}
SEARCH = {**SETTINGS, "search": {"evaluations": 60, "population": 20}}
START = RunStart(Path(), {}, 0, False)


class Ear(Callback):
    """Keeps what it hears."""

    def __init__(self):
        self.heard = []

    def on_start(self, run):
        self.heard.append(("start", run.resumed))

    def on_batch_scored(self, results, standing):
        self.heard.append(("batch", [result.candidate.id for result in results], standing.candidates))

    def on_generation(self, number, standing):
        self.heard.append(("generation", number, standing.candidates))

    def on_pareto_change(self, front, standing):
        self.heard.append(("pareto", [row["id"] for row in front]))

    def on_trial_report(self, report):
        self.heard.append(("trial", report.training, report.epoch, report.metrics["validation_top1"]))

    def on_stage(self, kind, payload):
        self.heard.append(("stage", kind))

    def on_end(self, summary, reason):
        self.heard.append(("end", summary, reason))


class Ending(Callback):
    """Breaks like code that calls sys.exit."""

    def on_batch_scored(self, results, standing):
        raise SystemExit("enough")


def success(identity, score, macs):
    return Success(Candidate(identity, ARCHS[identity % 3]), {"score": score, "macs": macs})


def dispatcher(*callbacks, population=2):
    said = []
    made = Dispatcher([(type(callback).__name__, callback) for callback in callbacks], population, said.append)
    return made, said


def test_a_batch_is_told_in_generations_with_the_front_and_in_order():
    ear = Ear()
    told, said = dispatcher(ear)
    told.start(START, [])
    told.batch([success(0, 1.0, 10.0), Failure(Candidate(1, ARCHS[1]), "rejected", "over"), success(2, 0.5, 20.0)])
    told.event("epoch", {"epoch": 1, "validation_top1": 0.5, "learning_rate": 0.1})
    told.event("finalist", {"id": 7, "curve": [{"epoch": 1, "validation_top1": 0.25}]})
    told.event("clock", {"seconds": 1.0})
    told.end(None, "Interrupted: by hand")
    assert ear.heard == [
        ("start", False),
        ("batch", [0, 1], 2), ("pareto", [0]), ("generation", 1, 2),
        ("batch", [2], 3),
        ("trial", "winner", 1, 0.5),
        ("trial", "finalist-7", 1, 0.25), ("stage", "finalist"),
        ("end", None, "Interrupted: by hand"),
    ]  # fmt: skip
    assert not said


def test_a_callback_that_fails_is_told_no_more_and_said_once():
    ear = Ear()
    told, said = dispatcher(Ending(), ear)
    told.start(START, [])
    for identity in range(3):
        told.batch([success(identity, 1.0 + identity, 10.0)])
    assert said == ["callback Ending: SystemExit: enough; the run goes on without it"]
    assert [entry[1] for entry in ear.heard if entry[0] == "batch"] == [[0], [1], [2]]


def test_the_front_is_that_of_pareto_front_after_every_result():
    front, costs = Front(), np.round(RNG.random((200, 2)), 1)
    for n, (cost, badness) in enumerate(costs, 1):
        front.add(float(cost), -float(badness), n - 1)
        assert front.ids == pareto_front(costs[:n]).tolist()


def test_counts_know_failures_and_the_feasible_share():
    standing = Standing()
    for kind in ("rejected", "duplicate", "error", "crash"):
        standing.count(Failure(Candidate(0, ARCHS[0]), kind, ""))
    standing.count(success(1, 2.0, 5.0))
    assert standing.counts() == {
        "candidates": 5, "scored": 1, "rejected": 1, "duplicates": 1, "failed": 2, "front": 1, "best_score": 2.0,
        "feasible_share": 0.75,
    }  # fmt: skip


def test_reports_of_events_without_a_curve_of_epochs_are_none():
    assert trial_reports("measured", {"id": 1}) == []
    assert trial_reports("supernet", {"curve": [1.0, 2.0]}) == []


@pytest.mark.parametrize(
    ("entries", "part"),
    [
        (["jsonnl"], "did you mean 'jsonl'"),
        ([{"csv": {"pth": "a"}}], "did you mean 'path'"),
        ([{"csv": {"path": 3}}], "path=3: Input should be a valid string"),
        ([{"wandb": {"mode": "loud"}}], "mode='loud'"),
        (["jsonl", "jsonl"], "there twice"),
        ([3], "got 3, expected a name"),
        ([{"jsonl": {}, "csv": {}}], "expected a name"),
        ([{"jsonl": "a.jsonl"}], "expected options"),
        (7, "expected a list"),
    ],
)
def test_wrong_choices_are_refused_in_one_line(entries, part):
    with pytest.raises(InvalidCallback) as refused:
        check_choices(entries)
    assert part in str(refused.value)
    assert "\n" not in str(refused.value)
    with pytest.raises(InvalidConfig, match="callback"):
        Config.from_dict({"callbacks": entries})


def test_flags_and_settings_mean_the_same():
    assert parse_choice("jsonl") == {"jsonl": {}}
    assert parse_choice("csv:path=a.csv") == {"csv": {"path": "a.csv"}}
    assert parse_choice("mine.tell:Ear:a=1,b=2") == {"mine.tell:Ear": {"a": "1", "b": "2"}}
    assert parse_choice("mine:Ear") == {"mine:Ear": {}}
    assert check_choices(["jsonl", {"csv": None}]) == ({"jsonl": {}}, {"csv": {}})
    config = Config.from_dict({"callbacks": ["jsonl", {"tensorboard": {"dir": "tb"}}]})
    assert Config.from_dict(config.to_dict()) == config
    (_, made), *_ = make_callbacks(check_choices([{"jsonl": {"candidates": "false"}}]))
    assert made == JsonLines(candidates=False)
    with pytest.raises(InvalidCallback, match=r"cannot read 'a\.csv'"):
        parse_choice("csv:a.csv")


def test_a_callback_of_ones_own_is_a_subclass(tmp_path, monkeypatch):
    (tmp_path / "my_tellers.py").write_text(
        "from nas.callbacks import Callback\n"
        "class Mine(Callback):\n    def __init__(self, loud='no'):\n        self.loud = loud\n"
        "class Other: pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    (name, made), *_ = make_callbacks([parse_choice("my_tellers:Mine:loud=yes")])
    assert (name, made.loud) == ("my_tellers:Mine", "yes")
    for text, part in (
        ("my_tellers:Other", "expected a subclass"),
        ("my_tellers:None_", "no attribute"),
        ("my_tellers:Mine:soft=1", "unexpected keyword argument"),
        ("no_such_tellers:Mine", "No module named"),
    ):
        with pytest.raises(InvalidCallback, match=part):
            make_callbacks([parse_choice(text)])


def test_a_library_that_is_missing_is_named_with_its_extra():
    with pytest.raises(ExtraMissing, match=r"no_such_tracker.*pip install 'netwright\[tracker\]'"):
        import_extra("no_such_tracker", "tracker")


@pytest.mark.parametrize("text", ["", "a\n", "a\nhalf", "half", "a\n" * 70_000 + "half", "x" * 200_000])
def test_half_a_line_is_cut_and_lines_are_read_backwards(tmp_path, text):
    path = tmp_path / "lines"
    path.write_text(text)
    file = LinesFile(path, append=True)
    whole = text.split("\n")[:-1]
    assert list(file.backwards()) == whole[::-1]
    file.write(["new"])
    file.close()
    assert path.read_text() == "".join(f"{line}\n" for line in [*whole, "new"])


def test_a_run_writes_every_candidate_once(tmp_path):
    with_files = {**SEARCH, "callbacks": ["jsonl", "csv", "tensorboard"]}
    run = search(config=with_files, out=tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]
    rows = list(csv.DictReader((tmp_path / "run" / "candidates.csv").read_text().splitlines()))
    stored = run.store.table(scored_only=False)
    run.close()
    assert [int(row["id"]) for row in rows] == list(range(60)) == [row["id"] for row in stored]
    assert [row["digest"] for row in rows] == [row["digest"] for row in stored]
    assert [line["id"] for line in lines if line["event"] == "candidate"] == list(range(60))
    assert [line["generation"] for line in lines if line["event"] == "generation"] == [1, 2, 3]
    assert [line["stage"] for line in lines if line["event"] == "stage"] == ["searched", "finalists", "finished"]
    front = [line["front"] for line in lines if line["event"] == "pareto"][-1]
    with Run.open(tmp_path / "run") as opened:
        assert [row["id"] for row in front] == opened.pareto()["id"].tolist()
    assert lines[-1]["event"] == "end"
    assert lines[-1]["summary"]["verdict"] == "not trained"


def test_what_a_kill_kept_from_the_files_is_caught_up(tmp_path):
    results = [success(identity, float(identity), 10.0) for identity in range(6)]
    run = RunStart(tmp_path, {}, 6, True)
    for keep, made in ((3, JsonLines()), (2, CsvTable())):
        told, said = dispatcher(made)
        told.start(RunStart(tmp_path, {}, 0, False), [])
        told.batch(results[:keep])
        told.end(None, "stopped")
        with (tmp_path / made.path).open("a") as file:
            file.write('{"event": "candid')  # a kill in the middle of a line
        again, said = dispatcher(type(made)())
        again.start(run, results)
        again.end(None, "stopped")
        assert not said
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines if line["event"] == "candidate"] == list(range(6))
    rows = list(csv.DictReader((tmp_path / "candidates.csv").read_text().splitlines()))
    assert [int(row["id"]) for row in rows] == list(range(6))


def scalars(folder):
    """The scalars of an event file: {tag: [(step, value)]}."""
    from tensorboardX.proto.event_pb2 import Event

    found = {}
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        while data:
            (size,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + size])
            data = data[16 + size :]
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


def test_tensorboard_gets_the_counts_and_the_score(tmp_path):
    search(config={**SEARCH, "callbacks": [{"tensorboard": {"dir": "tb"}}]}, out=tmp_path / "run").close()
    found = scalars(tmp_path / "run" / "tb")
    assert [step for step, _ in found["search/candidates"]] == [20, 40, 60]
    with Run.open(tmp_path / "run") as run:
        best = run.status()["best_score"]
        chosen = run.summary()["best"]["score"]
    assert found["search/best_score"][-1][1] == pytest.approx(best)
    assert found["best/score"] == [(0, pytest.approx(chosen))]


def test_the_run_ends_the_same_with_a_callback_that_breaks(tmp_path, monkeypatch, capsys):
    (tmp_path / "breaking.py").write_text(
        "from nas.callbacks import Callback\n"
        "class Breaking(Callback):\n    def on_batch_scored(self, results, standing):\n        {}['no']\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    plain = search(config=SEARCH, out=tmp_path / "plain")
    run = search(config={**SEARCH, "callbacks": ["breaking:Breaking"]}, out=tmp_path / "broken", verbose=True)
    assert run.pareto().equals(plain.pareto())
    assert capsys.readouterr().err.count("callback breaking:Breaking: KeyError: 'no'; the run goes on") == 1
    again = resume(tmp_path / "broken")  # finished: nothing is told again
    assert again.summary() == run.summary()
    for opened in (plain, run, again):
        opened.close()


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("jsonl", ""),
        ("csv:path=tables/c.csv", ""),
        ("wandb:mode=offline,project=p", ""),
        ("mlflow:name=mine", ""),
        ("csv:path=/etc/passwd", "outside"),
        ("jsonl:path=../../x", "outside"),
        ("tensorboard:dir=~/tb", "outside"),
        ("wandb:mode=online", "another server"),
        ("mlflow:uri=http://host", "another server"),
        ("my_tellers:Mine", "one's own"),
    ],
)
def test_what_reaches_beyond_the_run_is_known(text, part):
    reason = reaches_out(parse_choice(text))
    assert (part in reason) if part else reason == ""


def test_every_callback_of_the_table_is_made_without_its_library():
    for name in CALLBACKS:
        (_, made), *_ = make_callbacks([{name: {}}])
        assert isinstance(made, Callback)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # MLflow's own, of newer SQLAlchemy
def test_mlflow_keeps_settings_metrics_and_the_summary(tmp_path):
    tracking = pytest.importorskip("mlflow.tracking")
    search(config={**SEARCH, "callbacks": ["mlflow"]}, out=tmp_path / "run").close()
    client = tracking.MlflowClient(f"sqlite:///{tmp_path / 'run' / 'mlflow.db'}")
    (kept,) = client.search_runs([client.get_experiment_by_name("netwright").experiment_id])
    assert kept.info.status == "FINISHED"
    assert kept.data.params["search.evaluations"] == "60"
    assert [metric.step for metric in client.get_metric_history(kept.info.run_id, "search/scored")] == [20, 40, 60]
    assert math.isfinite(kept.data.metrics["best/score"])
    assert [file.path for file in client.list_artifacts(kept.info.run_id)] == ["summary.json"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the library's own
def test_wandb_writes_an_offline_run(tmp_path):
    pytest.importorskip("wandb")
    search(config={**SEARCH, "callbacks": [{"wandb": {"project": "mine"}}]}, out=tmp_path / "run").close()
    (file,) = (tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb")
    data = file.read_bytes()
    for text in (b"search/best_score", b"mine", b"evaluations"):
        assert text in data


@pytest.mark.slow
def test_curves_of_real_trainings_are_told(tmp_path):
    trained = {"finalists": {"trained": 2, "measured": 2, "epochs": 2}, "recipe": {"epochs": 2}, "guard": {"seeds": 0}}
    settings = {**SEARCH, **trained, "train": True, "callbacks": ["jsonl", "tensorboard"]}
    search(config=settings, out=tmp_path / "run").close()
    lines = [json.loads(line) for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]
    with Run.open(tmp_path / "run") as run:
        finalists = [event["id"] for event in run.events("finalist")]
        epochs = run.events("epoch")
    told = [(line["training"], line["epoch"]) for line in lines if line["event"] == "trial"]
    expected = [(f"finalist-{identity}", epoch) for identity in finalists for epoch in (1, 2)]
    assert told == [*expected, ("winner", 1), ("winner", 2)]
    found = scalars(tmp_path / "run" / "tensorboard")
    assert [step for step, _ in found["winner/validation_top1"]] == [1, 2]
    assert found["winner/train_loss"][1][1] == pytest.approx(epochs[1]["train_loss"])
