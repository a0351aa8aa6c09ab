"""Scores of a supernet's networks from real Ray workers: equal to the serial ones, whatever dies on the way."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nas.one_shot.measurement import Paths, measure_effects
from nas.one_shot.pool import ScorePool, ScoringFailed
from nas.one_shot.scores import ScoringSettings
from nas.one_shot.structure import structure_of
from nas.runners.ray_session import start_ray
from nas.train.data import load_dataset
from nas.train.supernet.file import save_supernet
from nas.train.supernet.judge import SubnetScore
from nas.train.supernet.recipe import SupernetRecipe
from search_spaces import SPACES
from search_spaces.arch import Architecture
from search_spaces.mobilenet import MobileNetSpace
from search_spaces.supernet import Supernet

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning:ray")
NAME, SETTINGS = "mobilenetv3-tiny-images", ScoringSettings()


def space() -> MobileNetSpace:
    found = SPACES[NAME]
    assert isinstance(found, MobileNetSpace)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("supernet")
    supernet = Supernet(space(), num_classes=10, in_channels=1, seed=1)
    task = load_dataset("digits").task
    save_supernet(path, supernet, SupernetRecipe(), task, space=NAME, data="digits", seed=1, curve=())
    return path


@pytest.fixture(scope="module")
def ray() -> Iterator[None]:
    """One Ray for the module: pools join it and leave it running."""
    with start_ray(workers=2):
        yield


@pytest.fixture(scope="module")
def archs() -> list[Architecture]:
    rng = np.random.default_rng(0)
    return [space().sample(rng) for _ in range(24)]


@pytest.fixture(scope="module")
def serial(folder: Path, archs: list[Architecture]) -> list[SubnetScore]:
    with ScorePool(folder, "digits", SETTINGS) as alone:
        return alone.scores(archs)


@pytest.mark.usefixtures("ray")
@pytest.mark.slow
def test_workers_killed_while_they_compute_change_no_bit(
    folder: Path, archs: list[Architecture], serial: list[SubnetScore], tmp_path: Path
) -> None:
    import ray

    with ScorePool(folder, "digits", SETTINGS, workers=2, file=tmp_path / "scores.jsonl") as pool:
        assert pool.scores(archs[:1]) == serial[:1]
        assert pool._crew is not None
        pids = ray.get([actor.pid.remote() for actor in pool._crew.actors])
        killers = [threading.Timer(0.2 * (i + 1), os.kill, (pid, signal.SIGKILL)) for i, pid in enumerate(pids)]
        for killer in killers:
            killer.start()
        assert pool.scores(archs) == serial
        for killer in killers:
            killer.join()
        after = ray.get([actor.pid.remote() for actor in pool._crew.actors])
    assert not set(after) & set(pids)
    with ScorePool(folder, "digits", SETTINGS, file=tmp_path / "scores.jsonl") as again:
        assert again.scores(archs) == serial
        assert again.computed == 0


@pytest.mark.slow
@pytest.mark.usefixtures("ray")
def test_a_cluster_without_room_is_used_as_far_as_it_goes(
    folder: Path, archs: list[Architecture], serial: list[SubnetScore], caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.WARNING, logger="nas.one_shot.pool"),
        ScorePool(folder, "digits", SETTINGS, workers=3) as pool,
    ):
        assert pool.scores(archs[:6]) == serial[:6]
    assert "asked for 3 workers, the cluster has 2 CPUs" in caplog.text


@pytest.mark.usefixtures("ray")
def test_workers_that_do_not_see_the_folder_are_one_line(folder: Path, archs: list[Architecture]) -> None:
    elsewhere = folder.rename(folder.with_name("moved"))
    elsewhere.rename(folder)
    with ScorePool(folder, "digits", SETTINGS, workers=2) as pool:
        folder.rename(elsewhere)
        try:
            with pytest.raises(ScoringFailed, match="do they see the supernet's folder") as error:
                pool.scores(archs[:2])
        finally:
            elsewhere.rename(folder)
    assert "\n" not in str(error.value)


@pytest.mark.slow
@pytest.mark.usefixtures("ray")
def test_effects_measured_by_two_workers_are_those_of_one_and_a_kill_repeats_nothing(
    folder: Path, tmp_path: Path
) -> None:
    view, few = structure_of(space()), ScoringSettings(images=32, calibration=32)
    with ScorePool(folder, "digits", few, workers=2, file=tmp_path / "two.jsonl") as pool:
        two = measure_effects(view, pool, Paths(2, seed=0))
    known = (tmp_path / "two.jsonl").read_text().splitlines(keepends=True)[:-40]
    (tmp_path / "one.jsonl").write_text("".join(known) + known[0][:30])  # as a kill leaves it
    with ScorePool(folder, "digits", few, file=tmp_path / "one.jsonl") as pool:
        one = measure_effects(view, pool, Paths(2, seed=0))
        assert pool.computed == one.networks - len(known) == 40
    np.testing.assert_array_equal(one.estimator.configs, two.estimator.configs)
    np.testing.assert_array_equal(one.estimator.config_errors, two.estimator.config_errors)
    assert one.estimator.base == two.estimator.base
