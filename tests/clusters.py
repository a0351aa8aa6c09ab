"""Clusters of several nodes on one machine, and a search that is watched while they come and go."""

import os
import signal
import time
from contextlib import contextmanager

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
from predictors.proxies.zen import zen_score

def slow(objective):
    def score(arch, seed):
        time.sleep(0.015)
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
