"""Measuring on the machine that this runs on: networks, and the latency table of a space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol, Self

from hardware.device import Device
from hardware.device_store import stored_devices
from hardware.lookup import ConditionsChanged, LatencyTable, TableUnreadable
from hardware.measure import Measurement, MeasureProtocol, Model, measure
from hardware.profiling import profile_stored
from hardware.runtimes.contract import check_installed
from hardware.table_cache import find_table, save_table
from nas.narrator import Silent
from search_spaces import load_space
from search_spaces.layers import Shape


@dataclass(frozen=True, slots=True)
class TableWanted:
    """A latency table that a run needs.

    Attributes:
        space: as ``load_space`` takes it.
        device: to measure.
        text: what the user calls it.
        input_shape: (channels, height, width) of one image.
        num_classes: outputs of the classifier.
        seconds: for profiling when there is none.
        confidence: of the upper bound.
    """

    space: str
    device: Device
    text: str
    input_shape: Shape
    num_classes: int
    seconds: float
    confidence: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {**asdict(self), "device": self.device.to_dict()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read what ``to_dict`` wrote."""
        shape = tuple(data["input_shape"])
        return cls(**{**data, "device": Device.from_dict(data["device"]), "input_shape": shape})


class Place(Protocol):
    """Where latencies of a run are measured."""

    def check(self, device: Device) -> None:
        """Raise, in one line, when the place is not there or its runtime is not installed."""

    def measure(
        self, models: Sequence[Model], device: Device, protocol: MeasureProtocol, narrator: Silent
    ) -> list[Measurement]:
        """Time networks side by side, as ``hardware.measure.measure``."""

    def table(self, wanted: TableWanted, narrator: Silent) -> LatencyTable:
        """The table that is kept there, or one profiled now."""

    def changed(self, table: LatencyTable, space: str) -> str:
        """In what a table's conditions are not those of the place now; "" for nothing."""


class Here:
    """The machine that runs the command."""

    def check(self, device: Device) -> None:
        """Raise RuntimeRefused when the device's runtime is not installed."""
        check_installed(device.runtime)

    def measure(
        self, models: Sequence[Model], device: Device, protocol: MeasureProtocol, narrator: Silent
    ) -> list[Measurement]:
        """Time networks; see ``hardware.measure.measure``."""
        found = measure(models, device, protocol, narrator.update)
        narrator.done()
        return found

    def table(self, wanted: TableWanted, narrator: Silent) -> LatencyTable:
        """The table that is kept here, or one profiled now.

        Raises: MeasurementFailed, RuntimeRefused, InvalidTable, ProfileFailed.
        """
        found = own_table(wanted, narrator.say, narrator.update)
        narrator.done()
        return found

    def changed(self, table: LatencyTable, space: str) -> str:
        """In what a table's conditions are not those of this machine now."""
        return changes(table, space)


def changes(table: LatencyTable, space: str) -> str:
    """In what a table's conditions are not those of this machine now; "" for nothing."""
    try:
        table.check_conditions(space, table.device, table.input_shape)
    except ConditionsChanged as error:
        return str(error).split(". Renew it:", maxsplit=1)[0]
    return ""


def own_table(wanted: TableWanted, say: Callable[[str], None], progress: Callable[[str, float], None]) -> LatencyTable:
    """The cached table of a device that is here, or one profiled now; one whose conditions changed is made anew.

    Raises: MeasurementFailed, RuntimeRefused, InvalidTable, ProfileFailed.
    """
    space = load_space(wanted.space)
    found: LatencyTable | None = None
    try:
        found = find_table(space, wanted.device, wanted.input_shape, wanted.num_classes, spec=wanted.space)
        found = found and at_confidence(found, wanted.confidence)
    except (ConditionsChanged, TableUnreadable) as error:
        say(f"{error}")
        found = None
    if found is None:
        say(f"profiling {wanted.space} on {wanted.device}, about {wanted.seconds:.0f} s …")
        found = profile_stored(
            space,
            wanted.device,
            wanted.input_shape,
            wanted.num_classes,
            seconds=wanted.seconds,
            seed=0,
            name=wanted.text if wanted.text in stored_devices() else "",
            confidence=wanted.confidence,
            spec=wanted.space,
            progress=progress,
        )
        say(f"latency table kept in {save_table(found)}")
    return found


def at_confidence(table: LatencyTable, confidence: float) -> LatencyTable:
    """The table with the upper bound of a confidence. Raises TableUnreadable: a table of an earlier release."""
    try:
        return replace(table, calibration=table.calibration.at_confidence(confidence))
    except ValueError as error:
        raise TableUnreadable(f"{error}; it is made anew") from None
