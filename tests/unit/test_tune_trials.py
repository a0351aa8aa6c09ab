"""Trainings side by side: equal after any interruption, never trained twice, recorded as they come."""

import logging

import pytest

from nas.narrator import Silent
from nas.store import RunStore
from nas.train.data import load_dataset
from nas.train.fit import Training
from nas.train.recipe import Recipe
from nas.train.trials import engine
from nas.train.trials.engine import InvalidTrials, Placement, Work, train_trials
from nas.train.trials.hits import unpack_hits
from nas.train.trials.source import FixedTrials
from nas.train.trials.trial import Outcome, Trial
from nas.train.tuned.run import OtherTuning, tune_in
from nas.train.tuned.settings import TuneSettings
from nas.train.tuned.tuning import TRIAL, Tuning, tune_recipe
from search_spaces.arch import Architecture, Block

ARCH = Architecture((Block("conv", 4, stride=2), Block("zen_xx", 4, 3, 2, 1, inner=4)))
RECIPE = Recipe(epochs=3, batch_size=128, learning_rate=0.05, augment="none")
SERIAL = Placement("serial")


class Killed(BaseException):
    """The end of a process at this point."""


def trial(number, **facts):
    recipe = Recipe.from_dict({**RECIPE.to_dict(), **facts.pop("recipe", {})})
    return Trial(number, ARCH.to_dict(), "digits", recipe.to_dict(), seed=number, **facts)


def trials():
    return [
        trial(0, test=True),
        trial(1, rungs=((1, 1.1),)),  # falls out at once
        trial(2, recipe={"learning_rate": 1e30}),
        trial(3, images=300),
    ]


@pytest.fixture
def killed_after(monkeypatch):
    """Ends the process after so many epochs, all trainings counted."""
    train_epoch, done = Training.train_epoch, []

    def count(self):
        if len(done) == count.limit:
            raise Killed
        done.append(self.seed)
        return train_epoch(self)

    def after(limit):
        done.clear()
        count.limit = limit
        return done

    monkeypatch.setattr(Training, "train_epoch", count)
    return after


def test_each_trial_comes_to_its_own_end(tmp_path):
    whole, dropped, diverged, few = train_trials(Work(FixedTrials(trials()), tmp_path), SERIAL)
    assert whole.finished
    assert len(whole.curve) == 3
    dataset = load_dataset("digits")
    assert unpack_hits(whole.hits, len(dataset.test)).mean() > 0.1
    assert (dropped.dropped, len(dropped.curve), dropped.top1) == (True, 1, None)
    assert "the training loss is" in diverged.failure
    assert few.finished
    assert few.hits is None
    assert len(trials()[3].data().train) == 300
    assert len(trials()[3].data().test) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["trials.json"]


@pytest.mark.parametrize("epochs", [1, 4, 7])
def test_a_kill_after_any_epoch_changes_nothing(tmp_path, killed_after, epochs):
    killed_after(99)
    expected = train_trials(Work(FixedTrials(trials()), tmp_path / "a"), SERIAL)
    known = {}
    killed_after(epochs)
    note = Work(FixedTrials(trials()), tmp_path / "b", on_outcome=lambda _trial, ended: known.update({ended.id: ended}))
    with pytest.raises(Killed):
        train_trials(note, SERIAL)
    done = killed_after(99)
    seen = []
    resumed = Work(note.source, note.folder, dict(known), on_epoch=lambda i, report: seen.append((i, report.epoch)))
    assert train_trials(resumed, SERIAL) == expected
    assert len(done) == 3 + 1 + 1 + 3 - epochs  # no epoch is trained again; that which diverges counts as one
    assert all(number not in known for number, _ in seen)


def test_what_is_known_is_not_trained_again(tmp_path, killed_after):
    killed_after(0)
    known = {number: Outcome(number) for number in range(4)}
    assert train_trials(Work(FixedTrials(trials()), tmp_path, known), SERIAL) == list(known.values())


def test_a_folder_of_other_trials_is_refused(tmp_path):
    train_trials(Work(FixedTrials([trial(0)]), tmp_path), SERIAL)
    with pytest.raises(InvalidTrials, match="holds trainings of other networks"):
        train_trials(Work(FixedTrials([trial(0, images=200)]), tmp_path), SERIAL)
    (tmp_path / "trials.json").write_text("{")
    with pytest.raises(InvalidTrials):
        train_trials(Work(FixedTrials([trial(0)]), tmp_path), SERIAL)


def test_auto_stays_here_for_short_work_and_says_so(tmp_path, caplog):
    with caplog.at_level(logging.INFO, "nas"):
        train_trials(Work(FixedTrials([trial(0)]), tmp_path), Placement())
    assert "engine serial" in caplog.text


