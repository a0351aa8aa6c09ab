"""What kind of machine this is, as far as it tells: instruction sets, caches, clocks, and what a container leaves."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

# Instruction sets that decide which kernels a runtime picks, by the names of /proc/cpuinfo on x86 and on ARM.
FEATURES = (
    *("sse4_2", "avx", "f16c", "fma", "avx2", "avx_vnni", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16"),
    *("amx_tile", "amx_int8", "amx_bf16", "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2"),
)
_NO_LIMIT = 2**40  # microseconds: what some kernels write for "none"


@dataclass(frozen=True, slots=True)
class Cache:
    """One level of cache as the last CPU sees it.

    Attributes:
        level: 1 is nearest.
        kind: "data", "instruction" or "unified".
        kib: size.
        cpus: how many logical CPUs share it.
    """

    level: int
    kind: str
    kib: int
    cpus: int


@dataclass(frozen=True)
class Machine:
    """Facts that stay while a machine runs; empty, or None, where it does not tell.

    Attributes:
        features: of ``FEATURES``, those that the CPU has.
        caches: nearest first.
        threads_per_core: 2 with hyper-threads.
        governor: of the CPU's frequency, for example "performance".
        turbo: whether the clock may rise above its nominal frequency.
        cpu_quota: CPUs' worth of time that a container's limit leaves to this process; None without a limit.
        virtual: whether a hypervisor stands between.
    """

    features: tuple[str, ...]
    caches: tuple[Cache, ...]
    threads_per_core: int | None
    governor: str
    turbo: bool | None
    cpu_quota: float | None
    virtual: bool | None

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read what ``dataclasses.asdict`` wrote."""
        known = {field.name: data[field.name] for field in fields(cls)}
        caches = tuple(Cache(**row) for row in data["caches"])
        return cls(**{**known, "features": tuple(data["features"]), "caches": caches})


@lru_cache(maxsize=1)
def cpu_info() -> dict[str, str]:
    """The first value of each line of /proc/cpuinfo; empty on other systems."""
    return read_cpu_info(Path("/proc/cpuinfo"))


def read_cpu_info(path: Path) -> dict[str, str]:
    """The first value of each line of such a file."""
    found: dict[str, str] = {}
    for line in _text(path).splitlines():
        key, _, value = line.partition(":")
        found.setdefault(key.strip(), value.strip())
    return found


def machine(cpus: Path = Path("/sys/devices/system/cpu"), cgroup: Path = Path("/sys/fs/cgroup")) -> Machine:
    """The machine that this process runs on; the folders are those of Linux."""
    flags = cpu_flags()
    cpu = cpus / f"cpu{last_cpu()}"
    siblings = _text(cpu / "topology/thread_siblings_list")
    return Machine(
        features=tuple(name for name in FEATURES if name in flags),
        caches=tuple(_caches(cpu / "cache")),
        threads_per_core=len(cpu_list(siblings)) if siblings else None,
        governor=_text(cpu / "cpufreq/scaling_governor"),
        turbo=_turbo(cpus),
        cpu_quota=_quota(cgroup),
        virtual="hypervisor" in flags if flags else None,
    )


def last_cpu() -> int:
    """The CPU that single-threaded bursts are pinned to."""
    return max(os.sched_getaffinity(0)) if sys.platform == "linux" else 0


def clock_mhz(threads: int, cpus: Path = Path("/sys/devices/system/cpu")) -> float | None:
    """Mean frequency now of the CPUs that bursts are pinned to; None where it cannot be read, as in most guests."""
    allowed = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else []
    texts = [_text(cpus / f"cpu{cpu}/cpufreq/scaling_cur_freq") for cpu in allowed[-threads:]]
    khz = [int(text) for text in texts if text.isdigit()]
    return sum(khz) / len(khz) / 1000 if khz else None


def cpu_list(text: str) -> list[int]:
    """``0-2,5`` as [0, 1, 2, 5]."""
    spans = [span.partition("-") for span in text.split(",") if span]
    return [cpu for first, _, last in spans for cpu in range(int(first), int(last or first) + 1)]


def cpu_flags() -> set[str]:
    """What the CPU can do, by the names of /proc/cpuinfo; empty on other systems."""
    info = cpu_info()
    return set((info.get("flags") or info.get("Features") or "").split())


def _caches(folder: Path) -> Iterator[Cache]:
    for index in sorted(folder.glob("index*")):
        size = _text(index / "size").removesuffix("K")
        if size.isdigit():
            shared = len(cpu_list(_text(index / "shared_cpu_list")))
            yield Cache(int(_text(index / "level")), _text(index / "type").lower(), int(size), max(1, shared))


def _turbo(cpus: Path) -> bool | None:
    boost, no_turbo = _text(cpus / "cpufreq/boost"), _text(cpus / "intel_pstate/no_turbo")
    if boost:
        return boost == "1"
    return no_turbo == "0" if no_turbo else None


def _quota(cgroup: Path) -> float | None:
    """Of control groups 2 or 1, as a container sees its own."""
    both = _text(cgroup / "cpu.max").split()
    limit, period = (
        both
        if len(both) == 2
        else (
            _text(cgroup / "cpu/cpu.cfs_quota_us"),
            _text(cgroup / "cpu/cpu.cfs_period_us"),
        )
    )
    if not (limit.isdigit() and period.isdigit()) or not 0 < int(limit) < _NO_LIMIT:
        return None
    return int(limit) / int(period)


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
