"""ONNX Runtime's own profile of a network as it runs: how long each layer takes inside it, fused as the runtime fuses.

A node of the optimised graph belongs to the layer whose name it bears. Nodes that only change the layout of a tensor
belong to the layer that wants the plain one: the reader after ``ReorderOutput``, the writer before ``ReorderInput``.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from hardware.device import Device
from hardware.runtimes import onnxruntime as runtime
from hardware.runtimes.contract import Images, Profile, RuntimeRefused, Source

QUICKEST_SHARE = 0.3  # of the runs: slow epochs and warm-up stay out
LEAST_RUNS = 5
_KERNEL_EVENT, _RUN_EVENT = "_kernel_time", "model_run"
_LAYOUT_SUFFIX = "_nchwc"


def load(source: Source, device: Device) -> ProfiledSession:
    """A session like that of the runtime, which notes its times. Raises RuntimeRefused."""
    return ProfiledSession(source, device)


class ProfiledSession:
    """A network that notes its times with every run until ``finish``."""

    def __init__(self, source: Source, device: Device) -> None:
        if not source.layers:
            raise RuntimeRefused(f"{source.name}: its layers are unknown, so its profile has nobody to be told to")
        self._layers = [layer.name for layer in source.layers]
        self._folder = tempfile.TemporaryDirectory(prefix="netwright-profile-")
        self._graph = Path(self._folder.name) / "optimised.onnx"
        times = str(Path(self._folder.name) / "times")
        self._session = runtime.load(source, device, profile_prefix=times, optimised_path=str(self._graph))

    def run(self) -> None:
        """One inference on the allocated input."""
        self._session.run()

    def run_once(self, images: Images) -> Images:
        """The output for these images."""
        return self._session.run_once(images)

    def finish(self) -> Profile:
        """The times of the quickest runs; the session is gone then.

        Raises: RuntimeRefused: too few runs.
        """
        events = json.loads(Path(self._session.end_profiling()).read_text())
        owners = owners_of_nodes(onnx.load(self._graph).graph, self._layers)
        self._folder.cleanup()
        return summarise(events, owners)


def summarise(events: Sequence[dict[str, Any]], owners: dict[str, str]) -> Profile:
    """Mean times of the quickest runs, by owner.

    Args:
        events: of ONNX Runtime's profile.
        owners: layer name by node name.
    """
    runs = list(_runs(events))
    if len(runs) < LEAST_RUNS:
        raise RuntimeRefused(f"profile: only {len(runs)} runs were noted, at least {LEAST_RUNS} are needed")
    totals = [sum(run.values()) for run in runs]
    quickest = np.argsort(totals)[: max(LEAST_RUNS, round(QUICKEST_SHARE * len(runs)))]
    layers_ms: dict[str, float] = defaultdict(float)
    nodes = Counter[str]()
    for node in runs[0]:
        owner = owners[node]
        layers_ms[owner] += float(np.mean([runs[i][node] for i in quickest])) / 1e3
        nodes[owner] += 1
    return Profile(dict(layers_ms), dict(nodes), len(quickest))


def _runs(events: Sequence[dict[str, Any]]) -> Iterator[dict[str, float]]:
    """Microseconds by node of each complete run."""
    run: dict[str, float] = {}
    for event in events:
        name = event["name"]
        if event.get("cat") == "Node" and name.endswith(_KERNEL_EVENT):
            run[name.removesuffix(_KERNEL_EVENT)] = event["dur"]
        elif name == _RUN_EVENT:
            yield run
            run = {}


def owners_of_nodes(graph: onnx.GraphProto, layers: Sequence[str]) -> dict[str, str]:
    """The layer that each node of an optimised graph works for, by node name."""
    known = set(layers)
    owners: dict[str, str] = {}
    writers = {value: node for node in graph.node for value in node.output}
    readers: dict[str, onnx.NodeProto] = {}
    for node in reversed(graph.node):
        readers.update(dict.fromkeys(node.input, node))  # the first reader stays
    for node in graph.node:
        wanted = node
        if node.op_type == "ReorderOutput":
            wanted = readers.get(node.output[0], writers.get(node.input[0], node))
        elif node.op_type == "ReorderInput":
            wanted = writers.get(node.input[0], node)
        owners[node.name] = _layer_of(wanted, known) or layers[-1]
    return owners


def _layer_of(node: onnx.NodeProto, known: set[str]) -> str | None:
    """The layer whose name a node or its output bears, perhaps with more behind it."""
    for written in (node.name.removesuffix(_LAYOUT_SUFFIX), *node.output):
        parts = str(written).split("/")[0].split(".")
        for end in range(len(parts), 0, -1):
            name = ".".join(parts[:end])
            if name in known:
                return name
    return None