def test_auto_goes_on_here_when_ray_does_not_start(tmp_path, monkeypatch, caplog):
    def broken(work, placement):
        raise engine.RayUnavailable("Ray does not start here: no sockets")

    monkeypatch.setattr(engine, "choose_engine", lambda *_: "ray")
    monkeypatch.setattr("nas.train.trials.on_ray.train_with_ray", broken)
    with caplog.at_level(logging.WARNING):
        assert train_trials(Work(FixedTrials([trial(0)]), tmp_path), Placement())[0].finished
    assert "no sockets; training serially" in caplog.text


def tuning(**settings):
    facts = {"trials": 5, "repeats": 2, "lookahead": 2, "bounds": {"learning_rate": {"low": 0.05, "high": 2.0}}}
    return Tuning(ARCH, "digits", RECIPE, TuneSettings(**{**facts, **settings}), seed=1, test=True)


def tuned(path, chosen=None):
    dataset = load_dataset("digits")
    with RunStore.open(path, writable=True) if path.exists() else RunStore.create(path, {}) as store:
        result = tune_recipe(
            chosen or tuning(), dataset, store=store, folder=path.parent / "work", placement=SERIAL, narrator=Silent()
        )
        return result, [timeless(event) for event in store.events()]


def timeless(event):
    curve = [{k: v for k, v in report.items() if k != "seconds"} for report in event.get("curve", [])]
    return {k: v for k, v in event.items() if k != "time"} | {"curve": curve}


def test_the_outcome_is_recorded_once_and_no_test_image_decides(tmp_path, killed_after):
    killed_after(99)
    result, events = tuned(tmp_path / "run.sqlite")
    killed_after(0)
    assert tuned(tmp_path / "run.sqlite") == (result, events)
    trials = [event for event in events if event["kind"] == TRIAL]
    best = max(trials, key=lambda event: (event["top1"] or 0, -event["curve"][-1]["validation_loss"]))
    assert result["best"] == best["id"]
    assert result["tuned"] == best["recipe"]
    assert result["given"] == trials[0]["recipe"] == RECIPE.to_dict()
    validation = result["validation"]
    assert result["taken"] == (validation["difference"]["value"] > 0)
    assert result["recipe"] == result["tuned" if result["taken"] else "given"]
    assert validation["best_interval"][0] < validation["best"] < validation["best_interval"][1]
    assert result["test"]["images"] == len(load_dataset("digits").test)
    assert all(event["hits"] is None for event in trials)
    compared = [event for event in events if event["kind"].startswith("tune_compared")]
    assert len(compared) == 4
    assert all(event["hits"] for event in compared)
    assert {event["recipe"]["learning_rate"] for event in compared} == {0.05, best["recipe"]["learning_rate"]}


@pytest.mark.parametrize("epochs", [2, pytest.param(18, marks=pytest.mark.slow)])
def test_a_killed_tuning_goes_on_and_ends_alike(tmp_path, killed_after, epochs):
    killed_after(99)
    expected = tuned(tmp_path / "whole" / "run.sqlite")
    killed_after(epochs)
    with pytest.raises(Killed):
        tuned(tmp_path / "killed" / "run.sqlite")
    killed_after(99)
    assert tuned(tmp_path / "killed" / "run.sqlite") == expected


def test_where_nothing_is_better_the_given_recipe_stays(tmp_path):
    chosen = tuning(trials=3, bounds={"learning_rate": [1e-6, 2e-6]})
    result, events = tuned(tmp_path / "run.sqlite", chosen)
    assert (result["best"], result["taken"], result["test"]) == (0, False, None)
    assert result["recipe"] == RECIPE.to_dict()
    assert not [event for event in events if event["kind"].startswith("tune_compared")]


def test_more_trials_are_added_and_another_tuning_is_refused(tmp_path):
    first = tune_in(tmp_path, tuning(trials=3), SERIAL, Silent())
    more = tune_in(tmp_path, tuning(trials=5), SERIAL, Silent())
    at_once = tune_in(tmp_path / "once", tuning(trials=5), SERIAL, Silent())
    assert more["outcomes"][:3] == first["outcomes"]
    assert more == at_once
    assert tune_in(tmp_path, tuning(trials=3), SERIAL, Silent()) == first
    with pytest.raises(OtherTuning, match=r"other settings \(settings\)"):
        tune_in(tmp_path, tuning(trials=5, repeats=3), SERIAL, Silent())
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file() and "sqlite" not in path.name) == [
        "recipe.yaml"
    ]


def test_the_folder_of_a_search_is_refused(tmp_path):
    with RunStore.create(tmp_path / "run.sqlite", {}):
        pass
    with pytest.raises(OtherTuning, match="holds a search; choose another folder"):
        tune_in(tmp_path, tuning(trials=3), SERIAL, Silent())
    assert not (tmp_path / "tune.sqlite").exists()
