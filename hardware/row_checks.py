"""Whether measured rows can be right: numbers, kernels, repeats, and units that are off by a thousand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from hardware.kernels import InvalidKernel, check_kernel
from hardware.rows import KernelRow, NetworkRow, Row
from search_spaces.arch import InvalidArchitecture

FASTEST_MACS_PER_MS = 1e12  # beyond every accelerator sold
SLOWEST_MACS_PER_MS = 100.0  # a tenth of the slowest microcontroller
CALL_MS = 1_000.0  # what one call may cost beside its arithmetic
OFF_BY = 1_000.0
# A row alone may lie anywhere between the speeds above, so a whole file in microseconds or seconds looks like a slow or
# a fast device. What the rows of any device have in common:
# - A kernel or a sub-layer is done in seconds: the largest public ones (batch 128 on a V100, wide blocks on a phone)
#   take 20 to 80 ms; 10 s are 200 million multiply-adds on a microcontroller that does 20 million a second.
# - Rows with enough work to tell a speed are in the median at least half as fast as that microcontroller.
# - Starting a kernel costs, alone or within a piece or network: the medians here are 1.6 us (ONNX Runtime, tiny
#   networks) to 1 ms, the fastest accelerators need 2 us, and even compiled code on a core needs 0.5 us for 100,000
#   multiply-adds at 200 billion a second. Reshapes and the like may take 0.1 us.
# Whole networks may take minutes on a microcontroller: a file of networks alone in microseconds can pass.
LONGEST_PIECE_MS = 10_000.0
LEAST_ROWS, ENOUGH_MACS = 5, 100_000
SLOWEST_MEDIAN = 1e4  # multiply-adds per ms
FASTEST_WORK_MS = 5e-4  # of a kernel with enough work, or of the mean one of a row
FASTEST_START_MS = 5e-5  # of any kernel


class InvalidTable(ValueError):
    """A row or fact cannot be right; the message names the row and how to mend it."""


def check_rows(rows: Sequence[Row], where: str, places: Sequence[str] = ()) -> None:
    """Raise InvalidTable, naming the first row that cannot be right, by its place, or by its number from 1.

    Refused are latencies that are not positive numbers, kernels that make no sense, two rows for one thing, and
    latencies a factor of 1,000 away from what any device, or the rest of this table, does: the unit is wrong.

    Args:
        rows: to check.
        where: they come from, for messages.
        places: of each row, "rows.csv, line 4"; rows are numbered without.
    """
    named = places or [f"{where}, row {number}" for number in range(1, len(rows) + 1)]
    seen: dict[Any, str] = {}
    macs: list[int] = []
    counts: list[int] = []
    for row, place in zip(rows, named, strict=True):
        _check_value(row, place)
        if row.key in seen:
            earlier = _within(seen[row.key], place)
            raise InvalidTable(f"{place}: the same as {earlier}; keep one of them, or their median")
        seen[row.key] = place
        try:
            kernels = (row.kernel,) if isinstance(row, KernelRow) else row.kernels()
        except InvalidArchitecture as error:
            raise InvalidTable(f"{place}: {error}") from None
        macs.append(sum(kernel.macs for kernel in kernels))
        counts.append(max(1, len(kernels)))
        _check_unit(row, macs[-1], place)
    _check_medians(rows, macs, counts, places[0].rpartition(", ")[0] if places else where)
    _check_outliers(rows, macs, named)


def _within(earlier: str, place: str) -> str:
    """The earlier of two places without what they share: "line 3" of one file."""
    head, _, tail = earlier.rpartition(", ")
    return tail if head and place.startswith(f"{head}, ") else earlier


def _check_value(row: Row, place: str) -> None:
    ms = row.latency_ms
    if isinstance(ms, bool) or not isinstance(ms, int | float) or not math.isfinite(ms) or ms <= 0:
        raise InvalidTable(f"{place}: latency_ms={ms!r}, expected a positive number of milliseconds")
    if isinstance(row, KernelRow):
        try:
            check_kernel(row.kernel, place)
        except InvalidKernel as error:
            raise InvalidTable(str(error)) from None


def macs_of(row: Row) -> int:
    """Multiply-accumulates of one call."""
    return row.kernel.macs if isinstance(row, KernelRow) else sum(kernel.macs for kernel in row.kernels())


def _check_unit(row: Row, macs: int, place: str) -> None:
    if row.latency_ms * FASTEST_MACS_PER_MS < macs:
        raise InvalidTable(
            f"{place}: {row.latency_ms:g} ms for {macs:,} multiply-adds is faster than any device; "
            "is the column in seconds? Convert it to milliseconds per call"
        )
    if row.latency_ms > CALL_MS + macs / SLOWEST_MACS_PER_MS:
        raise InvalidTable(
            f"{place}: {row.latency_ms:g} ms for {macs:,} multiply-adds is slower than any device; "
            "is the column in microseconds or cycles? Convert it to milliseconds per call"
        )
    if row.latency_ms > LONGEST_PIECE_MS and not isinstance(row, NetworkRow):
        what = "kernel" if isinstance(row, KernelRow) else "piece"
        raise InvalidTable(
            f"{place}: {row.latency_ms:g} ms for one {what} is over 10 s; "
            "is the column in microseconds or cycles? Convert it to milliseconds per call"
        )


def _check_medians(rows: Sequence[Row], macs: Sequence[int], counts: Sequence[int], where: str) -> None:
    """Raise for a table whose rows agree with each other and are all too slow, or too fast, together.

    Args:
        rows: of the table.
        macs: multiply-adds of each.
        counts: kernels of each.
        where: they come from.
    """
    ms, work, kernels = np.array([row.latency_ms for row in rows]), np.array(macs, float), np.array(counts)
    speeds = (work / ms)[work >= ENOUGH_MACS]
    if len(speeds) >= LEAST_ROWS and np.median(speeds) < SLOWEST_MEDIAN:
        raise InvalidTable(
            f"{where}: {np.median(speeds):,.0f} multiply-adds a ms in the median of {len(speeds)} rows is slower than "
            "a microcontroller; is the column in microseconds? Convert it to milliseconds per call"
        )
    kernel_ms = ms / kernels
    for found, least_ms in (
        (kernel_ms[work >= ENOUGH_MACS * kernels], FASTEST_WORK_MS),
        (kernel_ms, FASTEST_START_MS),
    ):
        if len(found) >= LEAST_ROWS and np.median(found) < least_ms:
            raise InvalidTable(
                f"{where}: {1e3 * np.median(found):.2g} us a kernel in the median of {len(found)} rows; no runtime "
                "starts a kernel so fast; is the column in seconds? Convert it to milliseconds per call"
            )


def _check_outliers(rows: Sequence[Row], work: Sequence[int], places: Sequence[str]) -> None:
    """Raise for a row that is 1,000 times faster or slower than the others make one expect for its work.

    Small work costs what a call costs, not its arithmetic: rows may differ far more than that in multiply-adds per
    millisecond. So the fast are held against the fastest tenth, the slow against a call or work at the median rate.
    """
    if len(rows) < 3:
        return
    ms, macs = np.array([row.latency_ms for row in rows]), np.array(work) + 1e4
    call_ms = float(np.median(ms[np.argsort(macs)[: max(3, len(rows) // 4)]]))
    fast, usual = np.quantile(macs / ms, (0.9, 0.5))
    for factors, direction in ((macs / ms / fast, "faster"), (ms / np.maximum(call_ms, macs / usual), "slower")):
        worst = int(np.argmax(factors))
        if factors[worst] > OFF_BY:
            raise InvalidTable(
                f"{places[worst]}: {factors[worst]:,.0f} times {direction} than the table's others at the "
                "same work; its unit differs, or it is damaged: mend or remove it"
            )
