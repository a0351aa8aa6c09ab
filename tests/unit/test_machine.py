"""What the machine tells of itself, read from folders like those of Linux."""

import dataclasses
import json

import pytest

from hardware.conditions import Conditions, Surroundings
from hardware.device import Device
from hardware.machine import Machine, clock_mhz, cpu_list, last_cpu, machine


def write(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


def test_caches_clocks_and_limits(tmp_path):
    cpu = f"cpu{last_cpu()}"
    write(
        tmp_path / "cpus",
        {
            f"{cpu}/topology/thread_siblings_list": "0,4-5",
            f"{cpu}/cache/index0/level": "1",
            f"{cpu}/cache/index0/type": "Data",
            f"{cpu}/cache/index0/size": "48K",
            f"{cpu}/cache/index0/shared_cpu_list": "0",
            f"{cpu}/cache/index3/level": "3",
            f"{cpu}/cache/index3/type": "Unified",
            f"{cpu}/cache/index3/size": "32768K",
            f"{cpu}/cache/index3/shared_cpu_list": "0-7",
            f"{cpu}/cpufreq/scaling_governor": "powersave",
            f"{cpu}/cpufreq/scaling_cur_freq": "2500000",
            "intel_pstate/no_turbo": "1",
        },
    )
    write(tmp_path / "cgroup", {"cpu.max": "150000 100000"})
    found = machine(tmp_path / "cpus", tmp_path / "cgroup")
    assert found.threads_per_core == 3
    assert [(c.level, c.kind, c.kib, c.cpus) for c in found.caches] == [(1, "data", 48, 1), (3, "unified", 32768, 8)]
    assert (found.governor, found.turbo, found.cpu_quota) == ("powersave", False, 1.5)
    assert clock_mhz(1, tmp_path / "cpus") == 2500.0
    assert Machine.from_dict(json.loads(json.dumps(dataclasses.asdict(found)))) == found


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "max 100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 0.5),
        ({}, None),
    ],
)
def test_limits_of_containers(tmp_path, files, quota):
    write(tmp_path, files)
    assert machine(tmp_path / "absent", tmp_path).cpu_quota == quota


def test_a_machine_that_tells_nothing(tmp_path):
    found = machine(tmp_path, tmp_path)
    assert (found.caches, found.threads_per_core, found.governor, found.turbo) == ((), None, "", None)
    assert clock_mhz(1, tmp_path) is None


def test_lists_of_cpus():
    assert cpu_list("0-2,5") == [0, 1, 2, 5]
    assert cpu_list("") == []


def test_conditions_hold_the_machine_and_older_files_are_read():
    now = Surroundings().conditions(Device(threads=2), (3, 8, 8))
    data = json.loads(json.dumps(now.to_dict()))
    assert Conditions.from_dict(data) == now
    assert now.threads == 2
    assert now.machine.features
    for later in ("threads", "machine"):
        del data[later]
    older = Conditions.from_dict(data)
    assert (older.threads, older.machine) == (None, None)
    assert older.identity() == now.identity()
