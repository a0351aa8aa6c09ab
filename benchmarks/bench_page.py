"""The page of a run of a million candidates: first paint, time of every view, memory of the server.

The run is a real search of 2,000 candidates, repeated with other scores and latencies. Its views are answered by a
process of their own (the small server of the browser tests), of which the memory is taken; the page is read in a
headless Chromium. Run: ``python benchmarks/bench_page.py``.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from json_line import REPOSITORY, emit, skip

sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests")]

SERVER = """
import sys, time
from pathlib import Path
from page_server import PageServer
with PageServer(Path(sys.argv[1])) as server:
    print(server.address, flush=True)
    time.sleep(1e9)
"""
VIEWS = ("", "/scatter", "/pareto", "/predictors", "/candidates?sort=id&limit=100", "/candidates?sort=score&limit=100")
REPEATS = 5


def large_run(directory: Path, candidates: int) -> Path:
    """A finished run whose candidates are repeated, each time with other figures."""
    from report_runs import finished_run, settings

    finished_run(directory, config=settings(search={"evaluations": 2_000, "population": 64}))
    with sqlite3.connect(directory / "run.sqlite") as file:
        rows = file.execute("SELECT * FROM candidate ORDER BY id").fetchall()
        names = [column[1] for column in file.execute("PRAGMA table_info(candidate)")]
        file.execute("PRAGMA synchronous=OFF")
        file.executemany(f"INSERT INTO candidate VALUES ({','.join('?' * len(names))})", _more(rows, names, candidates))
    return directory


def _more(rows: list[tuple[Any, ...]], names: list[str], candidates: int) -> Iterator[list[Any]]:
    rng, at = np.random.default_rng(0), {name: i for i, name in enumerate(names)}
    for identity in range(len(rows), candidates):
        row = list(rows[identity % len(rows)])
        row[at["id"]], row[at["parent"]] = identity, int(identity * 0.9)
        if row[at["score"]] is not None:
            shift = np.exp(rng.normal(0, 0.15, 2))
            row[at["score"]] *= float(shift[0])
            for name in ("latency_ms", "latency_upper_ms"):
                row[at[name]] *= float(shift[1])
        yield row


def seconds(address: str) -> tuple[float, int]:
    """Of one answer, and its bytes."""
    started = time.perf_counter()
    with urllib.request.urlopen(address) as answer:
        size = len(answer.read())
    return time.perf_counter() - started, size


def in_browser(address: str) -> dict[str, float]:
    """Milliseconds until something is painted, and seconds until the front is drawn."""
    from browser import Browser

    with tempfile.TemporaryDirectory() as profile, Browser(Path(profile) / "p") as tab:
        started = time.perf_counter()
        tab.open(address)
        tab.wait("!!document.querySelector('.front-link')")
        drawn = time.perf_counter() - started
        tab.wait("performance.getEntriesByName('first-contentful-paint').length > 0")
        paint = tab.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        return {"paint_ms": float(paint), "drawn_s": drawn}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--candidates", type=int, default=1_000_000)
    count = parser.parse_args().candidates
    with tempfile.TemporaryDirectory() as root:
        run = large_run(Path(root) / "large", count)
        size = (run / "run.sqlite").stat().st_size / count
        environment = {"PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'tests'}"}
        command = [sys.executable, "-c", SERVER, root]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=REPOSITORY) as server:
            try:
                assert server.stdout is not None
                measure(server.stdout.readline().strip(), psutil.Process(server.pid), count, size)
            finally:
                server.terminate()


def measure(address: str, server: psutil.Process, count: int, size: float) -> None:
    from browser import BROWSER

    facts = {"candidates": count, "bytes_each": round(size)}
    before = sum(server.cpu_times()[:2])
    if BROWSER is None:
        skip("page_first_paint", "no chromium")
    else:
        cold = in_browser(f"{address}#/runs/large")
        cpu = sum(server.cpu_times()[:2]) - before
        emit("page_first_paint", [cold["paint_ms"]], "ms", **facts)
        emit("page_front_drawn_cold", [cold["drawn_s"]], "s", server_cpu_s=round(cpu, 2), **facts)
        warm = [in_browser(f"{address}#/runs/large")["drawn_s"] for _ in range(3)]
        emit("page_front_drawn_warm", warm, "s", **facts)
    base = f"{address}api/v1/runs"
    for name in VIEWS:
        found = [seconds(f"{base}/large{name}") for _ in range(REPEATS)]
        label = "view_" + (name.strip("/").replace("?", "_").replace("=", "_").replace("&", "_") or "overview")
        emit(label, [took for took, _ in found], "s", bytes=found[0][1], **facts)
    emit("view_runs", [seconds(base)[0] for _ in range(REPEATS)], "s", **facts)
    with urllib.request.urlopen(f"{base}/large/pareto") as answer:
        front = [row["id"] for row in json.load(answer)["rows"]]
    found = [seconds(f"{base}/large/candidates/{i}")[0] for i in front[:REPEATS]]
    emit("view_candidate", found, "s", **facts)
    memory = server.memory_info()
    emit("page_server_rss", [memory.rss / 1e6], "MB", peak_mb=round(_peak_mb(server), 1), **facts)


def _peak_mb(server: psutil.Process) -> float:
    lines = Path(f"/proc/{server.pid}/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1e3 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
