"""One line of JSON a figure: name, median, interval, n, machine and its load, commit."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]


def emit(name: str, values: Sequence[float], unit: str, **facts: object) -> None:
    """Print a figure with the 95 % bootstrap interval of its median, and the conditions it was seen in."""
    samples = np.asarray(values, dtype=float)
    rng = np.random.default_rng(0)
    medians = np.median(rng.choice(samples, (2000, len(samples))), axis=1)
    low, high = np.percentile(medians, (2.5, 97.5))
    line = {
        "name": name,
        "median": _short(float(np.median(samples))),
        "interval": [_short(float(low)), _short(float(high))],
        "n": len(samples),
        "unit": unit,
        **facts,
        "machine": _processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "commit": _commit(),
        "date": datetime.now(UTC).date().isoformat(),
    }
    print(json.dumps(line), flush=True)


def skip(name: str, reason: str) -> None:
    """Print that a figure was not taken, and why."""
    print(json.dumps({"name": name, "skipped": reason}), flush=True)


def _short(value: float) -> float:
    return float(f"{value:.5g}")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=9"]
    try:
        return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
