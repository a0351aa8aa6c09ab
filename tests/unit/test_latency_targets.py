"""What a named device is: here, elsewhere, and what its rows say of networks that it never ran."""

import json
from dataclasses import replace

import numpy as np
import pytest

from hardware.conditions import Surroundings
from hardware.device import Device
from hardware.device_store import device_name, foreign_name, load_device, save_device, stored_devices
from hardware.device_table import DeviceTable, InvalidTable, KernelRow, NetworkRow, PieceRow
from hardware.kernel_model import fit_roofline
from hardware.kernels import GROUPED, Kernel, kernels_of
from hardware.latency_targets import find_target
from hardware.lookup import LatencyTable
from hardware.profiling import stored_rows
from hardware.protocol import steady
from hardware.table_cache import save_table, tables_of
from search_spaces import SPACES
from search_spaces.arch import Block
from search_spaces.expand import block_inputs, expand, sub_layers

SPACE, SHAPE = SPACES["zen-tiny"], (3, 16, 16)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path))


def ms_of(kernel):
    return 0.002 + kernel.macs / 4e6 + kernel.traffic / 3e7


def drawn(count, seed=0):
    rng = np.random.default_rng(seed)
    return [SPACE.sample(rng) for _ in range(count)]


def measured(name="laptop", cpu=None) -> DeviceTable:
    """Rows of ONNX Runtime, measured here or on a machine with another processor."""
    conditions = Surroundings().conditions(Device(), None)
    conditions = replace(conditions, cpu_model=cpu) if cpu else conditions
    kernels = {k for arch in drawn(60) for k in kernels_of(expand(arch, SHAPE, 10))}
    archs = [NetworkRow(a, SHAPE, 10, sum(map(ms_of, kernels_of(expand(a, SHAPE, 10))))) for a in drawn(8, 1)]
    rows = tuple(KernelRow(kernel, ms_of(kernel)) for kernel in sorted(kernels))
    return DeviceTable(
        name, str(Device()), source="measured here", kernels=rows, networks=tuple(archs), conditions=conditions
    )


def test_rows_of_this_machine_are_here_and_those_of_another_elsewhere():
    save_device(measured("mine"))
    save_device(measured("theirs", cpu="Another CPU"))
    assert find_target("mine").here
    theirs = find_target("theirs")
    assert not theirs.here
    assert theirs.changed == (f"cpu_model was Another CPU, now {measured().conditions.cpu_model}",)
    table = theirs.table(SPACE, SHAPE, 10, confidence=0.9)
    assert table.conditions.cpu_model == "Another CPU"
    fresh = drawn(1, 5)[0]
    expected = sum(map(ms_of, kernels_of(expand(fresh, SHAPE, 10))))
    assert table.estimate(fresh).mean_ms == pytest.approx(expected, rel=0.2)


def test_a_profile_never_overwrites_rows_of_other_conditions():
    save_device(measured("theirs", cpu="Another CPU"))
    with pytest.raises(InvalidTable, match=r"other conditions .cpu_model was Another CPU.*netwright device rm theirs"):
        stored_rows(Device(), "theirs")
    default = replace(measured(cpu="Another CPU"), name=device_name(Device()))
    save_device(default)
    assert not list(stored_rows(Device()).rows())
    aside = next(name for name in stored_devices() if name.startswith("onnxruntime-before-"))
    assert load_device(aside).kernels == default.kernels


def test_tables_read_from_files_do_not_take_the_name_of_measured_rows_or_runtimes():
    save_device(measured("mine"))
    with pytest.raises(InvalidTable, match="device mine: its rows were measured"):
        foreign_name("mine")
    with pytest.raises(InvalidTable, match="'openvino' is a runtime's"):
        foreign_name("openvino")
    assert foreign_name("phone") == "phone"


def test_a_card_shows_only_tables_of_the_same_conditions():
    save_device(measured("theirs", cpu="Another CPU"))
    fitted = find_target("theirs").table(SPACE, SHAPE, 10, confidence=0.9)
    save_table(fitted)
    assert len(tables_of(measured(cpu="Another CPU"))) == 1
    assert not tables_of(measured())


def test_what_was_never_measured_is_not_free_and_is_named():
    dense = [Kernel("conv", (c, s, s), (c, s, s), 3) for c in (8, 16, 32, 64) for s in (4, 8, 16)]
    ms = np.array([ms_of(kernel) for kernel in dense])
    costs = fit_roofline(dense, ms)
    assert costs.reshape(-1, 6)[3].sum() > 0  # grouped
    rows = tuple(
        KernelRow(Kernel("conv", (c, s, s), (8 * o, s, s), 3), 0.01 + c * o * s * s * 72 / 4e6)
        for c in (8, 16, 24, 32, 48, 64, 96)
        for o in range(1, 8)
        for s in (4, 6, 8, 12, 16)
    )
    save_device(DeviceTable("gpu", kernels=rows))
    target = find_target("gpu")
    missing = target.uncovered(SPACES["resnet-small"], (3, 32, 32), 10)
    assert {GROUPED, "linear"} <= set(missing)
    table = target.table(SPACES["resnet-small"], (3, 32, 32), 10, confidence=0.9)
    grouped = Kernel(GROUPED, (64, 16, 16), (64, 16, 16), 3, groups=4)
    [alone] = table.pieces.predict([grouped], np.array([np.nan]))
    assert alone > 0.002


def test_sub_layers_alone_make_a_device_that_can_be_searched():
    parts = {
        (replace(sub.block, depth=1), sub.in_shape, sub.first)
        for arch in drawn(40)
        for block, in_shape in block_inputs(arch, SHAPE)
        for sub, _ in sub_layers(block, in_shape)
    }
    rows = [PieceRow(block, shape, first, 1, None, 1.0) for block, shape, first in sorted(parts, key=repr)]
    rows = [replace(row, latency_ms=sum(map(ms_of, row.kernels()))) for row in rows]
    save_device(DeviceTable("phone", pieces=tuple(rows)))
    table = find_target("phone").table(SPACE, SHAPE, 10, confidence=0.9)
    archs = drawn(20, 7)
    predicted = [table.estimate(arch).mean_ms for arch in archs]
    true = [sum(map(ms_of, kernels_of(expand(arch, SHAPE, 10)))) for arch in archs]
    assert np.corrcoef(predicted, true)[0, 1] > 0.9
    assert "no network was measured; upper bound = 2.000 x mean, an assumption" in str(table)
    text = table.to_json()
    json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert LatencyTable.from_json(text).calibration.held_out.networks == 0


def test_too_few_pieces_are_refused():
    save_device(DeviceTable("phone", pieces=(PieceRow(Block("conv", 8), SHAPE, True, 1, None, 1.0),)))
    with pytest.raises(InvalidTable, match="0 kernels and 1 pieces at batch 1"):
        find_target("phone").table(SPACE, SHAPE, 10, confidence=0.9)


def test_void_figures_are_left_out_unless_nothing_else_is_there():
    calm, void, worse = (1.0, 1.01, 1.02, 2.0), (1.0, 1.01, 1.2), (1.0, 1.4, 1.5)
    assert steady("abc", [calm, void, calm], 2) == ["a", "c"]
    assert steady("abc", [calm, void, worse], 2) == ["a", "b"]
    assert steady("abc", [worse, void, worse], 5) == ["a", "b", "c"]
