import dataclasses
import json
import logging

import pytest
import torch

from nas.records import Candidate
from nas.train import finalists
from nas.train.checkpoint import InvalidCheckpoint
from nas.train.data import InvalidDataset, load_dataset
from nas.train.entrant import Entrant, build_network
from nas.train.finalists import train_finalists
from nas.train.fit import EpochReport, Training, TrainingDiverged
from nas.train.halving import Halving
from nas.train.race import InvalidRace
from nas.train.recipe import InvalidRecipe, Recipe
from search_spaces.arch import Architecture, Block

RECIPE = Recipe(batch_size=128, learning_rate=0.05)


def candidates(widths=(4, 8, 6, 12)):
    return [
        Candidate(7 * i, Architecture((Block("conv", w, stride=2), Block("zen_xx", w, 3, 2, 1, inner=w))))
        for i, w in enumerate(widths)
    ]


def run(folder, **change):
    facts = {"seed": 3, "max_epochs": 3, "engine": "serial", "storage_dir": folder} | change
    facts.setdefault("grace_steps", 0)
    return train_finalists(facts.pop("candidates", candidates()), "digits", facts.pop("recipe", RECIPE), **facts)


def test_the_weaker_two_thirds_fall_out_at_the_rung(tmp_path):
    seen, done = [], []
    results = run(tmp_path, on_epoch=lambda i, report: seen.append((i, report)), on_result=done.append)
    assert [r.id for r in results] == [0, 7, 14, 21]
    assert sorted(r.epochs for r in results) == [1, 1, 3, 3]  # 4 candidates, ceil(4 / 3) = 2 places
    first = {r.id: r.curve[0].validation_top1 for r in results}
    kept = {r.id for r in results if not r.stopped_early}
    assert min(first[i] for i in kept) >= max(first[i] for i in first.keys() - kept)
    assert sorted(done, key=lambda r: r.id) == results
    assert all([report for i, report in seen if i == r.id] == list(r.curve) for r in results)
    assert all(r.top1 == r.curve[-1].validation_top1 and r.failure is None for r in results)


def test_a_candidates_curve_does_not_depend_on_its_rivals(tmp_path):
    together = {r.id: r for r in run(tmp_path / "a")}
    winner = next(r for r in together.values() if not r.stopped_early)
    alone = run(tmp_path / "b", candidates=[c for c in candidates() if c.id == winner.id])
    assert alone[0].curve == winner.curve


def test_threads_change_nothing_and_are_put_back(tmp_path):
    torch.set_num_threads(1)
    one = run(tmp_path / "a")
    torch.set_num_threads(2)
    try:
        assert run(tmp_path / "b") == one
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("after", [1, 3, 5])
def test_a_race_that_was_killed_ends_alike(tmp_path, after):
    expected, count = run(tmp_path / "whole"), []

    def kill(entrant_id, report):
        count.append(entrant_id)
        if len(count) == after:
            raise Killed

    with pytest.raises(Killed):
        run(tmp_path / "cut", on_epoch=kill)
    later = []
    assert run(tmp_path / "cut", on_epoch=lambda i, r: later.append(i)) == expected
    assert len(later) == sum(r.epochs for r in expected) - after  # nothing is trained twice


def test_a_finished_race_is_only_read(tmp_path):
    expected = run(tmp_path)
    assert run(tmp_path, on_epoch=lambda i, r: pytest.fail("trained again")) == expected


@pytest.mark.parametrize(
    "change", [{"seed": 4}, {"max_epochs": 4}, {"recipe": dataclasses.replace(RECIPE, momentum=0.5)}]
)
def test_a_folder_with_another_race_is_refused(tmp_path, change):
    run(tmp_path, candidates=candidates((4,)), max_epochs=1)
    with pytest.raises(InvalidRace, match="holds a race of other"):
        run(tmp_path, candidates=candidates((4,)), **({"max_epochs": 1} | change))


def test_damaged_files_are_one_line(tmp_path):
    run(tmp_path, candidates=candidates((4,)), max_epochs=1)
    (tmp_path / "finalist-0.pt").write_bytes(b"junk")
    with pytest.raises(InvalidCheckpoint, match=r"finalist-0\.pt"):
        run(tmp_path, candidates=candidates((4,)), max_epochs=1)
    (tmp_path / "race.json").write_text("{")
    with pytest.raises(InvalidRace):
        run(tmp_path, candidates=candidates((4,)), max_epochs=1)


def test_a_diverged_candidate_is_reported_and_the_others_go_on(tmp_path, monkeypatch):
    start = Entrant.start

    def poisoned(self, dataset=None):
        training = start(self, dataset)
        if self.id == 7:
            training.recipe = dataclasses.replace(training.recipe, learning_rate=1e30, warmup_epochs=0)
        return training

    monkeypatch.setattr(Entrant, "start", poisoned)
    results = {r.id: r for r in run(tmp_path)}
    assert "lower learning_rate" in results[7].failure
    assert (results[7].epochs, results[7].top1, results[7].stopped_early) == (0, None, True)
    assert sorted(r.epochs for r in results.values()) == [0, 1, 3, 3]


