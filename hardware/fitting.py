"""From the rows of a device to the latency table of a space: pieces or kernels learned, then calibrated on networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hardware.calibration import LEAST_NETWORKS, UNCALIBRATED, Calibration, calibrate
from hardware.conditions import Surroundings
from hardware.device import Device
from hardware.device_table import DeviceTable, InvalidTable, KernelRow, NetworkRow
from hardware.kernel_model import KernelModel, fit_kernel_model, footprint_of
from hardware.lookup import LatencyTable
from hardware.probes import LEAST_SUB_LAYERS, fit_sub_layers
from hardware.spaces import Space, space_digest, space_name
from search_spaces.arch import InvalidArchitecture
from search_spaces.layers import Shape

FOLDS = 4
LEAST_KERNELS = 200  # rows, before a model of kernels is trusted with anything


def fit_latency_table(  # noqa: PLR0913 - the facts of a table
    rows: DeviceTable,
    space: Space,
    device: Device,
    input_shape: Shape,
    num_classes: int,
    *,
    confidence: float,
    spec: str = "",
    seed: int = 0,
) -> LatencyTable:
    """The latency table of a space from everything that was measured on a device.

    Kernels are learned from the rows of all spaces; the calibration, its errors and its upper bound come from the
    networks of this space and input shape alone, each predicted without its own kernels.

    Args:
        rows: of the device.
        space: whose networks will be predicted.
        device: what the rows were measured on.
        input_shape: (channels, height, width) of one image.
        num_classes: outputs of the classifier.
        confidence: of the upper bound, 0.5..0.99.
        spec: how ``load_space`` names the space; "" means its name.
        seed: of the fits.
    Raises: InvalidTable: too few rows; the message says how many there are and how to get more.
    """
    networks = networks_of(rows, space, input_shape, device.batch)
    if len(networks) < LEAST_NETWORKS:
        raise InvalidTable(
            f"device {rows.name}: {len(networks)} measured networks of {space_name(space)} at {input_shape[1]} pixels, "
            f"at least {LEAST_NETWORKS} are needed; measure more with netwright profile"
        )
    measured_ms = np.array([row.latency_ms for row in networks])
    conditions = rows.conditions or Surroundings().conditions(device, input_shape)
    table_of = partial(
        LatencyTable,
        space=space_name(space),
        device=device,
        input_shape=input_shape,
        num_classes=num_classes,
        calibration=UNCALIBRATED,
        conditions=replace(conditions, input_shape=input_shape),
        space_spec=spec or space_name(space),
        space_digest=space_digest(space),
    )
    in_place = len(rows.kernels) >= LEAST_KERNELS
    if in_place:
        summed = _out_of_fold(table_of, rows.kernels, networks, seed)
        table = table_of(pieces=fit_kernel_rows(rows.kernels, seed))
    elif len(rows.pieces) >= LEAST_SUB_LAYERS // 2:
        table = table_of(pieces=fit_sub_layers(rows.pieces, rows.overhead_ms, seed))
        summed = np.array([table.summed(row.arch) for row in networks])
    else:
        raise InvalidTable(
            f"device {rows.name}: {len(rows.kernels)} kernels and {len(rows.pieces)} pieces were measured, at least "
            f"{LEAST_KERNELS} or {LEAST_SUB_LAYERS // 2} are needed; measure more with netwright profile"
        )
    calibration: Calibration = calibrate(summed, measured_ms, rows.overhead_ms, confidence, cached_alone=not in_place)
    predicted_ms = [float(calibration.predict(*row)) for row in summed]
    pairs = tuple(zip(predicted_ms, measured_ms.tolist(), strict=True))
    return replace(table, calibration=calibration, measured=pairs)


def networks_of(rows: DeviceTable, space: Space, input_shape: Shape, batch: int) -> list[NetworkRow]:
    """The measured networks that a space can draw, at this input shape and batch."""
    validate = getattr(space, "validate", None)
    return [
        row
        for row in rows.networks
        if row.input_shape == input_shape and row.batch == batch and (validate is None or _is_member(validate, row))
    ]


def _is_member(validate: object, row: NetworkRow) -> bool:
    try:
        validate(row.arch)  # type: ignore[operator]
    except InvalidArchitecture:
        return False
    return True


def fit_kernel_rows(rows: Sequence[KernelRow], seed: int) -> KernelModel:
    """The model of kernels from the rows of a device."""
    return fit_kernel_model(
        [row.kernel for row in rows],
        np.array([row.latency_ms for row in rows]),
        np.array([row.footprint or np.nan for row in rows], dtype=float),
        counts=np.array([max(1, row.runs) for row in rows], dtype=float),
        seed=seed,
    )


def _out_of_fold(
    table_of: Callable[..., LatencyTable], kernels: Sequence[KernelRow], networks: Sequence[NetworkRow], seed: int
) -> NDArray[np.float64]:
    """(n, 2) summed milliseconds and megabytes of networks, by models that have not seen their kernels in place.

    Kernels are matched to the network that they stood in by its footprint.
    """
    order = np.random.default_rng(seed).permutation(len(networks))
    summed = np.zeros((len(networks), 2))
    for fold in range(FOLDS):
        left_out = order[fold::FOLDS]
        unseen = {footprint_of(networks[i].kernels()) for i in left_out}
        model = fit_kernel_rows([row for row in kernels if row.footprint not in unseen], seed)
        table = table_of(pieces=model)
        for i in left_out:
            summed[i] = table.summed(networks[i].arch)
    return summed
