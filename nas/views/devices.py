"""The devices whose latencies are known: what was measured, whether it still holds, under what conditions."""

from __future__ import annotations

from typing import Any

from nas.views.plain import as_view

PAIRS = 400  # predicted and measured, of one table


def devices() -> dict[str, Any]:
    """The stored devices.

    Returns: "devices": rows with "name", "device", "measured_here", "precision", "source", "rows", "date", "current"
        (whether its conditions are those of now; None for a device elsewhere) and "problem"; JSON-ready.
    """
    from hardware.device_store import stored_devices

    return as_view({"devices": [_row(name) for name in stored_devices()]})


def device(name: str) -> dict[str, Any]:
    """One device: its card, and what has drifted since it was measured.

    Returns: as ``hardware.device_card.device_card``, with "drift": what differs between the machine that measured and
        this one, in words (None for a device elsewhere); JSON-ready.
    Raises: UnknownDevice, InvalidTable.
    """
    from hardware.device_card import device_card
    from hardware.device_store import load_device
    from hardware.table_cache import tables_of

    table = load_device(name)
    card = device_card(table, tables_of(table))
    for each in card["tables"]:
        each["measured"] = each["measured"][:PAIRS]
    return as_view({**card, "drift": _drift(table)})


def _row(name: str) -> dict[str, Any]:
    from hardware.device_store import load_device
    from hardware.device_table import InvalidTable

    try:
        table = load_device(name)
    except InvalidTable as error:
        return {"name": name, "problem": str(error)}
    drift = _drift(table)
    return {
        "name": table.name,
        "device": table.device or None,
        "measured_here": bool(table.device),
        "precision": table.precision,
        "source": table.source,
        "rows": {"kernels": len(table.kernels), "pieces": len(table.pieces), "networks": len(table.networks)},
        "date": table.conditions.date if table.conditions else None,
        "current": None if drift is None else not drift,
        "problem": None,
    }


def _drift(table: Any) -> list[str] | None:
    from hardware.here import changed_since

    return changed_since(table) if table.device else None
