"""The nodes of a Ray cluster: which there are, how many workers each can hold, and which one a text names."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import floor
from typing import Any

PROBE_SECONDS = 3.0
LEAST_SHARE = 1e-4  # of a resource: Ray counts in these
_ONE = "device:"
_SAID = 4  # nodes that a message names


class NodeUnknown(ValueError):
    """No node of the cluster is meant by a text, or several are; the message lists those there are."""


@dataclass(frozen=True, slots=True)
class Node:
    """A living node.

    Attributes:
        id: hexadecimal.
        host, address: name and IP address; several nodes can have the same.
        port: of its raylet.
        resources: all of them, free or not.
    """

    id: str
    host: str
    address: str
    port: int
    resources: Mapping[str, float]

    def __str__(self) -> str:
        shown = {name: amount for name, amount in self.resources.items() if _worth_saying(name)}
        has = ", ".join(f"{name}={amount:g}" for name, amount in sorted(shown.items()))
        return f"{self.host} ({self.id[:8]}: {has or 'no CPU'})"

    def answers(self) -> bool:
        """Whether its raylet takes connections; the cluster notices only after some 15 s that one is gone."""
        try:
            socket.create_connection((self.address, self.port), timeout=PROBE_SECONDS).close()
        except OSError:
            return False
        return True


def _worth_saying(name: str) -> bool:
    return not name.startswith(("node:", "accelerator_type:")) and name not in ("memory", "object_store_memory")


@dataclass(frozen=True)
class WorkerNeeds:
    """What one worker occupies, beside one CPU.

    Attributes:
        gpus: a fraction of one, or a whole number.
        resources: custom ones by name.
    """

    gpus: float = 0.0
    resources: Mapping[str, float] = field(default_factory=dict)

    def places(self, node: Node) -> int:
        """Workers that a node can hold when it does nothing else."""
        wanted = {"CPU": 1.0, "GPU": self.gpus, **self.resources}
        shares = [node.resources.get(name, 0.0) / amount for name, amount in wanted.items() if amount > 0]
        return floor(min(shares) + LEAST_SHARE)

    def options(self) -> dict[str, Any]:
        """As Ray takes them."""
        return {"num_cpus": 1, "num_gpus": self.gpus or None, "resources": dict(self.resources) or None}

    def __str__(self) -> str:
        more = [f"{self.gpus:g} GPU"] * bool(self.gpus) + [
            f"{amount:g} {name}" for name, amount in self.resources.items()
        ]
        return ", ".join(["one CPU", *more])


def living_nodes(ray: Any) -> list[Node]:
    """The nodes that the cluster takes for alive, in order of their ids: half a millisecond."""
    found = [
        Node(
            row["NodeID"],
            row["NodeManagerHostname"],
            row["NodeManagerAddress"],
            int(row["NodeManagerPort"]),
            dict(row["Resources"]),
        )
        for row in ray.nodes()
        if row["Alive"]
    ]
    return sorted(found, key=lambda node: node.id)


def find_node(nodes: Sequence[Node], text: str) -> Node:
    """The node that a text means.

    Args:
        nodes: among which to look.
        text: the beginning of an id, 6 digits at least; a host name; an IP address; or a custom resource, such as
            ``device:pi``, of which the node has at least 1.
    Raises: NodeUnknown.
    """
    tests = (
        lambda node: len(text) >= 6 and node.id.startswith(text.lower()),
        lambda node: node.resources.get(text, 0.0) >= 1,
        lambda node: node.resources.get(_ONE + text, 0.0) >= 1,
        lambda node: text in (node.host, node.address),
    )
    for test in tests:
        matches = [node for node in nodes if test(node)]
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise NodeUnknown(f"node {text!r}: {len(matches)} nodes have that name, give an id: {describe(matches)}")
    raise NodeUnknown(
        f"node {text!r}: not in the cluster, which has {describe(nodes)}; expected the beginning of an id, "
        "a host name, an IP address or a custom resource"
    )


def describe(nodes: Sequence[Node]) -> str:
    """Nodes in one line."""
    more = f" and {len(nodes) - _SAID} more" if len(nodes) > _SAID else ""
    return ", ".join(map(str, nodes[:_SAID])) + more if nodes else "no nodes"
