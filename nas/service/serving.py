"""Bind, say where, and serve until told to stop."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from nas.service.cluster import Cluster
from nas.service.settings import LOOPBACK, ServiceSettings

VARIABLE = "NETWRIGHT_TOKEN"
LEAST_TOKEN = 16


class CannotServe(RuntimeError):
    """The address is taken, the root is another server's, the token cannot be read."""


@dataclass(frozen=True, slots=True)
class Serving:
    """The options of ``netwright serve``."""

    root: Path
    host: str
    port: int
    jobs: int
    token_file: Path | None
    allow_custom_code: bool
    requests: float
    cluster: Cluster | None = None


def serve_until_stopped(serving: Serving, hosts: tuple[str, ...], say: Callable[[str], None]) -> None:
    """Serve; returns after SIGINT or SIGTERM.

    Raises: CannotServe.
    """
    import uvicorn

    from nas.service.app import create_app

    token, made = _token(serving)
    root = serving.root.resolve()
    settings = ServiceSettings(
        root=root,
        jobs=serving.jobs,
        token=token,
        allow_custom_code=serving.allow_custom_code,
        hosts=hosts,
        requests_per_second=serving.requests,
        cluster=serving.cluster,
    )
    with _alone(settings), _bound(serving.host, serving.port) as listening:
        shown = f"[{serving.host}]" if ":" in serving.host else serving.host
        address = f"http://{shown}:{listening.getsockname()[1]}/"
        say(f"netwright serves {root} at {address}{f'?token={token}' if made else ''}")
        if settings.cluster is not None:
            say(f"searches go to {settings.cluster}")
        server = uvicorn.Server(
            uvicorn.Config(
                create_app(settings),
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=3,
            )
        )
        server.run(sockets=[listening])


def _token(serving: Serving) -> tuple[str | None, bool]:
    """The token, and whether it was made just now."""
    token = os.environ.get(VARIABLE, "").strip() or None
    if serving.token_file is not None:
        try:
            token = serving.token_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise CannotServe(f"serve: --token-file {serving.token_file}: cannot be read ({reason})") from None
    if token is None:
        return (None, False) if serving.host in LOOPBACK else (secrets.token_urlsafe(24), True)
    if len(token) < LEAST_TOKEN or not token.isascii() or not token.isprintable() or set(token) & set(' ;,"\\'):
        raise CannotServe(
            f"serve: a token of {len(token)} characters, expected {LEAST_TOKEN} or more of A-Z a-z 0-9 _ -"
        )
    return token, False


class _alone:  # noqa: N801 - reads as a statement
    """One server a root."""

    def __init__(self, settings: ServiceSettings) -> None:
        settings.own_folder.mkdir(parents=True, exist_ok=True)
        self._root, self._lock = settings.root, FileLock(settings.own_folder / "server.lock")

    def __enter__(self) -> None:
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise CannotServe(f"serve: another server has {self._root}; stop it, or give another --root") from None

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # named: else Nagle stays on
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(128)  # those who come before the server is ready wait
    except OSError as error:
        listening.close()
        raise CannotServe(f"serve: {host}:{port}: {error.strerror}; give another --host or --port") from None
    return listening
