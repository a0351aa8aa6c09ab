"""What ``--device`` names: a runtime here, a stored device, or one that is known from its data sheet alone."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hardware.analytic_devices import ANALYTIC_DEVICES, AnalyticDevice, UnknownAnalyticDevice, analytic_device
from hardware.analytic_latency import ASSUMED_FACTOR
from hardware.analytic_pieces import AnalyticPieces
from hardware.calibration import Calibration, HeldOut
from hardware.conditions import Surroundings
from hardware.device import Device, InvalidDevice
from hardware.device_store import load_device, stored_devices
from hardware.device_table import DeviceTable, InvalidTable, KernelRow
from hardware.fitting import LEAST_KERNELS, fit_kernel_rows, fit_latency_table, networks_of
from hardware.here import changed_since
from hardware.kernel_model import KernelModel
from hardware.kernels import kernels_of
from hardware.lookup import LatencyTable
from hardware.probes import LEAST_SUB_LAYERS, fit_sub_layers
from hardware.runtimes import RUNTIMES
from hardware.spaces import Space, sample_widely, space_digest, space_name
from search_spaces.expand import expand
from search_spaces.layers import Shape

MOST_ROWS = 20_000  # of kernels: more change little and fit slowly
MOST_PIECES = 400  # the correction between them is interpolated, which grows with their cube
LEAST_PIECES = LEAST_SUB_LAYERS // 2
SEEN_NETWORKS = 32  # that tell which kinds of kernels a space has
_GRAMMAR = "NAME[:batch=N,precision=P]"


@dataclass(frozen=True)
class LatencyTarget:
    """A device as the user named it.

    Attributes:
        text: what the user wrote.
        device: how it is measured; of a device elsewhere, how its exported file is checked here, with its batch.
        rows: the stored rows of a device elsewhere.
        analytic: the data sheet of a device elsewhere.
        changed: why a device that was measured is not here, in words.
    """

    text: str
    device: Device
    rows: DeviceTable | None = None
    analytic: AnalyticDevice | None = None
    changed: tuple[str, ...] = ()

    @property
    def here(self) -> bool:
        """Whether it can be measured on this machine."""
        return self.rows is None and self.analytic is None

    def __str__(self) -> str:
        return str(self.device) if self.here else self.text

    def table(
        self, space: Space, input_shape: Shape, num_classes: int, *, confidence: float, spec: str = ""
    ) -> LatencyTable:
        """The latency table of a space on a device elsewhere, from its rows or its data sheet.

        Raises: InvalidTable: the rows do not suffice.
        """
        if self.rows is not None and len(networks_of(self.rows, space, input_shape, self.device.batch)) >= 5:
            return fit_latency_table(
                self.rows, space, self.device, input_shape, num_classes, confidence=confidence, spec=spec
            )
        pieces: Any = AnalyticPieces(self.analytic) if self.analytic else self._pieces()
        conditions = Surroundings().conditions(self.device, input_shape)
        return LatencyTable(
            space=space_name(space),
            device=self.device,
            input_shape=input_shape,
            num_classes=num_classes,
            pieces=pieces,
            calibration=assumed(confidence),
            conditions=replace(conditions, cpu_model=self.text, cpu_flags="", runtime_version=""),
            space_spec=spec or space_name(space),
            space_digest=space_digest(space),
        )

    def _pieces(self) -> Any:
        """The model of kernels where there are enough of them, else of sub-layers."""
        assert self.rows is not None
        kernels = [row for row in self.rows.kernels if row.kernel.batch == self.device.batch]
        pieces = [row for row in self.rows.pieces if row.batch == self.device.batch]
        if len(kernels) >= LEAST_KERNELS:
            return _fitted(kernels)
        rng = np.random.default_rng(0)
        if len(pieces) >= LEAST_PIECES:
            chosen = [pieces[i] for i in rng.permutation(len(pieces))[:MOST_PIECES]]
            return fit_sub_layers(chosen, self.rows.overhead_ms, 0)
        raise InvalidTable(
            f"device {self.text}: {len(kernels)} kernels and {len(pieces)} pieces at batch {self.device.batch}, and "
            f"no five networks of this space and image size; at least {LEAST_KERNELS} kernels or {LEAST_PIECES} pieces "
            "are needed. Give another batch=, or measure there: netwright profile --plan"
        )

    def uncovered(self, space: Space, input_shape: Shape, num_classes: int) -> tuple[str, ...]:
        """Kinds of kernels that networks of a space have and the device's rows have not; none of a data sheet.

        They are predicted at the cost of an average kernel of the same size.
        """
        if self.rows is None or self.here:
            return ()
        of_pieces = (kernel.kind for row in self.rows.pieces for kernel in row.kernels())
        known = {row.kernel.kind for row in self.rows.kernels}.union(of_pieces)
        archs = sample_widely(space, SEEN_NETWORKS, np.random.default_rng(0))
        kernels = (kernel for arch in archs for kernel in kernels_of(expand(arch, input_shape, num_classes)))
        return tuple(sorted({kernel.kind for kernel in kernels} - known))


def stored_kernels(text: str) -> tuple[KernelModel, int]:
    """The model of kernels of a stored device, ``NAME[:batch=N]``, and its batch.

    Raises: UnknownDevice; InvalidDevice; InvalidTable: fewer than 200 kernels at that batch.
    """
    name, _, rest = text.strip().partition(":")
    rows = load_device(name.strip())
    batch = _batch(text, rest, rows)
    kernels = [row for row in rows.kernels if row.kernel.batch == batch]
    if len(kernels) < LEAST_KERNELS:
        raise InvalidTable(f"device {text}: {len(kernels)} kernels at batch {batch}, expected {LEAST_KERNELS} or more")
    return _fitted(kernels), batch


def _fitted(kernels: Sequence[KernelRow]) -> KernelModel:
    chosen = np.random.default_rng(0).permutation(len(kernels))[:MOST_ROWS]
    return fit_kernel_rows([kernels[i] for i in chosen], seed=0)


def assumed(confidence: float) -> Calibration:
    """The calibration where no network was measured: the upper bound is an assumption."""
    nothing = HeldOut(0, float("nan"), float("nan"), float("nan"))
    return Calibration(0.0, 1.0, 0.0, 0.0, ASSUMED_FACTOR, confidence, nothing)


def find_target(text: str) -> LatencyTarget:
    """The device that a text names.

    Raises: InvalidDevice: no runtime, stored device or data sheet has that name, or its choices are wrong.
        InvalidTable: a stored table is damaged. UnknownAnalyticDevice.
    """
    name, _, rest = text.strip().partition(":")
    name = name.strip()
    if name in RUNTIMES:
        return LatencyTarget(text, Device.parse(text))
    if name in stored_devices():
        rows = load_device(name)
        if rows.device:
            if rest:
                raise InvalidDevice(f"device {text!r}: {name} is {rows.device}; it takes no choices of its own")
            return _measured(text, rows)
        return LatencyTarget(text, Device(batch=_batch(text, rest, rows)), rows=rows)
    if name in ANALYTIC_DEVICES:
        choices = _choices(text, rest, ("batch", "precision"))
        device = Device(batch=_whole(text, choices.get("batch", "1")))
        return LatencyTarget(text, device, analytic=analytic_device(name, choices.get("precision", "fp32")))
    known = [*RUNTIMES, *stored_devices(), *ANALYTIC_DEVICES]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
    raise InvalidDevice(f"device {text!r}: unknown runtime or device {name!r}; {hint}")


def _measured(text: str, rows: DeviceTable) -> LatencyTarget:
    """A device that was measured: here, or on another machine, whose rows are all that is known of it."""
    device, changed = Device.parse(rows.device), tuple(changed_since(rows))
    if changed:
        return LatencyTarget(text, Device(batch=device.batch), rows=rows, changed=changed)
    return LatencyTarget(text, device)


def _batch(text: str, rest: str, rows: DeviceTable) -> int:
    """The batch that was asked for, or the one that most rows have."""
    choices = _choices(text, rest, ("batch",))
    if "batch" in choices:
        return _whole(text, choices["batch"])
    batches = [row.kernel.batch for row in rows.kernels]
    counts = Counter([*batches, *(row.batch for row in rows.pieces), *(row.batch for row in rows.networks)])
    return max(counts, key=lambda batch: (counts[batch], -batch)) if counts else 1


def _choices(text: str, rest: str, keys: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for item in filter(None, (part.strip() for part in rest.split(","))):
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals or key not in keys:
            raise UnknownAnalyticDevice(f"device {text!r}: cannot read {item!r}, expected {_GRAMMAR}")
        found[key] = value
    return found


def _whole(text: str, value: str) -> int:
    if not value.isdecimal() or int(value) < 1:
        raise InvalidDevice(f"device {text!r}: batch={value!r}, expected a whole number of at least 1")
    return int(value)
