"""The Ray cluster that an operator chose for the searches of a server."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from hardware.runtimes import RUNTIMES
from nas.engine_settings import EngineSettings

PROBE_S = 1.0
_HOST_AND_PORT = re.compile(r"(?:ray://)?([^/:\s\[\]]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})")


class InvalidCluster(ValueError):
    """Options of ``netwright serve`` that name no cluster, or workers that cannot be; the message says which."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where searches run whose settings name no cluster of their own.

    Attributes:
        address: ``auto``, or HOST:PORT of the head.
        worker_gpus: of each worker.
        worker_resources: custom ones of each worker.
        device_node: the node that measures; None measures on the server's machine.
    """

    address: str
    worker_gpus: float = 0.0
    worker_resources: Mapping[str, float] = field(default_factory=dict)
    device_node: str | None = None

    def placed(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Settings of a search that is to begin, on this cluster.

        What they say themselves stays: an address, kind ``serial``, needs of workers. Kind ``auto`` becomes ``ray``:
        a cluster that is away then fails the job, where ``auto`` would go on with the server's own CPUs. The device
        node is for runtimes: a device that is known by its table alone is not measured.
        """
        engine = dict(config.get("engine") or {})
        if engine.get("address") is not None:
            return dict(config)
        engine["address"] = self.address
        if engine.get("kind", "auto") == "auto":
            engine["kind"] = "ray"
        if engine["kind"] == "ray":
            if engine.get("worker_gpus") is None:
                engine["worker_gpus"] = self.worker_gpus
            if engine.get("worker_resources") is None:
                engine["worker_resources"] = dict(self.worker_resources)
        if self.device_node is not None and _measures(config):
            engine["device_node"] = self.device_node
        return {**config, "engine": engine}

    def answers(self) -> bool | None:
        """Whether somebody takes connections at the address; None for ``auto``, which Ray looks up for each job."""
        match = _HOST_AND_PORT.fullmatch(self.address)
        if match is None:
            return None
        try:
            socket.create_connection((match[1].strip("[]"), int(match[2])), timeout=PROBE_S).close()
        except OSError:
            return False
        return True

    def view(self) -> dict[str, Any]:
        """What a client sees."""
        return {
            "address": self.address, "answers": self.answers(), "worker_gpus": self.worker_gpus,
            "worker_resources": dict(self.worker_resources), "device_node": self.device_node,
        }  # fmt: skip

    def __str__(self) -> str:
        away = ", which does not answer: they fail until it does, and can be resumed then"
        return f"the Ray cluster at {self.address}{away if self.answers() is False else ''}"


def chosen_cluster(
    address: str | None, worker_gpus: float | None, worker_resources: Mapping[str, float], device_node: str | None
) -> Cluster | None:
    """The cluster that options name; None without an address.

    Args:
        address: ``auto``, HOST:PORT or ray://HOST:PORT.
        worker_gpus: of each worker; None for none.
        worker_resources: of each worker.
        device_node: that measures.
    Raises: InvalidCluster.
    """
    options = {"--worker-gpus": worker_gpus, "--worker-resources": worker_resources, "--device-node": device_node}
    if address is None:
        for option, given in options.items():
            if given:
                raise InvalidCluster(f"serve: {option}: there is no cluster; give its --address as well")
        return None
    match = _HOST_AND_PORT.fullmatch(address)
    if address != "auto" and (match is None or not 0 < int(match[2]) < 2**16):
        raise InvalidCluster(f"serve: --address {address!r}: expected auto, or HOST:PORT of the head of a Ray cluster")
    engine = {
        "kind": "ray", "address": address, "worker_gpus": worker_gpus or 0.0,
        "worker_resources": dict(worker_resources), "device_node": device_node,
    }  # fmt: skip
    try:
        checked = EngineSettings.model_validate(engine)
    except ValidationError as error:
        raise InvalidCluster(f"serve: {_first(error)}") from None
    return Cluster(address, checked.worker_gpus or 0.0, checked.worker_resources or {}, checked.device_node)


def where_it_goes_on(cluster: Cluster | None, began: str | None) -> str | None:
    """What a user should know of a run that is resumed by a server with another cluster than the run's.

    Args:
        cluster: of the server.
        began: address of the run's, from its run file; None for none.
    """
    if began == (cluster and cluster.address):
        return None
    there = f"at the Ray cluster {began}" if began is not None else "without a cluster"
    new = f"go to {cluster.address}" if cluster is not None else "use none"
    return f"it goes on {there}, as it began; new searches of this server {new}"


def _measures(config: Mapping[str, Any]) -> bool:
    devices = [config.get("device", "onnxruntime"), *(one["device"] for one in config.get("also") or ())]
    return any(device.partition(":")[0].strip() in RUNTIMES for device in devices)


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    text, place = str(first["msg"]).removeprefix("Value error, "), ".".join(map(str, first["loc"]))
    return f"{place}={first.get('input')!r}: {text}" if place else text
