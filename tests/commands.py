"""The command ``netwright`` in processes of its own that start quickly: forked from one that has imported it all.

Run as a program, this file is that process: it reads requests as JSON lines and forks once for each.
"""

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Ended:
    """How a command ended; a negative code is the signal that killed it."""

    code: int
    out: str
    err: str

    def json(self):
        assert self.code in (0, 4), self.err
        (line,) = self.out.splitlines()
        return json.loads(line)


class Command:
    """One running command, the leader of a process group of its own."""

    def __init__(self, server, pid, output):
        self._server, self.pid, self._output = server, pid, output

    def signal(self, number):
        os.kill(self.pid, number)

    def signal_group(self, number):
        os.killpg(self.pid, number)

    def wait(self):
        code = self._server.ask({"wait": self.pid})
        return Ended(code, *(Path(f"{self._output}.{name}").read_text() for name in ("out", "err")))


class CommandServer:
    """Starts commands; a context manager."""

    def __init__(self, folder):
        self._folder, self._started = Path(folder), 0
        self.cache = self._folder / "cache"
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "OMP_NUM_THREADS": "1"}
        environment["NETWRIGHT_CACHE"] = str(self.cache)
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def ask(self, request):
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def start(self, *args, cwd):
        self._started += 1
        output = str(self._folder / f"command{self._started}")
        for name in ("out", "err"):
            Path(f"{output}.{name}").touch()
        request = {"args": [str(arg) for arg in args], "cwd": str(cwd), "output": output}
        return Command(self, self.ask(request), output)

    def run(self, *args, cwd):
        return self.start(*args, cwd=cwd).wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()


def until(condition, seconds=60.0):
    """Wait for something that must become true soon; say whether it did."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return bool(condition())


def _serve():
    import sklearn.datasets  # noqa: F401 - what the children need, imported once
    import torch
    import torch._dynamo  # a second at the first step of an optimiser

    import nas.cli.search
    import nas.job.job
    import nas.run  # noqa: F401

    torch.set_num_threads(1)
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
        else:
            answer = os.fork()
            if answer == 0:
                _become(request)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _become(request):
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are born deaf to it
    os.chdir(request["cwd"])
    for number, name in ((1, "out"), (2, "err")):
        target = os.open(f"{request['output']}.{name}", os.O_WRONLY)
        os.dup2(target, number)
    sys.argv = ["netwright", *request["args"]]
    code = 1
    try:
        from nas.cli import main

        main()
    except SystemExit as ended:
        code = ended.code or 0
    finally:
        if code == 1:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()
