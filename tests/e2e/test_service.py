"""The server as its users have it: processes, a client, kills, a verified network at the end."""

import subprocess
import sys
import time

import numpy as np
import onnxruntime
import pytest
from service_process import ServiceProcess

from nas.client import ServerGone, ServerRefused

SMALL = {
    "space": "zen-tiny",
    "constraints": {"params": "200k"},
    "search": {"evaluations": 3000, "population": 32},
    "finalists": {"measured": 1, "trained": 1, "epochs": 1},
    "recipe": {"epochs": 3},
    "guard": {"seeds": 0},
}


def until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)
    return found


def test_a_search_outlives_its_server_and_ends_in_a_verified_network(tmp_path):
    server = ServiceProcess(tmp_path / "runs", cache=tmp_path / "cache")
    with server:
        run = server.client().search(data="digits", name="first", config=SMALL)
        until((tmp_path / "runs" / "first" / "run.sqlite").exists)
        pid = run.status()["job"]["pid"]
        server.kill()
        with pytest.raises(ServerGone, match="is `netwright serve` running"):
            run.status()
        server.start()  # at the same port
        assert run.status()["job"]["pid"] in (pid, None)  # the same process, or it has ended well
        seen = {kind for kind, _ in run.watch()}
        assert {"overview", "event", "state"} <= seen
        whole = run.wait(seconds=120).status()
        assert whole["finished"]
        assert len(run.candidates(outcome="scored")) == whole["outcomes"]["scored"]
        front = run.pareto()
        assert run.best(params=float(front["params"].max()))["id"] in set(front["id"])
        names = [each["path"] for each in run.artifacts()]
        assert {"winner/model.onnx", "winner/network.py", "winner/model.safetensors", "report.html"} <= set(names)
        file = run.download("winner/model.onnx", tmp_path)
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        [logits] = session.run(None, {session.get_inputs()[0].name: np.zeros((1, 1, 8, 8), np.float32)})
        assert logits.shape == (1, 10)
        with pytest.raises(ServerRefused, match="name='first': a run of that name is there"):
            server.client().search(name="first", config=SMALL)
        rows = server.client().predict([run.best()["arch"]], input_shape=(1, 8, 8))
        assert rows["params"][0] == run.best()["params"]


def test_beyond_loopback_a_token_is_made_and_wanted(tmp_path):
    with ServiceProcess(tmp_path / "runs", "--host", "0.0.0.0") as server:
        assert len(server.token) >= 16
        assert server.client().runs() == []
        server.token = None
        with pytest.raises(ServerRefused, match=r"\(401\): Authorization"):
            server.client().runs()


def test_wrong_options_are_one_line(tmp_path):
    def refused(*options):
        command = [sys.executable, "-m", "nas", "serve", "--root", str(tmp_path / "runs"), *options]
        ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
        assert ended.returncode == 2
        [line] = ended.stderr.splitlines()
        return line

    with ServiceProcess(tmp_path / "runs") as server:
        assert "another server has" in refused("--port", "0")
        port = server.port
        assert "give another --host or --port" in refused("--port", str(port), "--root", str(tmp_path / "others"))
    (tmp_path / "token").write_text("short")
    assert "a token of 5 characters, expected 16 or more" in refused("--token-file", str(tmp_path / "token"))
    assert "cannot be read" in refused("--token-file", str(tmp_path / "none"))
