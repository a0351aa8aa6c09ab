"""The run file: bytes a candidate on disk, time to write and read one, in spaces of short and long designs.

Candidates are those of real searches (evolution under a limit on MACs, zen score) and, for the spaces with long
designs, random members; each is written in batches of 64, the file is closed and measured. ``--postgresql URL`` writes
the first to a server as well (password by PGPASSWORD). Run: ``python benchmarks/bench_run_file.py``.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from json_line import emit, skip

from nas.algorithms.evolution import Evolution
from nas.gates import Gates
from nas.loop import SearchLoop
from nas.objective import Objective
from nas.records import Budget, Candidate, Constraint, Result, Success
from nas.runners.serial import SerialRunner
from nas.store import FILE_NAME, RunStore
from search_spaces import SPACES

SHAPE, CLASSES, BATCH = (3, 32, 32), 10, 64
SPACES_SEARCHED = ("zen-tiny", "genet-small", "resnet-small")
SPACES_SAMPLED = ("mobilenetv3-ofa", "autoformer-base", "tinynas-quant", "nas-bench-201")


def searched(name: str, count: int) -> list[Result]:
    with tempfile.TemporaryDirectory() as folder, RunStore.create(Path(folder) / FILE_NAME, {}) as store:
        gates = Gates(SHAPE, CLASSES, (Constraint("macs", 100e6),))
        runner, search = SerialRunner(Objective("zen", SHAPE, 0)), Evolution(SPACES[name], seed=0, population=256)
        SearchLoop(search, runner, store, gates, Budget(count)).run()
        return list(store.results())


def sampled(name: str, count: int) -> list[Result]:
    rng = np.random.default_rng(0)
    counts = {"params": 3e6, "macs": 3e8, "depth": 50, "convs": 60, "peak_memory_bytes": 3e6}
    metrics = {"score": 1 / 3, "latency_ms": 0.1, "latency_upper_ms": 0.2, **counts}
    archs = [SPACES[name].sample(rng) for _ in range(count)]
    return [Success(Candidate(i, arch, i // 2, metrics), metrics) for i, arch in enumerate(archs)]


def bytes_each(results: Sequence[Result], folder: Path, url: str | None = None) -> tuple[float, float, float]:
    """Bytes on disk and microseconds to write and to read a candidate."""
    started = time.perf_counter()
    with RunStore.create(folder / FILE_NAME, {}, url) as store:
        for at in range(0, len(results), BATCH):
            store.append(results[at : at + BATCH])
            store.commit()
    written = time.perf_counter()
    with RunStore.open(store.path) as store:
        assert sum(1 for _ in store.results()) == len(results)
        size = server_bytes(store) if url else store.path.stat().st_size
    read = time.perf_counter()
    return size / len(results), 1e6 * (written - started) / len(results), 1e6 * (read - written) / len(results)


def server_bytes(store: RunStore) -> int:
    import sqlalchemy as sa

    return int(store.rows(sa.select(sa.text("pg_total_relation_size('candidate') AS n")))[0]["n"])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--candidates", type=int, default=20_000)
    parser.add_argument("--postgresql", metavar="URL", default=os.environ.get("NETWRIGHT_BENCH_POSTGRESQL"))
    asked = parser.parse_args()
    cases = [(name, searched) for name in SPACES_SEARCHED] + [(name, sampled) for name in SPACES_SAMPLED]
    for name, make in cases:
        results = make(name, asked.candidates)
        text = float(np.mean([len(result.candidate.arch.to_json()) for result in results]))
        with tempfile.TemporaryDirectory() as folder:
            size, write, read = bytes_each(results, Path(folder))
        facts = {"space": name, "candidates": len(results), "design_as_json_bytes": round(text), "target": "< 300"}
        emit("run_file_bytes_per_candidate", [size], "bytes", **facts, write_us=round(write, 1), read_us=round(read, 1))
        if name == SPACES_SEARCHED[0]:
            if asked.postgresql is None:
                skip("postgresql_bytes_per_candidate", "no --postgresql URL given")
                continue
            with tempfile.TemporaryDirectory() as folder:
                size, write, read = bytes_each(results, Path(folder), asked.postgresql)
            emit(
                "postgresql_bytes_per_candidate",
                [size],
                "bytes",
                **facts,
                write_us=round(write, 1),
                read_us=round(read, 1),
            )


if __name__ == "__main__":
    main()
