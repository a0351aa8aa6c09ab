"""The command on a cluster of real ``ray start`` processes, one of which joins and is killed meanwhile."""

import os
import re
import subprocess
import sys

import pytest
from clusters import SCORES, StartedNodes, kill_raylet_of, scorers, until

from nas.run import Run
from nas.store import RunFileError

pytestmark = pytest.mark.slow
SEARCH = (
    "--params", "60k", "--evaluations", "3000", "--seed", "3", "--no-train", "--set", "search.lookahead=64",
)  # fmt: skip


@pytest.fixture
def cluster(tmp_path):
    (tmp_path / "cluster_scores.py").write_text(SCORES)
    with StartedNodes() as nodes:
        yield nodes


def command(cluster, folder, *args):
    return subprocess.Popen(
        [sys.executable, "-m", "nas", *args],
        cwd=folder, env=os.environ | cluster.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def contents(directory):
    with Run.open(directory) as run:
        return list(run.store.results()), run.pareto().to_dict("records")


def count(directory):
    try:
        with Run.open(directory) as run:
            return run.status()["candidates"]
    except RunFileError:
        return 0


def test_a_node_that_joins_and_is_killed_changes_nothing(tmp_path, cluster):
    cluster.start("--num-cpus=1")
    on_cluster = command(
        cluster,
        tmp_path,
        "search",
        *SEARCH,
        "--score",
        "cluster_scores:slow",
        "--engine",
        "ray",
        "--address",
        cluster.address,
        "--out",
        "ray",
    )
    assert until(lambda: count(tmp_path / "ray") > 0), on_cluster.communicate(timeout=10)
    node = cluster.start("--num-cpus=2")
    assert until(lambda: len(scorers(node)) == 2), "the node got no workers"
    kill_raylet_of(node)
    at_kill = count(tmp_path / "ray")
    _, err = on_cluster.communicate(timeout=300)
    assert on_cluster.returncode == 0, err
    assert at_kill < 3000
    assert re.search(r"engine: 1 node joined; the cluster now has room for 3 workers", err)
    assert re.search(r"engine: 1 node left; the cluster now has room for 1 workers", err)
    assert "Traceback" not in err
    assert "raylet" not in err
    serial = command(
        cluster,
        tmp_path,
        "search",
        *SEARCH,
        "--score",
        "cluster_scores:quick",
        "--engine",
        "serial",
        "--out",
        "serial",
    )
    _, err = serial.communicate(timeout=300)
    assert serial.returncode == 0, err
    assert contents(tmp_path / "ray") == contents(tmp_path / "serial")
