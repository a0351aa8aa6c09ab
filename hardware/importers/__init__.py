"""Latency tables of other projects as device tables: one file a format, one row here."""

from __future__ import annotations

from collections.abc import Callable

from hardware.device_table import DeviceTable
from hardware.importers.generic_csv import read_generic_csv
from hardware.importers.mobile_blocks import read_mobile_blocks
from hardware.importers.network_columns import read_network_columns
from hardware.importers.nn_meter_blocks import read_nn_meter_blocks
from hardware.importers.tfnas_blocks import read_tfnas_blocks
from hardware.importers.tinynas_rows import read_tinynas_rows

IMPORTERS: dict[str, Callable[..., DeviceTable]] = {
    "csv": read_generic_csv,
    "tinynas": read_tinynas_rows,
    "mobile-blocks": read_mobile_blocks,
    "tfnas": read_tfnas_blocks,
    "nn-meter": read_nn_meter_blocks,
    "networks": read_network_columns,  # takes the column, too
}
