"""A known device's kernels carried to a new device by a few whole networks: factors, and a cost of every kernel.

    latency(network) = sum over kinds of factor(kind) * known milliseconds of its kernels of that kind + cost * kernels

The cost is what a kernel takes beside its arithmetic: threads that wait for each other, numbers that change their form.
Factors are shrunk towards one scale and the cost towards none; how far is decided by leaving each measured network out:
neither one factor nor all of this wins everywhere. The result is a table of its own: the known rows, carried over,
beside the measured networks, to which searches then calibrate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from hardware.calibration import HeldOut, held_out
from hardware.device_table import DeviceTable, InvalidTable, NetworkRow
from hardware.fitting import LEAST_KERNELS, fit_kernel_rows
from hardware.kernel_model import KernelModel, footprint_of
from hardware.kernels import CONV_KINDS, Kernel
from hardware.transfer import Matrix, Vector

OTHER = "other"
KINDS = (*CONV_KINDS, OTHER)
CALL_MS = 1e-3  # of which the cost of a kernel is a multiple
SHRINKAGES = (math.inf, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01)  # infinite is one factor for all
LEAST_NETWORKS = 5
ROBUST_PASSES = 5


class Adapted(NamedTuple):
    """What a known device became.

    Attributes:
        table: of the new device.
        like: the name of the known one.
        factors: by kind of kernel.
        call_ms: cost of every kernel beside.
        shrinkage: towards one factor and no cost; infinite: one factor.
        held_out: errors on the measured networks, each left out in turn.
    """

    table: DeviceTable
    like: str
    factors: dict[str, float]
    call_ms: float
    shrinkage: float
    held_out: HeldOut


def adapt(measured: DeviceTable, known: Sequence[DeviceTable], seed: int = 0) -> Adapted:
    """The new device from its measured networks and that known device which explains them best.

    Args:
        measured: at least five networks of the new device.
        known: tables with at least 200 kernels each.
        seed: of the known devices' kernel models.
    Raises: InvalidTable: too few networks, or no known device with kernels.
    """
    if len(measured.networks) < LEAST_NETWORKS:
        raise InvalidTable(
            f"device {measured.name}: {len(measured.networks)} measured networks, expected {LEAST_NETWORKS} or more; "
            "netwright device choose names the most informative ones"
        )
    usable = [table for table in known if len(table.kernels) >= LEAST_KERNELS]
    if not usable:
        raise InvalidTable(
            f"device {measured.name}: none of {', '.join(table.name for table in known) or 'no device'} has "
            f"{LEAST_KERNELS} kernels; measure one with netwright profile"
        )
    ms = np.array([row.latency_ms for row in measured.networks])
    tried = []
    for table in usable:
        parts = parts_ms(fit_kernel_rows(table.kernels, seed), measured.networks)
        shrinkage, scores = _best_shrinkage(parts, ms)
        tried.append((scores.mape, table, parts, shrinkage, scores))
    _, like, parts, shrinkage, scores = min(tried, key=lambda one: one[0])
    *by_kind, calls = fit_factors(parts, ms, shrinkage).tolist()
    factors, call_ms = dict(zip(KINDS, by_kind, strict=True)), CALL_MS * calls
    kernels = tuple(
        replace(row, latency_ms=row.latency_ms * factors[_kind(row.kernel)] + call_ms) for row in like.kernels
    )
    source = f"{like.name} carried over by {len(ms)} networks"
    notes = {"like": like.name, "factors": factors, "call_ms": call_ms, "left_out_error": scores.mape}
    table = replace(measured, kernels=kernels, source=source, notes={**measured.notes, **notes})
    return Adapted(table.check(), like.name, factors, call_ms, shrinkage, scores)


def parts_ms(model: KernelModel, networks: Sequence[NetworkRow]) -> Matrix:
    """(n, 6) milliseconds of networks on a known device by kind of kernel in the order of ``KINDS``, then of calls.

    Calls are the kernels counted, times ``CALL_MS``: no part of the known latency.
    """
    found = np.zeros((len(networks), len(KINDS) + 1))
    for i, row in enumerate(networks):
        kernels = row.kernels()
        each = model.predict(kernels, np.full(len(kernels), float(footprint_of(kernels))))
        np.add.at(found[i], [KINDS.index(_kind(kernel)) for kernel in kernels], each)
        found[i, -1] = CALL_MS * len(kernels)
    return found


def known_ms(parts: Matrix) -> Vector:
    """(n,) milliseconds on the known device, the call apart."""
    return np.asarray(parts[:, :-1].sum(axis=1))


def fit_factors(parts: Matrix, ms: Vector, shrinkage: float) -> Vector:
    """(6,) non-negative factors: least relative errors, outliers counted less, shrunk to the median ratio.

    The last, of calls, is shrunk to nothing.
    """
    from scipy.optimize import nnls

    total_ms = known_ms(parts)
    scale = float(np.median(ms / total_ms))
    goal = np.append(np.ones(len(KINDS)), 0.0)
    if math.isinf(shrinkage):
        return scale * goal
    share = parts / total_ms[:, None]
    relative = share * (scale * total_ms / ms)[:, None]  # of factors as multiples of the scale
    prior = np.sqrt(shrinkage * len(ms) * np.maximum((share**2).mean(axis=0), 1e-4) / 10)
    weight, factors = np.ones(len(ms)), goal
    for _ in range(ROBUST_PASSES):
        rows = np.vstack([relative * weight[:, None], np.diag(prior)])
        factors, _ = nnls(rows, np.concatenate([weight, prior * goal]))
        error = relative @ factors - 1
        spread = 2 * (1.4826 * float(np.median(np.abs(error))) + 1e-3)
        weight = 1 / np.sqrt(1 + (error / spread) ** 2)
    return np.asarray(scale * np.maximum(factors, 1e-3 * goal))


def _best_shrinkage(parts: Matrix, ms: Vector) -> tuple[float, HeldOut]:
    found = []
    for shrinkage in SHRINKAGES:
        rest = [np.delete(np.arange(len(ms)), i) for i in range(len(ms))]
        left_out = [float(parts[i] @ fit_factors(parts[r], ms[r], shrinkage)) for i, r in enumerate(rest)]
        found.append((shrinkage, held_out(np.array(left_out), ms)))
    return min(found, key=lambda one: one[1].mape)


def _kind(kernel: Kernel) -> str:
    return kernel.kind if kernel.kind in CONV_KINDS else OTHER
