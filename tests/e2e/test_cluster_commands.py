"""The command on a cluster of real ``ray start`` processes, one of which joins and is killed meanwhile."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from clusters import NOTICE, SCORES, until

from nas.run import Run
from nas.store import RunFileError

pytestmark = pytest.mark.slow
RAY = Path(sys.executable).with_name("ray")
PORT = 6397
STORE = "--object-store-memory=80000000"
SEARCH = (
    "--params", "60k", "--evaluations", "3000", "--seed", "3", "--no-train", "--set", "search.lookahead=64",
)  # fmt: skip


@pytest.fixture
def environment(tmp_path):
    (tmp_path / "cluster_scores.py").write_text(SCORES)
    noticed = {f"RAY_{name}": str(value) for name, value in NOTICE.items()}
    own = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "c" * 64}
    return {**os.environ, **own, **noticed}


@pytest.fixture
def cluster(environment, tmp_path_factory):
    """Starts nodes; ends what they started."""
    started = []
    folder = tmp_path_factory.mktemp("r")

    def start(*args):
        where = ["--head", f"--port={PORT}", "--include-dashboard=false", f"--temp-dir={short}"]
        joined = [f"--address=127.0.0.1:{PORT}"]
        log = folder / f"{len(started)}.log"
        command = [RAY, "start", "--block", STORE, *(joined if started else where), *args]
        with log.open("w") as out:
            process = subprocess.Popen(command, env=environment, stdout=out, stderr=out, start_new_session=True)
        started.append(process)
        assert until(lambda: "Ray runtime started" in log.read_text())
        return process

    short = Path(f"/tmp/nwc{os.getpid()}")
    yield start
    for process in reversed(started):
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        process.kill()
        process.wait(30)
    subprocess.run(["rm", "-rf", str(short)], check=True)


def command(environment, folder, *args):
    return subprocess.Popen(
        [sys.executable, "-m", "nas", *args],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
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


def test_a_node_that_joins_and_is_killed_changes_nothing(tmp_path, environment, cluster):
    cluster("--num-cpus=1")
    on_cluster = command(
        environment,
        tmp_path,
        "search",
        *SEARCH,
        "--score",
        "cluster_scores:slow",
        "--engine",
        "ray",
        "--address",
        f"127.0.0.1:{PORT}",
        "--out",
        "ray",
    )
    assert until(lambda: count(tmp_path / "ray") > 0), on_cluster.communicate(timeout=10)
    node = cluster("--num-cpus=2")
    assert until(lambda: len(scorers(node)) == 2), "the node got no workers"
    [raylet] = [p for p in psutil.Process(node.pid).children(recursive=True) if p.name() == "raylet"]
    raylet.send_signal(signal.SIGKILL)
    at_kill = count(tmp_path / "ray")
    _, err = on_cluster.communicate(timeout=300)
    assert on_cluster.returncode == 0, err
    assert at_kill < 3000
    assert re.search(r"engine: 1 node joined; the cluster now has room for 3 workers", err)
    assert re.search(r"engine: 1 node left; the cluster now has room for 1 workers", err)
    assert "Traceback" not in err
    assert "raylet" not in err
    serial = command(
        environment,
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


def scorers(node):
    """Scoring workers of a node."""
    found = []
    for process in psutil.Process(node.pid).children(recursive=True):
        try:
            if "ScoringWorker" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found
