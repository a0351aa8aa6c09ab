"""A cluster whose nodes come and go: the serial run file all the same; workers with needs; a node that measures."""

import os
import sys
import threading
import time

import pytest
from clusters import GATES, SCORES, SHAPE, Watched, add, kill_raylet, private_cluster, rows

from hardware.device import Device
from hardware.measure import LayerModel, MeasureProtocol, OnnxFile
from nas.narrator import Silent
from nas.objective import Objective
from nas.runners.cluster import WorkerNeeds
from nas.runners.crew import Terms
from nas.runners.device_node import DeviceNode, DeviceNodeLost
from nas.runners.ray import RayRunner
from nas.runners.ray_session import RayUnavailable, start_ray
from nas.runners.serial import SerialRunner
from search_spaces import SPACES

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning:ray")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("cluster")
    (place / "cluster_scores.py").write_text(SCORES)
    before = os.getcwd()
    os.chdir(place)
    yield place
    os.chdir(before)
    sys.modules.pop("cluster_scores", None)


@pytest.fixture(scope="module")
def serial(folder):
    return rows(folder / "serial", SerialRunner)


@pytest.fixture(scope="module")
def cluster(folder):
    with private_cluster(num_cpus=1) as started, start_ray(started.address):  # joined once for all
        yield started


class Heard(Silent):
    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)


def test_nodes_that_join_get_work_and_nodes_that_are_killed_cost_nothing(tmp_path, cluster, serial, folder):
    heard, seen, came = Heard(), [], []

    def act(answered):
        working = sum(worker.starting is None for worker in runner._crew.workers)
        seen.append(working)
        if answered >= 20 and not came:
            came.append(add(cluster, num_cpus=2))
        if came[1:] == [] and working >= 3:
            kill_raylet(came[0])
            came.append(None)
            (folder / "enough").touch()  # until then the score takes its time

    def make(objective):
        nonlocal runner
        runner = RayRunner(objective, Terms(gates=GATES.to_dict(), say=heard.say), address=cluster.address)
        return Watched(runner, act)

    runner = None
    got = rows(tmp_path, make, "slow", gated_by_workers=True)
    assert [r.candidate for r in got] == [r.candidate for r in serial]
    assert got == serial
    assert seen[0] == 1
    assert max(seen) == 3  # the node was used
    assert came[1:] == [None]  # and killed
    assert any("1 node joined" in line for line in heard.lines)
    cluster.remove_node(came[0], allow_graceful=False)


def test_needs_that_no_node_has_are_refused_and_those_of_a_node_that_comes_are_met(tmp_path, cluster, serial):
    needs = WorkerNeeds(gpus=0.5, resources={"fpga": 1.0})
    with pytest.raises(RayUnavailable, match=r"no node can hold a worker of one CPU, 0.5 GPU, 1 fpga; the cluster has"):
        RayRunner(Objective("zen", SHAPE), Terms(needs=needs), address=cluster.address)
    node = add(cluster, num_cpus=4, num_gpus=1, resources={"fpga": 8})
    got = rows(tmp_path, lambda objective: two_workers(objective, needs, cluster))
    assert got == serial
    cluster.remove_node(node)


def two_workers(objective, needs, cluster):
    runner = RayRunner(objective, Terms(needs=needs), address=cluster.address)
    assert len(runner._crew.workers) == 2  # of half a GPU each
    return runner


QUICK = MeasureProtocol(burst_ms=2.0, min_bursts=3, min_span_s=0.1, max_s=5.0, max_bursts=3, sentinels=False)


def test_the_device_node_measures_and_nothing_is_scored_there(tmp_path, cluster):
    node = add(cluster, num_cpus=1, resources={"device:pi": 1})
    place = DeviceNode(cluster.address, "device:pi", node_seconds=3.0)
    place.check(Device())
    arch = SPACES["zen-tiny"].seed
    model = LayerModel.of(arch, SHAPE, 10, "one")
    [found] = place.measure([model], Device(), QUICK, Silent())
    assert found.model == "one"
    assert found.latency_ms > 0
    assert found.conditions.runtime_version
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a network")
    with pytest.raises(ValueError, match=r"broken\.onnx: not a"):  # it travelled, and the reason came back
        place.measure([OnnxFile(broken)], Device(), QUICK, Silent())
    runner = RayRunner(Objective("zen", SHAPE), Terms(apart_from="device:pi"), address=cluster.address)
    nodes = {worker.node for worker in runner._crew.workers}
    runner.close()
    assert nodes
    assert node.node_id not in nodes
    cluster.remove_node(node)
    heard = Heard()
    with pytest.raises(
        DeviceNodeLost, match=r"device node 'device:pi': not in the cluster.*then resume the run"
    ) as lost:
        place.measure([model], Device(), QUICK, heard)
    assert "\n" not in str(lost.value)
    assert any("waiting up to 3 s" in line for line in heard.lines)


@pytest.mark.slow
def test_a_device_node_that_dies_while_it_measures_is_waited_for(cluster):
    node = add(cluster, num_cpus=0, resources={"device:gone": 1})
    place = DeviceNode(cluster.address, "device:gone")
    model = LayerModel.of(SPACES["zen-tiny"].seed, SHAPE, 10, "one")
    long = MeasureProtocol(min_span_s=8.0, max_s=10.0, sentinels=False)
    heard, found = Heard(), []
    measuring = threading.Thread(target=lambda: found.extend(place.measure([model], Device(), long, heard)))
    measuring.start()
    time.sleep(5.0)  # it measures by now
    kill_raylet(node)
    back = add(cluster, num_cpus=0, resources={"device:gone": 1})
    measuring.join(120)
    assert found[0].latency_ms > 0
    assert any("left, or its worker died, once more" in line for line in heard.lines)
    cluster.remove_node(back)
