"""Start Ray quietly, for as long as a ``with`` block lasts, and leave nothing behind."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

OBJECT_STORE_BYTES = 100 * 1024 * 1024
PROBE_SECONDS = 5.0
LONGEST_FOLDER = 107 - len("/session_2026-01-01_00-00-00_000000_0000000/sockets/plasma_store")
_HOST_AND_PORT = re.compile(r"(?:ray://)?([^/:]+):(\d+)")
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_USAGE_STATS_PROMPT_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # keep the user's CUDA_VISIBLE_DEVICES; silences a warning
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
}
_PREFIX = "netwright-ray-"
_LOG = logging.getLogger(__name__)
_LOCK = "lock"


class RayUnavailable(RuntimeError):
    """Ray is not installed or cannot start here; the message says why in one line."""


@contextmanager
def start_ray(address: str | None = None, workers: int | None = None) -> Iterator[int]:
    """Run the block with Ray connected; a session that was running before is used and left running.

    Telemetry and dashboard are off. A private cluster gets a random token, so it needs no home directory.

    Args:
        address: of a cluster ("auto", "host:port", "ray://host:port"); None starts a private one here.
        workers: CPUs of the private cluster; None takes those that this process may use.
    Returns: the CPUs of the cluster.
    Raises: RayUnavailable.
    """
    os.environ.update({name: value for name, value in _QUIET.items() if name not in os.environ})
    if address is None:
        _set_private_token()
    try:
        import ray  # slow, and reads the environment set above
    except ImportError as error:
        raise RayUnavailable(f"Ray cannot be imported ({error}); install netwright's ray[tune]") from None
    if ray.is_initialized():
        yield _cpus(ray.cluster_resources())
        return
    _probe(address)
    with _short_folder() as folder:
        _connect(address, workers, folder)
        try:
            yield _cpus(ray.cluster_resources())
        finally:
            ray.shutdown()


def available_cpus() -> int:
    """CPUs that this process may use; Ray counts all of the machine's instead."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpus(resources: dict[str, float]) -> int:
    return max(1, int(resources.get("CPU", 1)))


def _probe(address: str | None) -> None:
    """Refuse an address that nobody answers; Ray itself would try for minutes and then end the process."""
    match = _HOST_AND_PORT.fullmatch(address or "")
    if match is None:  # a private cluster, or "auto", which Ray resolves quickly
        return
    try:
        socket.create_connection((match[1], int(match[2])), timeout=PROBE_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise RayUnavailable(
            f"Ray at {address} cannot be reached: {error}; start the cluster or leave the address out"
        ) from None


def _connect(address: str | None, workers: int | None, folder: Path) -> None:
    import ray

    options: dict[str, object] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        options |= {
            "num_cpus": workers or available_cpus(),
            "object_store_memory": OBJECT_STORE_BYTES,
            "include_dashboard": False,
            "_temp_dir": str(folder),
        }
    try:
        ray.init(address=address or "local", **options)
        _hush(ray)
    except Exception as error:  # noqa: BLE001 - Ray raises bare ones when a process of its own dies at the start
        ray.shutdown()
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        where = f"at {address} cannot be reached" if address else "does not start here"
        raise RayUnavailable(f"Ray {where}: {reason}; the serial engine does the same work") from None


def _hush(ray: Any) -> None:
    """Keep what Ray's daemons report of nodes that die off the standard output: there is no switch (Ray 2.60)."""
    worker = getattr(getattr(ray, "_private", None), "worker", None)
    if hasattr(worker, "print_to_stdstream"):
        setattr(worker, "print_to_stdstream", lambda data, ignore_prefix=False: _LOG.debug("%s", data.get("lines")))  # noqa: B010


def _set_private_token() -> None:
    """Give the private clusters of this process a random token, unless the user configured authentication.

    Otherwise Ray writes one into the home directory, which may be missing or read-only. The token stays in the
    environment: a second session in one process does not start when it was taken away in between (Ray 2.60).
    """
    if "RAY_AUTH_TOKEN" not in os.environ and "RAY_AUTH_MODE" not in os.environ:
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


@contextmanager
def _short_folder() -> Iterator[Path]:
    """A folder for Ray's session, short enough for socket names, removed afterwards.

    A lock is held on a file in it for as long as this process lives, so that others can tell an abandoned one.
    """
    parent = Path(tempfile.gettempdir())
    if len(f"{parent}/{_PREFIX}12345678") > LONGEST_FOLDER:
        parent = Path("/tmp")
    _remove_abandoned(parent)
    try:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        lock = (folder / _LOCK).open("w")
    except OSError as error:
        raise RayUnavailable(f"Ray needs a folder for its sockets in {parent}: {error.strerror}") from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned(parent: Path) -> None:
    """Remove session folders of our own whose process was killed: nobody holds their lock."""
    for path in parent.glob(f"{_PREFIX}*/{_LOCK}"):
        try:
            with path.open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path.parent, ignore_errors=True)
        except OSError:  # in use, another user's, or gone meanwhile
            continue
