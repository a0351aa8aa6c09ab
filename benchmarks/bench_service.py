"""How fast the service answers 50 clients at once while a search runs: `predict` and `best`, and its memory.

One server process on loopback and one search of it (not trained, counted in candidates) share the machine with the
clients, which are threads of this process with one connection each.

    python benchmarks/bench_service.py                       # a minute
    python benchmarks/bench_service.py --seconds 20 --clients 10
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
from json_line import emit

from nas.client import Client

TEXT = "SuperConvK3BNRELU(3,8,1,1)SuperResK3K3(8,16,1,8,1)"
SEARCH = {"space": "zen-tiny", "train": False, "search": {"evaluations": 10_000_000}}


def start(root: Path) -> tuple[subprocess.Popen[str], int]:
    """A server, and its port."""
    command = [sys.executable, "-m", "nas", "serve", "--root", str(root), "--port", "0", "--requests", "0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    line = server.stderr.readline() if server.stderr else ""
    found = re.search(r":(\d+)/", line)
    if found is None:
        raise SystemExit(f"bench_service: the server did not start: {line}")
    return server, int(found[1])


def client(port: int, until: float, paths: list[tuple[str, str, str | None]], seen: dict[str, list[float]]) -> None:
    """Ask one after the other until it is time."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    while time.monotonic() < until:
        for name, path, body in paths:
            begin = time.perf_counter()
            headers = {"content-type": "application/json"} if body else {}
            connection.request("POST" if body else "GET", path, body, headers)
            answer = connection.getresponse()
            answer.read()
            kind = name if answer.status == 200 else f"{name} {answer.status}"
            seen.setdefault(kind, []).append(time.perf_counter() - begin)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=50)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "runs"
        server, port = start(root)
        try:
            run = Client(f"http://127.0.0.1:{port}").search(name="live", config=SEARCH)
            while run.status()["candidates"] < 2000:
                time.sleep(0.5)
            body = json.dumps({"archs": [TEXT]})
            paths = [("predict", "/api/v1/predict", body), ("best", "/api/v1/runs/live/best?params=200000", None)]
            process = psutil.Process(server.pid)
            before = process.memory_info().rss
            each: list[dict[str, list[float]]] = [{} for _ in range(options.clients)]
            until = time.monotonic() + options.seconds
            threads = [threading.Thread(target=client, args=(port, until, paths, seen)) for seen in each]
            for thread in threads:
                thread.start()
            time.sleep(options.seconds / 2)
            middle = process.memory_info().rss
            for thread in threads:
                thread.join()
            for name in sorted({kind for seen in each for kind in seen}):
                times = np.concatenate([seen[name] for seen in each if name in seen]) * 1000
                emit(
                    f"service.{name}",
                    np.random.default_rng(0).choice(times, min(len(times), 2000), replace=False).tolist(),
                    "ms",
                    p99_ms=round(float(np.percentile(times, 99)), 1),
                    answers=len(times),
                    clients=options.clients,
                    answers_per_second=round(len(times) / options.seconds, 1),
                )
            after = process.memory_info().rss
            candidates = run.status()["candidates"]
            emit(
                "service.memory", [after / 1e6], "MB", before=before / 1e6, half_way=middle / 1e6, candidates=candidates
            )
            run.stop()
            while run.status()["state"] != "stopped":
                time.sleep(0.2)
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
