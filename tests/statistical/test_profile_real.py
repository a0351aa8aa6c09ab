"""A latency table of a real space on this machine. Ratios and ranks only: no figure here depends on its speed."""

import numpy as np
import pytest

from hardware.device import Device
from hardware.measure import LayerModel, MeasureProtocol, measure
from hardware.profiling import profile_space
from hardware.spaces import space_digest
from search_spaces import SPACES

SHAPE = (3, 16, 16)


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["onnxruntime", "torch"])
def test_fresh_networks_rank_as_the_table_says(runtime):
    space, device = SPACES["zen-tiny"], Device(runtime=runtime)
    told = []
    table = profile_space(space, device, SHAPE, 10, seconds=25, seed=0, progress=lambda what, share: told.append(share))
    assert told == sorted(told)
    assert told[-1] <= 1
    assert table.calibration.held_out.networks >= 5
    table.check_conditions("zen-tiny", device, SHAPE, space_digest=space_digest(space))
    assert table.space_spec == "zen-tiny"

    rng = np.random.default_rng(1)
    fresh = [space.sample(rng) for _ in range(12)]
    timed = measure([LayerModel.of(arch, SHAPE, 10) for arch in fresh], device, MeasureProtocol.quick(15))
    predicted = np.array([table.estimate(arch).mean_ms for arch in fresh])
    measured = np.array([result.latency_ms for result in timed])
    ranks = [np.argsort(np.argsort(values)) for values in (predicted, measured)]
    assert np.corrcoef(*ranks)[0, 1] > 0.8
    assert 0.4 < np.median(predicted / measured) < 2.5
