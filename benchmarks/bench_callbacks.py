"""What callbacks cost the driver: microseconds a candidate, told in batches as the run file commits them.

The same results are told to each callback alone, interleaved; the first row, a callback that does nothing, is the cost
of the counts and of the Pareto front.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from pathlib import Path

import numpy as np
from json_line import emit, skip

from nas.callbacks import Callback, RunStart
from nas.callbacks.choice import make_callbacks
from nas.callbacks.dispatcher import Dispatcher
from nas.config import Config
from nas.records import Candidate, Failure, Result, Success
from search_spaces import SPACES

NOTHING = "nothing"


def results(n: int) -> list[Result]:
    """One of three rejected, scores and latencies that rise together with noise."""
    rng = np.random.default_rng(0)
    archs = [SPACES["zen-tiny"].sample(rng) for _ in range(64)]
    found: list[Result] = []
    for i, (latency, noise) in enumerate(rng.random((n, 2))):
        metrics = {"latency_ms": float(latency), "params": 1e5, "macs": 1e6, "depth": 10}
        candidate = Candidate(i, archs[i % 64], max(0, i - 1), metrics)
        if i % 3 == 0:
            found.append(Failure(candidate, "rejected", "latency_ms is 20 % over 0.5", 0.2))
        else:
            found.append(Success(candidate, {**metrics, "score": float(latency + 0.3 * noise)}))
    return found


def seconds(name: str, told: list[Result], batch: int) -> float:
    """Of all calls but the first and the last."""
    with tempfile.TemporaryDirectory() as folder:
        callbacks = [(name, Callback())] if name == NOTHING else make_callbacks([{name: {}}])
        complaints: list[str] = []
        dispatcher = Dispatcher(callbacks, 256, complaints.append)
        dispatcher.start(RunStart(Path(folder), Config().to_dict(), 0, False), [])
        started = time.perf_counter()
        for first in range(0, len(told), batch):
            dispatcher.batch(told[first : first + batch])
        taken = time.perf_counter() - started
        dispatcher.end(None, "done")
        if complaints:
            raise RuntimeError(complaints[0])
    return taken


def main() -> None:
    """Print a line for each callback."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--candidates", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=1_000, help="candidates of a commit")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    told = results(args.candidates)
    names = [NOTHING, "jsonl", "csv", "tensorboard", "mlflow", "wandb"]
    found: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(args.rounds):
        for name in list(found):
            try:
                found[name].append(1e6 * seconds(name, told, args.batch) / args.candidates)
            except RuntimeError as error:
                skip(f"callback {name}", str(error))
                del found[name]
    for name, values in found.items():
        emit(f"callback {name}", values, "us a candidate", candidates=args.candidates, batch=args.batch)


if __name__ == "__main__":
    main()
