"""How a server runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nas.service.cluster import Cluster

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """What ``netwright serve`` was told.

    Attributes:
        root: folder of the runs; the server's own file is in ``.service`` below it.
        jobs: searches that run side by side.
        token: that every request must carry; None on loopback only.
        allow_custom_code: whether requests may name Python code, commands, files and other servers.
        hosts: names by which the server may be called; others are refused, against DNS rebinding. Empty for any.
        body_bytes: of a request, at most.
        requests_per_second: of one client, at most, over ten seconds; 0 for no limit.
        streams: followers of runs at the same time, at most.
        cluster: of searches that name none; None leaves them on this machine.
    """

    root: Path
    jobs: int = 1
    token: str | None = None
    allow_custom_code: bool = False
    hosts: tuple[str, ...] = LOOPBACK
    body_bytes: int = 16 * 2**20
    requests_per_second: float = 200.0
    streams: int = 200
    cluster: Cluster | None = None

    @property
    def own_folder(self) -> Path:
        """What the server itself keeps."""
        return self.root / ".service"
