"""The whole job of the real command in under two seconds, killed at a random moment and resumed to its end."""

import hashlib
import random
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from nas.run import WINNER, Run
from nas.store import find_run

MODULE = """
import time
from predictors.proxies.zen import zen_score

def slow_zen(objective):
    def score(arch, seed):
        time.sleep(0.002)
        return zen_score(arch, objective.input_shape)
    return score
"""
JOB = (  # a device of a data sheet: nothing is measured, so that the end is the same at each repetition
    "--data", "small.npz", "--device", "v100:precision=fp16", "--latency", "1ms", "--params", "60k", "--macs", "2M",
    "--evaluations", "400", "--seed", "2", "--engine", "serial", "--set", "recipe.epochs=2", "--set",
    "finalists.epochs=1", "--set", "finalists.trained=2", "--set", "guard.seeds=0", "--set",
    "search.score=slow_score:slow_zen", "--json",
)  # fmt: skip
PREDICTED = 4  # its exit code: nobody measured that the budget is kept


@dataclass(frozen=True)
class Ending:
    """All that a job decided.

    Attributes:
        rows: of every candidate.
        front: of Pareto.
        best: the winner with its figures on the test images.
        weights: of the winner, by their digest.
        stages: what was done, in order.
    """

    rows: list
    front: list
    best: dict
    weights: str
    stages: tuple


class KillPoints:
    """Jobs in one folder, and how the one that nobody touched ends."""

    def __init__(self, server, folder, store=()):
        """Run the job once, untouched.

        Args:
            server: of commands.
            folder: for the runs.
            store: further arguments, where the runs are kept.
        """
        self.server, self.folder, self._store = server, Path(folder), tuple(store)
        (self.folder / "slow_score.py").write_text(MODULE)
        digits = load_digits()
        np.savez(self.folder / "small.npz", x=digits.images[:300].astype(np.uint8) * 15, y=digits.target[:300])
        for name in ("warm", "untouched"):  # the first one also fills caches
            started = time.monotonic()
            ended = self._start(name).wait()
            self.seconds = time.monotonic() - started
            assert ended.code == PREDICTED, ended.err
        self.untouched = ending(self.folder / "untouched", ended.json())

    def _start(self, name):
        if find_run(self.folder / name):
            return self.server.start("resume", name, "--json", cwd=self.folder)
        return self.server.start("search", *JOB, *self._store, "--out", name, cwd=self.folder)

    def point(self, name, rng, again=0.3):
        """Kill a new job at a moment of its whole time, perhaps its resumption too, and let it end.

        Args:
            name: of the run.
            rng: random.Random.
            again: chance of each further kill.
        Returns: how it ended, the moments in seconds, and the stages that it had done at the first kill.
        """
        moments, stages = [], None
        while True:
            command = self._start(name)
            moments.append(rng.uniform(0.0, self.seconds))
            time.sleep(moments[-1])
            command.signal(signal.SIGKILL)
            killed = command.wait()
            assert killed.code in (PREDICTED, -signal.SIGKILL), killed.err
            stages = self.stages(name) if stages is None else stages
            if killed.code == PREDICTED or rng.random() >= again:
                break
        ended = self._start(name).wait()
        assert ended.code == PREDICTED, ended.err
        found = ending(self.folder / name, ended.json())
        shutil.rmtree(self.folder / name)
        return found, moments, stages

    def stages(self, name):
        """Where a killed run stands; it can be read at once."""
        if find_run(self.folder / name) is None:
            return ("no run file",)
        with Run.open(self.folder / name) as run:
            rows = run.status()["candidates"]
            run.pareto()
            return tuple(run.status()["stages"]) or ("searching" if rows else "no candidate",)


def ending(directory, summary):
    """What a finished job decided; ``summary`` is what it printed."""
    best = {key: value for key, value in summary["best"].items() if key != "latency_ms"}
    with Run.open(directory) as run:
        assert run.status()["finished"]
        assert [event["epoch"] for event in run.events("epoch")] == [1, 2]
        return Ending(
            list(run.store.results()),
            run.pareto().to_dict("records"),
            best,
            hashlib.sha256((directory / WINNER / "model.safetensors").read_bytes()).hexdigest(),
            tuple(run.status()["stages"]),
        )


def rng_of(number):
    """Of one point."""
    return random.Random(number)