def test_what_a_training_reached_before_it_diverged_is_no_result(tmp_path, monkeypatch):
    train_epoch = Training.train_epoch

    def breaking(self):
        if self.epoch == 2 and self.model.arch == candidates()[1].arch:
            raise TrainingDiverged("epoch 3: the training loss is nan")
        return train_epoch(self)

    monkeypatch.setattr(Training, "train_epoch", breaking)
    result = {r.id: r for r in run(tmp_path, grace_steps=10_000)}[7]
    assert len(result.curve) == 2
    assert (result.epochs, result.top1, result.stopped_early) == (2, None, True)
    assert result.failure == "epoch 3: the training loss is nan"


def test_a_candidate_whose_worker_died_after_its_last_epoch_is_no_result(tmp_path):
    race = finalists.Race((), Halving(1, 1), tmp_path)
    curve = [EpochReport(1, 0.1, 1.0, 1.0, 0.9, 1.0)]
    assert race.result(0, curve, None).top1 == 0.9
    lost = race.result(0, curve, "the worker died")
    assert (lost.top1, lost.stopped_early) == (None, True)


def test_those_that_diverged_take_no_place_at_a_rung_they_did_not_reach():
    halving = Halving(3, 9)  # one of three goes on after 3 epochs
    curves = {0: (0.1, 0.1, 0.1), 1: (0.9, 0.9), 2: (0.8,)}
    assert halving.verdict(0, curves) == "wait"
    assert halving.verdict(0, curves, frozenset({1, 2})) == "continue"
    assert halving.verdict(1, curves, frozenset({1, 2})) == "stop"


def test_auto_takes_the_serial_engine_for_short_work_and_says_so(tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="nas.train.finalists"):
        results = run(tmp_path, engine="auto", candidates=candidates((4, 6)))
    assert [r.epochs for r in results].count(3) == 1
    assert len(caplog.records) == 1
    assert "engine serial" in caplog.text


def test_auto_takes_ray_for_long_work_on_several_cores(monkeypatch, tmp_path):
    cores = {"now": 2}
    monkeypatch.setattr(finalists, "available_cpus", lambda: cores["now"])
    monkeypatch.setattr(Training, "estimate_epoch_seconds", lambda self: 60.0)
    race = finalists.Race(
        (Entrant(0, candidates()[0].arch.to_dict(), "digits", RECIPE.to_dict(), 0),),
        finalists.Halving(1, 3),
        tmp_path,
    )
    data = load_dataset("digits")
    assert finalists.choose_engine(race, data, None) == "ray"
    cores["now"] = 1
    assert finalists.choose_engine(race, data, None) == "serial"
    assert finalists.choose_engine(race, data, "auto") == "ray"
    assert finalists.choose_engine(race, data, None, 4) == "ray"
    cores["now"] = 2
    assert finalists.choose_engine(race, data, None, 1) == "serial"


def test_bad_calls_are_refused(tmp_path):
    with pytest.raises(InvalidRace, match="at least one"):
        run(tmp_path, candidates=[])
    with pytest.raises(InvalidRace, match="twice"):
        run(tmp_path, candidates=candidates((4,)) * 2)
    with pytest.raises(InvalidRecipe, match="epochs"):
        run(tmp_path, max_epochs=0)
    with pytest.raises(InvalidDataset, match="no such dataset"):
        train_finalists(candidates(), "nothing", RECIPE, seed=0, max_epochs=1, storage_dir=tmp_path)


def test_an_entrant_survives_json_and_builds_the_same_network(tmp_path):
    data = load_dataset("digits")
    entrant = Entrant(5, candidates()[0].arch.to_dict(), "digits", RECIPE.to_dict(), 1)
    copy = Entrant.from_dict(json.loads(json.dumps(entrant.to_dict())))
    states = [e.start(data).model.state_dict() for e in (entrant, copy)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_initial_weights_depend_on_the_seed_alone():
    data, arch = load_dataset("digits"), candidates()[0].arch
    torch.manual_seed(1)
    a = build_network(arch, data, seed=4).state_dict()
    expected = torch.rand(1, generator=torch.Generator().manual_seed(1))
    assert torch.equal(torch.rand(1), expected)  # the global generator was not touched
    b, c = (build_network(arch, data, seed=s).state_dict() for s in (4, 5))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not all(torch.equal(a[name], c[name]) for name in a)


def test_nobody_falls_out_before_the_steps_of_grace(tmp_path):
    results = run(tmp_path, grace_steps=10_000)
    assert {r.epochs for r in results} == {3}
    assert not any(r.stopped_early for r in results)


def test_rungs_before_the_grace_are_put_off():
    assert Halving(6, 20).rungs == (2, 6)
    assert Halving(6, 20, grace=8).rungs == (8,)
    assert Halving(6, 20, grace=20).rungs == ()


def test_the_work_of_a_comparison_without_dropping_is_everyones_full_training(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(Training, "estimate_epoch_seconds", lambda self: 1.0)
    with caplog.at_level(logging.INFO, logger="nas.train.finalists"):
        run(tmp_path, engine="auto", candidates=candidates((4, 6)), drop=False)
    assert "2 candidates, about 6 s" in caplog.text
