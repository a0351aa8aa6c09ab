"""The server as its users have it: processes, a client, kills, a verified network at the end."""

import subprocess
import sys
import threading
import time

import numpy as np
import onnxruntime
import pytest
from service_process import ServiceProcess

from nas.client import ServerGone, ServerRefused
from nas.run import Run

SMALL = {
    "space": "zen-tiny",
    "constraints": {"params": "200k"},
    "search": {"evaluations": 3000, "population": 32},
    "finalists": {"measured": 1, "trained": 1, "epochs": 1},
    "recipe": {"epochs": 3},
    "guard": {"seeds": 0},
    "latency": {"measure": "3s"},
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


def test_a_watch_goes_on_after_the_server_was_killed_and_started_again(tmp_path):
    """Every event of the run file is told once, in order, though the server died between them."""
    with ServiceProcess(tmp_path / "runs", cache=tmp_path / "cache") as server:
        run = server.client().search(data="digits", name="watched", config={**SMALL, "train": False})
        seen, killed = [], False
        with RestartLater(server) as restart:
            for kind, data in run.watch(patience=60):
                seen.append((kind, data.get("kind")))
                if kind == "overview" and data["candidates"] > 0 and not killed:
                    killed = True
                    server.kill()
                    restart.begin()
        assert killed
        kinds = [name for kind, name in seen if kind == "event"]
        with Run.open(tmp_path / "runs" / "watched") as opened:
            assert kinds == [event["kind"] for event in opened.events()]
        assert seen[-1][0] == "overview"
        server.kill()
        with pytest.raises(ServerGone, match="nobody has answered for 1 s"):
            list(run.watch(patience=1))
        server.start()


class RestartLater:
    """Starts a server again from a thread, a second after ``begin``."""

    def __init__(self, server):
        self._thread = threading.Timer(1.0, server.start)

    def begin(self):
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._thread.cancel()
        if self._thread.ident is not None:
            self._thread.join()


def test_orders_that_come_at_once_are_each_done_or_refused(tmp_path):
    """Of two equal orders to one run exactly one is taken; the rest say why not."""
    endless = {"space": "zen-tiny", "train": False, "search": {"evaluations": 10_000_000}}
    with ServiceProcess(tmp_path / "runs", cache=tmp_path / "cache") as server:
        client = server.client()

        def at_once(order, times=4):
            answers = []

            def ask():
                try:
                    answers.append(order())
                except ServerRefused as error:
                    answers.append(error.status)

            threads = [threading.Thread(target=ask) for _ in range(times)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return answers

        launched = at_once(lambda: client.search(name="one", config=endless).name)
        assert sorted(launched, key=str) == [409, 409, 409, "one"]
        run = client.run("one")
        until(lambda: run.status()["candidates"] > 0)
        paused = at_once(run.pause)
        assert sorted(paused, key=str) == [409, 409, 409, "pausing"]
        until(lambda: run.status()["state"] == "paused")
        resumed = at_once(run.resume)
        assert sorted(resumed, key=str) == [409, 409, 409, "queued"]
        until(lambda: run.status()["state"] == "running")
        mixed = at_once(run.stop) + at_once(run.pause)
        assert mixed.count("stopping") == 1
        assert set(mixed) == {"stopping", 409}
        until(lambda: run.status()["state"] == "stopped")


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
