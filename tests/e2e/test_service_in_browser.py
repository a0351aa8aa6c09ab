"""A new user: a search launched from the page under a latency budget, the server killed meanwhile, ONNX at the end."""

import base64
import os
import subprocess
import sys
import time

import numpy as np
import onnxruntime
import pytest
from browser import BROWSER, Browser
from clusters import StartedNodes, kill_raylet_of, scorers, until
from service_process import ServiceProcess

from nas.run import Run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no chromium on the PATH; apt-get install chromium"),
]
FILL = (
    "(key, text) => { const e = document.getElementById('f-' + key); e.value = text; "
    "e.dispatchEvent(new Event('input', {bubbles: true})); }"
)
FETCH = (
    "fetch('api/v1/runs/first/artifacts/winner/model.onnx').then((a) => a.arrayBuffer())"
    ".then((b) => btoa(Array.from(new Uint8Array(b), (x) => String.fromCharCode(x)).join('')))"
)
FORM = {"name": "first", "space": "zen-tiny", "latency": "2ms", "params": "60k", "epochs": "3"}
GONE = "document.body.innerText.includes('does not answer')"
DONE = "document.querySelector('main progress').value"
ON_CLUSTER = 80_000  # evaluations: so many that a node can come, work and be killed meanwhile


def patiently(tab, condition, seconds=400):
    end = time.monotonic() + seconds
    while not tab.evaluate(condition):
        assert time.monotonic() < end, tab.text()[:2000]
        time.sleep(0.5)


def says(text):
    return f"document.body.innerText.includes({text!r})"


def launch(server, tab, evaluations):
    """From the form, after its estimate."""
    tab.open(f"{server.address}#/new")
    tab.settled()
    for key, text in {**FORM, "evaluations": str(evaluations)}.items():
        tab.evaluate(f"({FILL})({key!r}, {text!r})")
    tab.evaluate("document.querySelector('form button[type=submit]').click()")
    patiently(tab, "!document.querySelector('button.primary').disabled")
    tab.evaluate("document.querySelector('button.primary').click()")
    tab.wait("location.hash === '#/runs/first'")
    patiently(tab, says("running"))


def kill_and_start_again(server, tab):
    server.kill()
    patiently(tab, GONE)
    server.start()
    patiently(tab, f"!{GONE}")


def download_and_try(tab, file):
    """The verified network, as the page gives it."""
    patiently(tab, says("budget of 2 ms is kept"))
    file.write_bytes(base64.b64decode(tab.evaluate(FETCH)))
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    [logits] = session.run(None, {session.get_inputs()[0].name: np.zeros((1, 1, 8, 8), np.float32)})
    assert logits.shape == (1, 10)


def test_from_the_launch_form_to_a_verified_network_over_a_killed_server(tmp_path):
    server = ServiceProcess(tmp_path / "runs", cache=tmp_path / "cache")
    with server, Browser(tmp_path / "profile") as tab:
        launch(server, tab, 2000)
        kill_and_start_again(server, tab)
        download_and_try(tab, tmp_path / "model.onnx")
        tab.screenshot(tmp_path / "end.png")


def test_the_same_on_a_cluster_whose_second_node_joins_and_is_killed(tmp_path, monkeypatch):
    with StartedNodes() as cluster:
        for name, value in cluster.environment.items():
            monkeypatch.setenv(name, value)
        cluster.start("--num-cpus=1")
        server = ServiceProcess(tmp_path / "runs", "--address", cluster.address, cache=tmp_path / "cache")
        with server, Browser(tmp_path / "profile") as tab:
            launch(server, tab, ON_CLUSTER)
            patiently(tab, says("1 worker on 1 node"))
            before = tab.evaluate(DONE)
            node = cluster.start("--num-cpus=2")
            assert until(lambda: len(scorers(node)) == 2), tab.text()[:2000]
            patiently(tab, says("1 node joined; the cluster now has room for 3 workers"))
            patiently(tab, f"{DONE} > {before}")
            kill_raylet_of(node)
            kill_and_start_again(server, tab)
            patiently(tab, says("1 node left; the cluster now has room for 1 workers"))
            assert tab.evaluate(DONE) < 1, "the search was over before the node was lost; raise ON_CLUSTER"
            tab.screenshot(tmp_path / "lost.png")
            download_and_try(tab, tmp_path / "model.onnx")
            tab.screenshot(tmp_path / "end.png")
    assert results(tmp_path / "runs" / "first") == results(searched_alone(tmp_path))


def searched_alone(folder):
    """The search of the form again, by the command and one process, with the latencies that are known by now."""
    settings = [
        "--space",
        FORM["space"],
        "--latency",
        FORM["latency"],
        "--params",
        FORM["params"],
        "--evaluations",
        str(ON_CLUSTER),
    ]
    command = [sys.executable, "-m", "nas", "search", *settings, "--engine", "serial", "--no-train", "--out", "serial"]
    environment = os.environ | {"NETWRIGHT_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, check=False, cwd=folder, env=environment, capture_output=True, text=True)
    assert ended.returncode in (0, 4), ended.stderr
    return folder / "serial"


def results(directory):
    with Run.open(directory) as run:
        return list(run.store.results())
