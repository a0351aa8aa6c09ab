"""A new user: a search launched from the page under a latency budget, the server killed meanwhile, ONNX at the end."""

import base64
import time

import numpy as np
import onnxruntime
import pytest
from browser import BROWSER, Browser
from service_process import ServiceProcess

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


def patiently(tab, condition, seconds=400):
    end = time.monotonic() + seconds
    while not tab.evaluate(condition):
        assert time.monotonic() < end, tab.text()[:2000]
        time.sleep(0.5)


def test_from_the_launch_form_to_a_verified_network_over_a_killed_server(tmp_path):
    server = ServiceProcess(tmp_path / "runs", cache=tmp_path / "cache")
    with server, Browser(tmp_path / "profile") as tab:
        tab.open(f"{server.address}#/new")
        tab.settled()
        fields = {"name": "first", "space": "zen-tiny", "latency": "2ms", "evaluations": "2000", "epochs": "3"}
        for key, text in fields.items():
            tab.evaluate(f"({FILL})({key!r}, {text!r})")
        tab.evaluate("document.querySelector('form button[type=submit]').click()")
        patiently(tab, "!document.querySelector('button.primary').disabled")
        tab.evaluate("document.querySelector('button.primary').click()")
        tab.wait("location.hash === '#/runs/first'")
        patiently(tab, "document.body.innerText.includes('running')")
        server.kill()
        patiently(tab, "document.body.innerText.includes('does not answer')")
        server.start()
        patiently(tab, "!document.body.innerText.includes('does not answer')")
        patiently(tab, "document.body.innerText.includes('budget of 2 ms is kept')")
        file = tmp_path / "model.onnx"
        file.write_bytes(base64.b64decode(tab.evaluate(FETCH)))
        tab.screenshot(tmp_path / "end.png")
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    [logits] = session.run(None, {session.get_inputs()[0].name: np.zeros((1, 1, 8, 8), np.float32)})
    assert logits.shape == (1, 10)
