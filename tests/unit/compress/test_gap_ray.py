"""P-GaP on Ray's workers: equal bits, checkpoints that either side goes on from, and a dead worker."""

import warnings
from dataclasses import replace

import pytest
from pruning_example import RECIPE, SETTINGS, assert_equal_states, finish, make_dataset, make_model, start

from nas.compress.gap import gap
from nas.compress.gap.parallel import OnRay, WorkerDied
from nas.compress.gap.workers import Job
from nas.runners.ray_session import start_ray


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning:ray")
def test_ray_gives_the_bits_of_this_process_and_a_dead_worker_is_named(tmp_path):
    settings = replace(SETTINGS, method="parallel", partitions=3, epochs_per_step=1)
    expected = gap(make_model(), make_dataset(), RECIPE, settings=settings, seed=2)
    with warnings.catch_warnings(), start_ray(workers=2):
        path = tmp_path / "p.pt"
        found = gap(make_model(), make_dataset(), RECIPE, settings=settings, seed=2, workers=2, checkpoint=path)
        job = Job(make_model(), make_dataset(), RECIPE, "cpu")
        workers = OnRay(job, 2)
        halfway = start(replace(settings, epochs_per_step=2), workers=workers, seed=2)
        halfway.train_epoch()
        halfway.save(tmp_path / "half.pt")
        here = start(replace(settings, epochs_per_step=2), seed=2)
        here.load(tmp_path / "half.pt")  # begun on Ray, finished here
        whole = finish(start(replace(settings, epochs_per_step=2), seed=2))
        assert_equal_states(finish(here).network.state_dict(), whole.network.state_dict())
        import ray

        ray.kill(workers._actors[0])
        with pytest.raises(WorkerDied, match="P-GaP: a worker died"):
            halfway.train_epoch()
    assert found.curve == expected.curve
    assert_equal_states(found.masks, expected.masks)
    assert_equal_states(found.network.state_dict(), expected.network.state_dict())
