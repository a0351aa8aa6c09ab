"""The measuring process as its owner sees it: start it, ask with a time limit, be sure that it is gone."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hardware.device import Device
from hardware.runtimes import RUNTIMES
from hardware.runtimes.contract import NumericsMismatch, RuntimeRefused

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_PASSIVE_WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
# What must not reach the process itself, but a command of the user's that it runs.
USERS_NAMES = {"PYTHONPATH": "NETWRIGHT_USERS_PYTHONPATH", "TMPDIR": "NETWRIGHT_USERS_TMPDIR"}
_START = "import json, sys; sys.path += json.loads(sys.argv[1]); from hardware.measuring_process import main; main()"
_REFUSALS = {error.__name__: error for error in (NumericsMismatch, RuntimeRefused)}


class MeasurementFailed(RuntimeError):
    """The measuring process died or hung."""


class Target:
    """A running measuring process; use it in a ``with`` statement.

    Args:
        device: whose runtime it loads.
        hang_s: an answer that takes longer counts as hung; loading may take what the runtime's row allows.
    """

    def __init__(self, device: Device, hang_s: float) -> None:
        self._hang_s = hang_s
        self._load_s = RUNTIMES[device.runtime].load_s
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._scratch = tempfile.TemporaryDirectory(prefix="netwright-", ignore_cleanup_errors=True)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _START, json.dumps(_module_folders())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env={**_environment(device.threads), "TMPDIR": self._scratch.name},
            text=True,
            start_new_session=True,  # Ctrl-C reaches the owner only, who then ends the process
        )
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def ask(self, doing: str, **command: Any) -> dict[str, Any]:
        """Send one command and wait for its answer.

        Args:
            doing: what is being done to which model, for the message.
            command: ``do`` and its arguments.
        Raises: MeasurementFailed: died or hung. RuntimeRefused, NumericsMismatch: as the process says.
        """
        assert self._process.stdin is not None
        limit_s = max(self._hang_s, self._load_s) if command.get("do") == "load" else self._hang_s
        try:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
            line = self._answers.get(timeout=limit_s)
        except BrokenPipeError:
            line = ""
        except queue.Empty:
            raise MeasurementFailed(f"{doing}: no answer for {limit_s:g} s; the process was ended") from None
        if not line:
            raise MeasurementFailed(f"{doing}: the measuring process died ({self._last_words()})")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise _REFUSALS[answer["error"]](answer["message"])
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_all()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                _close(pipe)
        self._stderr.close()
        self._scratch.cleanup()

    def _end_all(self) -> None:
        """The process and what it started: its session is its own."""
        if sys.platform == "win32":
            self._process.kill()
        else:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put("")

    def _last_words(self) -> str:
        code = self._process.wait()
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        return f"exit code {code}: {lines[-1]}" if lines else f"exit code {code}"


def _close(pipe: Any) -> None:
    with suppress(BrokenPipeError):  # a command that the dead process never read
        pipe.close()


def _environment(threads: int) -> dict[str, str]:
    """Thread counts must be known before the libraries load."""
    inherited = {USERS_NAMES.get(name, name): value for name, value in os.environ.items()}
    return {**inherited, **dict.fromkeys(_THREAD_VARIABLES, str(threads)), **_PASSIVE_WAITING}


def _module_folders() -> list[str]:
    """Where the owner finds modules, this package first; the standard library comes before all of them.

    So a file of the user's that is called like a standard module does not reach the measuring process.
    """
    return [str(Path(__file__).resolve().parents[1]), *(path or os.getcwd() for path in sys.path)]
