"""What a configuration means: the space, the images, the device and its latency table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from hardware.device import Device
from hardware.latency_targets import LatencyTarget, find_target
from hardware.lookup import LatencyTable
from hardware.protocol import MeasureProtocol
from hardware.runtimes import RUNTIMES
from hardware.runtimes.contract import check_installed
from nas.config import Config
from nas.gates import Gates
from nas.objective import BINAS, CLOSED_FORM, PREDICTOR, Objective
from nas.protocols import SearchSpace
from nas.records import Constraint
from nas.runners.cluster import WorkerNeeds
from nas.runners.measuring import Here, Place
from nas.train.data import Dataset, load_dataset
from nas.train.torch_device import check_torch_device
from predictors.proxies.failure import ProxyFailed
from search_spaces import SPACES, load_space
from search_spaces.arch import InvalidArchitecture
from search_spaces.expand import output_shape
from search_spaces.layers import Shape


class TaskFailed(ValueError):
    """The parts of a configuration exist one by one, but do not fit together."""


@dataclass(frozen=True, slots=True)
class Further:
    """A further device and its latency budget."""

    target: LatencyTarget
    budget_ms: float


@dataclass(frozen=True)
class Task:
    """A configuration with everything that its names refer to. Made of plain data; no module, no Ray.

    Attributes:
        config: what the user asked for.
        ensemble: what the run file holds of a rank ensemble, so that a changed file does not change its scores.
    """

    config: Config
    ensemble: Mapping[str, Any] | None = None

    @cached_property
    def dataset(self) -> Dataset:
        """The images; raises InvalidDataset."""
        return load_dataset(self.config.data)

    @property
    def input_shape(self) -> Shape:
        """(channels, height, width) of one image."""
        return self.dataset.input_shape

    @property
    def num_classes(self) -> int:
        """Number of labels."""
        return self.dataset.num_classes

    @cached_property
    def space_name(self) -> str:
        """Of the space; see ``Config.space_name``."""
        return self.config.space_name(self.input_shape[1])

    @cached_property
    def space(self) -> SearchSpace:
        """Where to search; raises UnknownSpace."""
        space: SearchSpace = load_space(self.space_name)
        return space

    @cached_property
    def target(self) -> LatencyTarget:
        """What the latency belongs to, here or elsewhere; raises InvalidDevice."""
        return self._target(self.config.device)

    @property
    def device(self) -> Device:
        """How the target is measured; of a target elsewhere, how its exported file is checked here."""
        return self.target.device

    @property
    def latency_budget_ms(self) -> float | None:
        """The limit on latency, if there is one."""
        return self.config.constraints.latency

    def protocol(self, longest_s: float = inf) -> MeasureProtocol:
        """How whole networks are measured; a campaign ends after so many seconds, or after ``latency.measure``."""
        return MeasureProtocol().capped(min(longest_s, self.config.latency.measure))

    @cached_property
    def further(self) -> tuple[Further, ...]:
        """Further devices with their limits; raises InvalidDevice."""
        return tuple(Further(self._target(one.device), one.latency) for one in self.config.also)

    def _target(self, text: str) -> LatencyTarget:
        """The device of a text; with a device node it is a runtime there, whatever is known of devices here."""
        if self.config.engine.device_node is None:
            return find_target(text)
        if text.partition(":")[0].strip() not in RUNTIMES:
            raise TaskFailed(
                f"device {text!r}: engine.device_node measures a runtime on that node, expected one of "
                f"{', '.join(RUNTIMES)}; leave the node out for a device that is known by its table"
            )
        return LatencyTarget(text, Device.parse(text))

    @cached_property
    def place(self) -> Place:
        """Where latencies are measured: here, or on the configured node of the cluster."""
        engine = self.config.engine
        if engine.device_node is None:
            return Here()
        from nas.runners.device_node import DeviceNode

        assert engine.address is not None
        return DeviceNode(engine.address, engine.device_node)

    def gates(self, table: LatencyTable | None, further: Sequence[LatencyTable] = ()) -> Gates:
        """The cheap checks, with the latency tables of the device and of the further ones, in order."""
        limits = [Constraint(f"latency_ms@{one.target.text}", one.budget_ms) for one in self.further]
        also = tuple((one.target.text, model) for one, model in zip(self.further, further, strict=True))
        constraints = (*self.config.constraints.constraints(), *limits)
        return Gates(self.input_shape, self.num_classes, constraints, table, also)

    @cached_property
    def objective(self) -> Objective:
        """What the workers compute; raises UnknownScore."""
        settings = self.config.search
        score = settings.score if settings.ensemble is None else f"{settings.score}:{settings.ensemble}"
        return Objective(score, self.input_shape, self.config.seed, self.ensemble).bound()

    def check(self) -> None:
        """Fail early, in one line, on whatever the configuration names but does not exist."""
        for target in (self.target, *(one.target for one in self.further)):
            if self.config.engine.device_node is None:
                check_installed(target.device.runtime)
            else:
                self.place.check(target.device)
        self._check_workers()
        self.space  # noqa: B018 - each property checks its name
        self.dataset  # noqa: B018
        if self.config.search.score == BINAS:
            self._check_supernet()
        elif self.config.search.score != PREDICTOR:  # of which there is none before the labels
            self.objective.scorer()
        if self.config.train or self.config.search.score in (BINAS, PREDICTOR):
            check_torch_device(self.config.train_device)
        if self.space_name in SPACES:
            self._check_a_member()

    def _check_workers(self) -> None:
        """Raise RayUnavailable when no node of the cluster can ever hold a worker; before anything is written."""
        engine = self.config.engine
        if engine.address is None or not engine.special:
            return
        from nas.runners.crew import Terms, check_places

        needs = WorkerNeeds(engine.worker_gpus or 0.0, engine.worker_resources or {})
        check_places(engine.address, Terms(needs=needs, apart_from=engine.device_node))

    def _check_supernet(self) -> None:
        """Raise NoStages for a space without choices of its own, TaskFailed for a supernet that is another's."""
        from nas.one_shot.structure import structure_of

        structure_of(self.space)
        if self.config.supernet.path is not None:
            from nas.job.supernet_stage import check_fits

            check_fits(self, Path(self.config.supernet.path))

    def _check_a_member(self) -> None:
        """Raise TaskFailed where images are too small for the space, or a closed form does not apply to it."""
        member = self.space.sample(np.random.default_rng(self.config.seed))
        try:
            output_shape(member, self.input_shape)
        except InvalidArchitecture as error:
            size = "x".join(map(str, self.input_shape[1:]))
            raise TaskFailed(f"space {self.space_name!r} on {self.config.data!r}, images of {size}: {error}") from None
        score = self.config.search.score
        if score in CLOSED_FORM:
            try:
                self.objective.scorer()(member, 0)
            except ProxyFailed as error:
                raise TaskFailed(f"score {score!r} does not fit the space {self.space_name!r}: {error}") from None
