"""Kernels learned on a simulated device: a known law of cost stands in for the stopwatch, all else is real."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import xgboost

from hardware.conditions import Surroundings
from hardware.device import Device
from hardware.device_table import DeviceTable, InvalidTable, KernelRow, NetworkRow
from hardware.fitting import fit_latency_table, networks_of
from hardware.forest import Forest
from hardware.kernel_features import features, lane_macs, steps, true_macs
from hardware.kernel_model import KernelModel, fit_kernel_model, footprint_of
from hardware.kernels import DENSE, DEPTHWISE, POINTWISE, Kernel, kernels_of
from hardware.lookup import LatencyTable
from search_spaces import SPACES
from search_spaces.expand import expand

SPACE, SHAPE = SPACES["zen-tiny"], (3, 16, 16)
OVERHEAD_MS = 0.005


def law_ms(kernel, footprint):
    """Compute bound, worse with empty lanes, a call for each, and slower once the caches are full."""
    full = 1.3 if footprint > 1.2e6 else 1.0
    return full * (lane_macs(kernel) / 3e7 + kernel.weight_count / 2e7) + 0.003


def network_row(arch):
    kernels = kernels_of(expand(arch, SHAPE, 10))
    footprint = footprint_of(kernels)
    return NetworkRow(arch, SHAPE, 10, OVERHEAD_MS + sum(law_ms(kernel, footprint) for kernel in kernels))


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    networks = tuple(network_row(arch) for arch in dict.fromkeys(SPACE.sample(rng) for _ in range(60)))
    kernels = []
    for row in networks:
        found = row.kernels()
        footprint = footprint_of(found)
        kernels += [KernelRow(k, law_ms(k, footprint), found.count(k), footprint) for k in dict.fromkeys(found)]
    conditions = Surroundings().conditions(Device(), None)
    return DeviceTable(
        "sim", str(Device()), kernels=tuple(kernels), networks=networks, overhead_ms=OVERHEAD_MS, conditions=conditions
    )


@pytest.fixture(scope="module")
def table(rows):
    return fit_latency_table(rows, SPACE, Device(), SHAPE, 10, confidence=0.9)


def fresh(count, seed=99):
    rng = np.random.default_rng(seed)
    return [SPACE.sample(rng) for _ in range(count)]


def test_networks_that_were_not_measured_are_predicted(table):
    archs = fresh(40)
    true_ms = np.array([network_row(arch).latency_ms for arch in archs])
    estimates = [table.estimate(arch) for arch in archs]
    errors = np.array([estimate.mean_ms for estimate in estimates]) / true_ms - 1
    assert np.abs(errors).mean() < 0.04
    held = np.mean([estimate.upper_ms >= ms for estimate, ms in zip(estimates, true_ms, strict=True)])
    assert held >= 0.8  # at a stated 0.9, on 40
    assert 0 < table.calibration.held_out.mape < 0.06


def test_the_table_survives_json(table):
    again = LatencyTable.from_json(table.to_json())
    for arch in fresh(5):
        assert again.estimate(arch) == table.estimate(arch)
    assert again.digest == table.digest


def test_another_confidence_moves_the_bound_only(table):
    arch = fresh(1)[0]
    surer = replace(table, calibration=table.calibration.at_confidence(0.98))
    assert surer.estimate(arch).mean_ms == table.estimate(arch).mean_ms
    assert surer.estimate(arch).upper_ms > table.estimate(arch).upper_ms
    with pytest.raises(ValueError, match="keeps no residuals"):
        replace(table.calibration, residuals=()).at_confidence(0.98)


def test_a_kernel_takes_as_long_in_any_company(rows):
    """To the last bit: workers know different kernels already, and ask for the others together."""
    ms, footprints = np.array([[row.latency_ms, row.footprint] for row in rows.kernels]).T
    model = fit_kernel_model([row.kernel for row in rows.kernels], ms, footprints)
    kernels = list(dict.fromkeys(kernel for row in rows.networks for kernel in row.kernels()))
    together = model.predict(kernels, np.full(len(kernels), 2e6))
    assert [model.predict([kernel], np.full(1, 2e6))[0] for kernel in kernels] == together.tolist()


def test_the_shares_of_the_blocks_make_up_the_whole(table):
    arch = fresh(1)[0]
    rest_ms = table.estimate(arch).mean_ms - sum(table.blocks_ms(arch))
    assert len(table.blocks_ms(arch)) == len(arch.blocks)
    assert 0 < rest_ms < 0.2 * table.estimate(arch).mean_ms


def test_a_kernel_is_never_faster_in_a_larger_network(rows, table):
    logs = np.arange(15, 27, 0.5)
    heavy = sorted({row.kernel for row in rows.kernels}, key=lambda kernel: kernel.macs)[-20:]
    predicted = np.array([table.pieces.predict([kernel] * len(logs), 2.0**logs) for kernel in heavy])
    assert np.all(np.diff(predicted, axis=1) >= -1e-12)
    assert (predicted[:, -1] / predicted[:, 0]).mean() > 1.1


def test_a_larger_batch_never_takes_less_time_even_where_a_measurement_says_so():
    rng = np.random.default_rng(0)
    sizes = [(int(c), int(s)) for c, s in zip(rng.integers(4, 64, 60), rng.integers(4, 32, 60), strict=True)]
    kernels = [Kernel(DENSE, (c, s, s), (c, s, s), 3, batch=b) for c, s in sizes for b in (1, 2, 4, 8)]
    ms = np.array([law_ms(k, 0) * (0.5 if k.batch == 4 else 1.0) for k in kernels])
    model = fit_kernel_model(kernels, ms, np.full(len(kernels), np.nan))
    found = model.predict_ms(kernels).reshape(len(sizes), 4)
    assert (np.diff(found, axis=1) >= -1e-9).all()


def test_networks_of_other_spaces_shapes_and_batches_do_not_calibrate(rows):
    other = NetworkRow(SPACES["genet-tiny"].sample(np.random.default_rng(0)), SHAPE, 10, 1.0)
    larger = replace(rows.networks[0], input_shape=(3, 32, 32))
    batched = replace(rows.networks[0], batch=8)
    mixed = replace(rows, networks=(*rows.networks[:7], other, larger, batched))
    assert networks_of(mixed, SPACE, SHAPE, 1) == list(rows.networks[:7])


def test_too_few_rows_are_refused_with_their_number(rows):
    with pytest.raises(InvalidTable, match="device sim: 2 measured networks of zen-tiny at 16 pixels, at least 5"):
        fit_latency_table(replace(rows, networks=rows.networks[:2]), SPACE, Device(), SHAPE, 10, confidence=0.9)
    with pytest.raises(InvalidTable, match="device sim: 9 kernels and 0 pieces were measured"):
        fit_latency_table(replace(rows, kernels=rows.kernels[:9]), SPACE, Device(), SHAPE, 10, confidence=0.9)


def test_a_model_of_other_features_is_refused(table):
    data = table.pieces.to_dict()
    data["features"] = data["features"][:-1]
    with pytest.raises(ValueError, match="other features"):
        KernelModel.from_dict(data)


def test_unknown_footprints_are_no_obstacle():
    kernels = [Kernel(DENSE, (c, 8, 8), (c, 8, 8), 3) for c in range(8, 128, 4)]
    ms = np.array([law_ms(kernel, 0) for kernel in kernels])
    model = fit_kernel_model(kernels, ms, np.full(len(kernels), math.nan))
    assert model.predict(kernels, np.full(len(kernels), 1e6)) == pytest.approx(ms, rel=0.25)


def test_a_forest_is_what_xgboost_predicts_and_survives_json():
    rng = np.random.default_rng(0)
    rows = rng.random((500, 7)).astype(np.float32).astype(float)
    target = np.exp(rows[:, 0] * rows[:, 1])
    data = xgboost.DMatrix(rows, target, base_margin=np.zeros(500), nthread=1)
    settings = {"objective": "reg:gamma", "eta": 0.2, "max_depth": 4, "nthread": 1, "min_child_weight": 9}
    booster = xgboost.train(settings, data, 30)
    forest = Forest.of(booster, 4)
    again = Forest.from_dict(json.loads(json.dumps(forest.to_dict())))
    assert forest.predict(rows) == pytest.approx(booster.predict(data, output_margin=True), abs=1e-5)
    assert np.array_equal(again.predict(rows), forest.predict(rows))
    assert len(forest.predict(rows[:0])) == 0


def test_padding_and_lanes_count_as_hardware_sees_them():
    dense = Kernel(DENSE, (16, 2, 2), (16, 2, 2), 3)
    assert true_macs(dense) == 16 * 16 * 4 * 4  # of nine taps, four meet the map at each of the four positions
    assert lane_macs(dense) == true_macs(dense)
    assert lane_macs(dense._replace(shape=(17, 2, 2))) == pytest.approx(17 * 16 * 16 * (32 / 17))
    assert steps(dense) == 2 * 2 * 9 * 16  # both positions of each row lie at the edge
    assert steps(Kernel(POINTWISE, (16, 6, 2), (64, 6, 2))) == 2 * 16
    assert steps(Kernel(DEPTHWISE, (32, 8, 8), (32, 8, 8), 3, groups=32)) == 8 * (2 + 1) * 9 * 2
    assert np.isfinite(features([dense, Kernel("add", (4, 1, 1), (4, 1, 1))])).all()
