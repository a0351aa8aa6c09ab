"""Where the work of a run is done."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from nas.strict import Positive, Strict

_RAYS_OWN = {"cpu": "; each worker has one", "gpu": "; give worker_gpus", "memory": "", "object_store_memory": ""}


class EngineSettings(Strict):
    """Where the work runs.

    Attributes:
        kind: where scores are computed; auto takes ray when that pays.
        workers: Ray workers, at most; null takes as many as the cluster holds, also of nodes that join later.
        address: of a running Ray cluster, for example auto or 10.0.0.1:6379; null starts Ray here when needed.
        worker_gpus: of each Ray worker, a fraction of one or a whole number; null for none, or what a server gives.
        worker_resources: custom resources of each Ray worker, {name: amount}; null for none, or what a server gives.
        device_node: the node of the cluster where latencies are measured, and nothing is scored: the beginning of its
            id, its host name or IP address, or a custom resource that it alone has, device:NAME. Null measures where
            the command runs.
    """

    kind: Literal["auto", "serial", "ray"] = "auto"
    workers: Positive | None = None
    address: str | None = None
    worker_gpus: Annotated[float, Field(ge=0, le=64)] | None = None
    worker_resources: dict[str, Annotated[float, Field(gt=0)]] | None = None
    device_node: str | None = None

    @property
    def special(self) -> bool:
        """Whether workers need more than a CPU."""
        return bool(self.worker_gpus or self.worker_resources)

    @model_validator(mode="after")
    def _workers_are_possible(self) -> Self:
        if self.worker_gpus is not None and self.worker_gpus > 1 and self.worker_gpus % 1:
            raise ValueError(f"worker_gpus={self.worker_gpus}, expected a fraction of one or a whole number")
        for name in self.worker_resources or ():
            if name.lower() in _RAYS_OWN:
                raise ValueError(
                    f"worker_resources: {name!r} is Ray's own, expected custom ones{_RAYS_OWN[name.lower()]}"
                )
        if self.special and self.kind == "serial":
            raise ValueError("worker_gpus and worker_resources are of Ray workers, kind is serial; give kind: ray")
        return self

    @model_validator(mode="after")
    def _node_is_in_a_cluster(self) -> Self:
        if self.device_node is not None and (self.address is None or not self.device_node.strip()):
            raise ValueError(f"device_node={self.device_node!r} names a node of a cluster; give its address as well")
        return self
