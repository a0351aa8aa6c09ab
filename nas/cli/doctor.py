"""``netwright doctor``."""

from __future__ import annotations

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click

from nas.cli.options import json_option, narrator, print_json, quiet_option
from nas.cli.stdout import print_line

DISTRIBUTIONS = (
    "netwright",
    "torch",
    "ray",
    "onnx",
    "onnxruntime",
    "numpy",
    "pandas",
    "scikit-learn",
    "sqlalchemy",
    "pydantic",
)
SENTINEL = "SuperConvK3BNRELU(3,16,1,1)SuperResK3K3(16,32,2,32,2)SuperResK3K3(32,64,2,64,2)"
TIMING = ("verdict", "mode", "latency_ms", "low_ms", "high_ms")
ENOUGH_SHARED_MEMORY = 100 * 2**20


@click.command()
@click.option("--no-timing", is_flag=True, help="Leave out the timing check (about ten seconds).")
@click.option("--ray", "with_ray", is_flag=True, help="Start Ray for a moment to see that it works.")
@json_option
@quiet_option
def doctor(no_timing: bool, with_ray: bool, as_json: bool, quiet: bool) -> None:
    """Versions, cores, memory, timing rights, and how steady a timing is right now."""
    from hardware.conditions import cpu_identity
    from hardware.priority import may_run_real_time
    from hardware.table_cache import cache_dir

    facts: dict[str, Any] = {"python": platform.python_version(), **{name: _version(name) for name in DISTRIBUTIONS}}
    facts["cpu"] = cpu_identity()[0]
    facts["cores"] = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    facts["load"] = os.getloadavg()[0]
    facts["cuda"] = _cuda()
    facts["real_time_priority"] = may_run_real_time()
    facts["shared_memory_bytes"] = shutil.disk_usage("/dev/shm").free if Path("/dev/shm").exists() else 0
    facts["latency_tables"] = str(cache_dir())
    if with_ray:
        facts["ray_works"] = _ray()
    advice = _advice(facts)
    if not no_timing:
        with narrator(quiet) as teller:
            measurement = _time_sentinel(teller)
        facts["timing"] = {key: getattr(measurement, key) for key in TIMING}
        if measurement.verdict != "ok":
            advice.append(f"timing is {measurement.verdict} now: {measurement.reason}")
    if as_json:
        print_json({**facts, "advice": advice})
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        print_line(f"{name:<{width}}  {value}")
    for line in advice or ["nothing to mend"]:
        print_line(f"advice: {line}")


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"


def _cuda() -> str:
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none"


def _ray() -> str:
    from nas.runners.ray_session import RayUnavailable, start_ray

    try:
        with start_ray(workers=1) as cpus:
            return f"yes, {cpus} CPU"
    except RayUnavailable as error:
        return f"no: {error}"


def _time_sentinel(teller: Any) -> Any:
    from hardware.device import Device
    from hardware.measure import LayerModel, MeasureProtocol, measure
    from search_spaces.plainnet import read_structure

    arch, _ = read_structure(SENTINEL)
    [found] = measure(
        [LayerModel.of(arch, (3, 32, 32), 10, "sentinel")], Device(), MeasureProtocol(max_s=12.0), teller.update
    )
    return found


def _advice(facts: dict[str, Any]) -> list[str]:
    advice = []
    if facts["load"] > 0.5 * facts["cores"]:
        advice.append(
            f"load is {facts['load']:.1f} on {facts['cores']} cores: latencies measured now have wide intervals"
        )
    if not facts["real_time_priority"]:
        advice.append(
            "no right to real-time priority (CAP_SYS_NICE): timing falls back to nice or CPU time, one thread only"
        )
    if facts["shared_memory_bytes"] < ENOUGH_SHARED_MEMORY:
        advice.append("/dev/shm has less than 100 MB free: Ray falls back to disk; in a container give --shm-size=1g")
    if str(facts.get("ray_works", "yes")).startswith("no"):
        advice.append(f"Ray {facts['ray_works']}; --engine serial works without it")
    return advice
