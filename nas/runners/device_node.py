"""The node of the device under test: what is measured is measured there, wherever the search runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hardware.device import Device
from hardware.lookup import LatencyTable
from hardware.measure import Measurement, MeasureProtocol, Model
from nas.narrator import Silent
from nas.runners.cluster import Node, NodeUnknown, find_node, living_nodes
from nas.runners.measuring import TableWanted
from nas.runners.measuring_worker import MeasuringWorker, pack
from nas.runners.ray_session import start_ray

TRIES = 3
NODE_SECONDS = 90.0  # for a node that has left to come back; the cluster takes 15 s to notice that it has left
START_SECONDS = 120.0  # for the worker to start, before the user is told that it waits
POLL_SECONDS = 2.0
THREADS = 2  # one measures, one tells how far it is


class DeviceNodeLost(RuntimeError):
    """The node of the device left the cluster and did not come back."""


@dataclass(frozen=True, slots=True)
class DeviceNode:
    """A node of a Ray cluster that measures.

    Each measurement is one call of an actor that is pinned to the node; when the node leaves meanwhile, it is waited
    for, and the measurement is made again. A node that has a resource ``device:NAME``, and is called by it, measures
    for one run at a time.

    Attributes:
        address: of the cluster.
        node: see ``find_node``.
        node_seconds: how long a node that is away is waited for.
    """

    address: str
    node: str
    node_seconds: float = NODE_SECONDS

    def check(self, device: Device) -> None:
        """Raise NodeUnknown or RuntimeRefused when the node is not there or the device's runtime is not installed."""
        with start_ray(self.address):
            import ray

            find_node(living_nodes(ray), self.node)
            self._call(Silent(), "check", device.runtime)

    def measure(
        self, models: Sequence[Model], device: Device, protocol: MeasureProtocol, narrator: Silent
    ) -> list[Measurement]:
        """Time networks on the node; conditions are its own.

        Raises: DeviceNodeLost, RayUnavailable; and what ``hardware.measure.measure`` raises.
        """
        if not models:
            return []
        packed = [pack(model) for model in models]
        found = self._call(narrator, "measure", packed, device.to_dict(), asdict(protocol))
        return [Measurement.from_dict(each) for each in found]

    def table(self, wanted: TableWanted, narrator: Silent) -> LatencyTable:
        """The table that the node keeps, or one profiled there now.

        Raises: as ``measure``; and ProfileFailed, InvalidTable.
        """
        return LatencyTable.from_json(self._call(narrator, "table", wanted.to_dict()))

    def changed(self, table: LatencyTable, space: str) -> str:
        """In what a table's conditions are not those of the node now."""
        return str(self._call(Silent(), "changed", table.to_json(), space))

    def _call(self, narrator: Silent, method: str, *args: Any) -> Any:
        with start_ray(self.address):
            import ray

            for left in reversed(range(TRIES)):
                node = self._wait_for_node(ray, narrator)
                actor = self._actor(ray, node)
                try:
                    return _follow(ray, actor, getattr(actor, method).remote(*args), narrator)
                except ray.exceptions.RayTaskError as error:
                    raise error.cause from None
                except ray.exceptions.RayError:
                    narrator.say(f"device node {self.node}: left, or its worker died" + ", once more" * bool(left))
                finally:
                    ray.kill(actor)
                    narrator.done()
        raise DeviceNodeLost(
            f"device node {self.node!r}: left, or its worker died, {TRIES} times in a row while it measured; mend it, "
            "then resume the run"
        )

    def _wait_for_node(self, ray: Any, narrator: Silent) -> Node:
        until, told = time.monotonic() + self.node_seconds, False
        while True:
            try:
                node = find_node(living_nodes(ray), self.node)
                if node.answers():
                    return node
                error = f"node {self.node!r} does not answer"
            except NodeUnknown as unknown:
                error = str(unknown)
            if time.monotonic() >= until:
                raise DeviceNodeLost(
                    f"device {error}; waited {self.node_seconds:.0f} s for it. Start it again with "
                    f"`ray start --address={self.address}`, then resume the run"
                )
            if not told:
                narrator.say(f"device {error}; waiting up to {self.node_seconds:.0f} s for it")
                told = True
            time.sleep(min(1.0, max(0.0, until - time.monotonic())))

    def _actor(self, ray: Any, node: Node) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        own = next((name for name in (self.node, f"device:{self.node}") if name in node.resources), None)
        options = {
            "num_cpus": 0,
            "max_restarts": 0,
            "max_concurrency": THREADS,
            "resources": {own: 1} if own else None,
            "scheduling_strategy": NodeAffinitySchedulingStrategy(node.id, soft=False),
        }
        return ray.remote(MeasuringWorker).options(**options).remote([str(Path.cwd())])


def _follow(ray: Any, actor: Any, answer: Any, narrator: Silent) -> Any:
    """Wait for an answer and pass on what the worker has to say; raises what ``ray.get`` raises."""
    began, ready, told = time.monotonic(), actor.ready.remote(), False
    while not ray.wait([answer], timeout=POLL_SECONDS)[0]:
        if ray.wait([ready], timeout=0)[0]:
            _pass_on(ray, actor, narrator)
        elif not told and time.monotonic() - began > START_SECONDS:
            narrator.say("device node: the worker waits for its turn; another run measures there, or it starts slowly")
            told = True
    with suppress(ray.exceptions.RayError):
        _pass_on(ray, actor, narrator)
    return ray.get(answer)


def _pass_on(ray: Any, actor: Any, narrator: Silent) -> None:
    with suppress(ray.exceptions.GetTimeoutError):
        said, (what, share) = ray.get(actor.news.remote(), timeout=POLL_SECONDS)
        for line in said:
            narrator.say(line)
        if what:
            narrator.update(what, share)
