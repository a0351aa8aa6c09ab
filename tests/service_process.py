"""A real ``netwright serve`` in a process of its own."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from nas.client import Client


class ServiceProcess:
    """Starts with the block; a kill leaves its jobs running, the end of the block ends them all."""

    def __init__(self, root, *options, cache=None, port=0):
        self.root, self._options, self.port = Path(root), options, port
        paths = os.pathsep.join(p for p in sys.path if p)
        self._environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
        if cache is not None:
            self._environment["NETWRIGHT_CACHE"] = str(cache)

    def start(self):
        self.log = self.root.with_name(f"{self.root.name}.log")
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "nas",
                    "serve",
                    "--root",
                    str(self.root),
                    "--port",
                    str(self.port),
                    *self._options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=self._environment,
            )
        while not (found := re.search(r"at (http://[^:/]+:([0-9]+)/)(?:\?token=(\S+))?", self.log.read_text())):
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)
        self.address, self.port, self.token = found[1].replace("0.0.0.0", "127.0.0.1"), int(found[2]), found[3]
        return self

    def client(self):
        return Client(self.address, self.token)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.kill()
        for process in psutil.process_iter(["cmdline"]):
            if any(str(self.root) in word for word in process.info["cmdline"] or ()):
                process.kill()
