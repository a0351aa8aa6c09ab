"""Clusters of several nodes on one machine, and a search that is watched while they come and go."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from nas.algorithms.evolution import Evolution
from nas.gates import Gates
from nas.loop import SearchLoop
from nas.objective import Objective
from nas.records import Budget, Constraint
from nas.store import FILE_NAME, RunStore
from search_spaces import SPACES

SHAPE = (1, 8, 8)
GATES = Gates(SHAPE, 10, (Constraint("params", 60_000.0),))
STORE_BYTES = 80_000_000
NOTICE = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 400, "health_check_failure_threshold": 3}
SCORES = """
import random
import time
from pathlib import Path
from predictors.proxies.zen import zen_score

def slow(objective):
    enough = Path(__file__).with_name("enough")
    def score(arch, seed):
        time.sleep(0.0 if enough.exists() else 0.2)
        return zen_score(arch, objective.input_shape) + random.Random(seed).gauss(0, 1)
    return score

def quick(objective):
    return lambda arch, seed: zen_score(arch, objective.input_shape) + random.Random(seed).gauss(0, 1)
"""


@contextmanager
def private_cluster(**head):
    """A cluster with a head node that notices lost nodes within two seconds; nothing of it is left behind."""
    from nas.runners.ray_session import _QUIET, _set_private_token

    os.environ.update(_QUIET)
    _set_private_token()
    from ray.cluster_utils import Cluster

    arguments = {"include_dashboard": False, "object_store_memory": STORE_BYTES, "_system_config": NOTICE, **head}
    cluster = Cluster(initialize_head=True, head_node_args=arguments)
    try:
        yield cluster
    finally:
        cluster.shutdown()


class StartedNodes:
    """Nodes as an operator starts them, ``ray start`` processes that notice lost nodes within two seconds.

    What joins them needs ``environment``. At the end of the block nothing of them is left.
    """

    def __init__(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        noticed = {f"RAY_{name}": str(value) for name, value in NOTICE.items()}
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "c" * 64}
        self.environment = {"RAY_USAGE_STATS_ENABLED": "0", **token, **noticed}
        self._started = []

    def __enter__(self):
        self._folder = tempfile.mkdtemp(prefix="nwc", dir="/tmp")  # the names of sockets are short
        return self

    def start(self, *options):
        """A further node, the head first; gives its process."""
        port = self.address.rpartition(":")[2]
        head = ("--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={self._folder}")
        place = (f"--address={self.address}",) if self._started else head
        log = Path(self._folder) / f"node{len(self._started)}.log"
        ray = Path(sys.executable).with_name("ray")
        with log.open("w") as out:
            process = subprocess.Popen(
                [ray, "start", "--block", f"--object-store-memory={STORE_BYTES}", *place, *options],
                env=os.environ | self.environment, stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip
        self._started.append(process)
        assert until(lambda: "Ray runtime started" in log.read_text()), log.read_text()
        return process

    def __exit__(self, *_):
        for process in reversed(self._started):
            for each in [*children(process), process]:
                with suppress(psutil.Error):
                    each.kill()
            process.wait(30)
        shutil.rmtree(self._folder, ignore_errors=True)


def children(process):
    with suppress(psutil.Error):
        return psutil.Process(process.pid).children(recursive=True)
    return []


def scorers(node):
    """Scoring workers of a node that was started."""
    found = []
    for process in children(node):
        with suppress(psutil.Error):
            found += [process] * ("ScoringWorker" in " ".join(process.cmdline()))
    return found


def kill_raylet_of(node):
    """Of a node that was started: as when a machine loses its power."""
    [raylet] = [process for process in children(node) if process.name() == "raylet"]
    raylet.send_signal(signal.SIGKILL)


def add(cluster, **resources):
    return cluster.add_node(object_store_memory=STORE_BYTES, **resources)


def kill_raylet(node):
    """As when a machine loses its power: nothing is said to anybody."""
    for process in node.all_processes["raylet"]:
        os.kill(process.process.pid, signal.SIGKILL)
        process.process.wait(30)


class Watched:
    """A runner that calls ``act(results so far)`` after each of its answers."""

    def __init__(self, runner, act):
        self._runner, self._act, self.answered = runner, act, 0
        self.gating = runner.gating

    @property
    def free_slots(self):
        return self._runner.free_slots

    @property
    def busy(self):
        return self._runner.busy

    def submit(self, candidates):
        self._runner.submit(candidates)

    def wait_any(self):
        results = self._runner.wait_any()
        self.answered += len(results)
        self._act(self.answered)
        return results

    def close(self):
        self._runner.close()


def rows(folder, make, score="quick", n=400, *, gated_by_workers=False):
    """All results of a search, from its run file."""
    objective = Objective(f"cluster_scores:{score}", SHAPE, seed=4)
    search = Evolution(SPACES["zen-tiny"], seed=4, population=32, niches="depth", lookahead=64)
    runner = make(objective)
    try:
        with RunStore.create(folder / FILE_NAME, {}) as store:
            SearchLoop(search, runner, store, None if gated_by_workers else GATES, Budget(n)).run()
            return list(store.results())
    finally:
        runner.close()


def until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.1)
    return False
