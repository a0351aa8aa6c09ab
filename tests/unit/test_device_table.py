"""Rows of a device: exchange, merging, and what is refused."""

import math
from dataclasses import replace

import numpy as np
import pytest

from hardware.conditions import Surroundings
from hardware.device import Device
from hardware.device_store import check_name, device_name
from hardware.device_table import DeviceTable, InvalidTable, KernelRow, NetworkRow
from hardware.kernels import Kernel
from hardware.row_checks import macs_of
from search_spaces import SPACES

ARCH = SPACES["zen-tiny"].sample(np.random.default_rng(0))
NETWORK = NetworkRow(ARCH, (3, 16, 16), 10, 0.5, 0.49, 0.52)
KERNELS = tuple(KernelRow(kernel, 1e-3 + kernel.macs / 1e8, 3) for kernel in dict.fromkeys(NETWORK.kernels()))
TABLE = DeviceTable("bench-1", kernels=KERNELS, networks=(NETWORK,), source="test", notes={"batch": 1})


def test_json_round_trip_with_conditions():
    table = replace(TABLE, device=str(Device()), conditions=Surroundings().conditions(Device(), None))
    assert DeviceTable.from_json(table.check().to_json()) == table


def test_an_altered_file_is_refused():
    text = TABLE.to_json().replace('"bench-1"', '"bench-2"')
    with pytest.raises(InvalidTable, match="cut or altered"):
        DeviceTable.from_json(text)
    with pytest.raises(InvalidTable, match="cannot be read"):
        DeviceTable.from_json(TABLE.to_json()[:-9])


@pytest.mark.parametrize("value", [math.nan, -1.0, 0.0, math.inf, True])
def test_what_is_no_latency_is_refused_with_its_row(value):
    rows = (*KERNELS[:3], replace(KERNELS[3], latency_ms=value))
    with pytest.raises(InvalidTable, match=r"device bench-1, row 4: latency_ms=.*, expected a positive number"):
        replace(TABLE, kernels=rows, networks=()).check()


def test_wrong_units_are_refused_with_their_row():
    with pytest.raises(InvalidTable, match=r"row 2: .* faster than any device; is the column in seconds"):
        replace(TABLE, kernels=(KERNELS[0], replace(KERNELS[1], latency_ms=1e-9))).check()
    with pytest.raises(InvalidTable, match=r"row 2: .* slower than any device; is the column in microseconds"):
        replace(TABLE, kernels=(KERNELS[0], replace(KERNELS[1], latency_ms=1e8))).check()
    odd = replace(KERNELS[4], latency_ms=2000 * KERNELS[4].latency_ms)
    with pytest.raises(InvalidTable, match=r"row 5: [0-9,]+ times slower than the table's others"):
        replace(TABLE, kernels=(*KERNELS[:4], odd), networks=()).check()


def test_whole_tables_in_another_unit_are_refused():
    sizes = [(16, 16), (32, 8), (32, 16), (64, 8), (64, 16)]
    kernels = [Kernel("conv", (c, side, side), (c, side, side), 3) for c, side in sizes]
    usual = [(kernel, 0.02 + kernel.macs / 1e6) for kernel in kernels]

    def table(factor):
        return replace(TABLE, kernels=tuple(KernelRow(kernel, factor * ms) for kernel, ms in usual), networks=())

    table(1.0).check()
    table(50.0).check()  # 20 million multiply-adds a second: a microcontroller
    with pytest.raises(InvalidTable, match=r"device bench-1: .* slower than a microcontroller; .* in microseconds"):
        table(150.0).check()
    with pytest.raises(InvalidTable, match=r"device bench-1, row 5: .* ms for one kernel is over 10 s"):
        table(1100.0).check()
    fast = [KernelRow(kernel, 2e-6 + kernel.macs / 1e12) for kernel in kernels]
    with pytest.raises(InvalidTable, match=r"device bench-1: .* no runtime starts a kernel so fast; .* in seconds"):
        replace(TABLE, kernels=tuple(fast), networks=()).check()
    networks = tuple(NetworkRow(ARCH, (3, side, side), 10, 4e-5 * side) for side in range(32, 37))
    with pytest.raises(InvalidTable, match=r"device bench-1: .* no runtime starts a kernel so fast; .* in seconds"):
        replace(TABLE, kernels=(), networks=networks).check()
    tiny = [Kernel("relu", (c, 1, 1), (c, 1, 1)) for c in range(1, 9)]
    replace(TABLE, kernels=tuple(KernelRow(kernel, 1e-4) for kernel in tiny), networks=()).check()


def test_places_stand_for_numbers():
    places = ["rows.csv, line 7", "rows.csv, line 9"]
    with pytest.raises(InvalidTable, match=r"^rows.csv, line 9: the same as line 7; keep one"):
        replace(TABLE, networks=(), kernels=(KERNELS[0], KERNELS[0])).check(places)


def test_calls_that_cost_more_than_their_work_are_no_outliers():
    sizes = [(8, 4), (16, 4), (512, 56), (512, 112), (1024, 112), (1024, 224)]
    kernels = [Kernel("conv", (c, side, side), (c, side, side), 3) for c, side in sizes]
    rows = tuple(KernelRow(kernel, 0.02 + kernel.macs / 1e10) for kernel in kernels)
    assert max(macs_of(row) / row.latency_ms for row in rows) > 2000 * min(
        macs_of(row) / row.latency_ms for row in rows
    )
    replace(TABLE, kernels=rows, networks=()).check()


def test_two_rows_for_one_thing_are_refused():
    with pytest.raises(InvalidTable, match="row 2: the same as row 1"):
        replace(TABLE, kernels=(KERNELS[0], replace(KERNELS[0], latency_ms=0.3))).check()
    with pytest.raises(InvalidTable, match=f"row {len(KERNELS) + 2}: the same as row {len(KERNELS) + 1}"):
        replace(TABLE, networks=(NETWORK, NETWORK)).check()


def test_merging_keeps_both_and_the_newer_row():
    first = replace(TABLE, kernels=KERNELS[:4])
    newer = replace(KERNELS[3], latency_ms=0.9)
    second = replace(TABLE, kernels=(newer, *KERNELS[4:]), networks=())
    merged = first.merged(second)
    assert len(merged.kernels) == len(KERNELS)
    assert newer in merged.kernels
    assert merged.networks == (NETWORK,)


def test_tables_of_other_devices_or_conditions_do_not_merge():
    with pytest.raises(InvalidTable, match="name 'bench-1' and 'other' differ"):
        TABLE.merged(replace(TABLE, name="other"))
    conditions = Surroundings().conditions(Device(), None)
    here = replace(TABLE, conditions=conditions)
    with pytest.raises(InvalidTable, match=r"cpu_model was .*, now Z80"):
        here.merged(replace(here, conditions=replace(conditions, cpu_model="Z80")))
    assert here.merged(replace(here, conditions=replace(conditions, load=9.0))).conditions.load == 9.0


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("onnxruntime", "onnxruntime"),
        ("onnxruntime:threads=2,batch=4,precision=int8", "onnxruntime-t2-b4-int8"),
        ("torch:name=cuda", "torch-cuda"),
    ],
)
def test_a_device_has_a_short_name(text, name):
    assert device_name(Device.parse(text)) == name


def test_commands_have_names_of_their_own():
    names = {device_name(Device.parse(f"command:run={each} {{model}}")) for each in ("a", "b")}
    assert len(names) == 2
    assert all(check_name(name) for name in names)
