"""``netwright device``: the devices whose latencies are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nas.cli.foreign import adapt, choose, read
from nas.cli.options import json_option, print_facts, print_json, print_table
from nas.cli.stdout import print_line

COLUMNS = ("name", "here", "precision", "kernels", "pieces", "networks", "source")
PATH = click.Path(path_type=Path, dir_okay=False)


@click.group()
def device() -> None:
    """Devices whose latencies are known: measured here, or read from somebody's file.

    Example: netwright profile --name laptop --data digits, then netwright device show laptop
    """


@device.command()
@json_option
def ls(as_json: bool) -> None:
    """The stored devices."""
    from hardware.device_store import load_device, stored_devices

    rows = [_row(load_device(name)) for name in stored_devices()]
    if as_json:
        print_json({"devices": rows})
    elif rows:
        print_table([{**row, "here": "yes" if row["here"] else "no"} for row in rows], COLUMNS)
    else:
        print_line("no device yet; netwright profile measures this one")


def _row(table: Any) -> dict[str, Any]:
    return {
        "name": table.name,
        "here": bool(table.device),
        "precision": table.precision,
        "kernels": len(table.kernels),
        "pieces": len(table.pieces),
        "networks": len(table.networks),
        "source": table.source,
    }


@device.command()
@click.argument("name")
@click.option("--html", "page", type=PATH, help="Write the card as one offline page.")
@json_option
def show(name: str, page: Path | None, as_json: bool) -> None:
    """The card of a device: coverage, errors on held-out networks, conditions."""
    from hardware.device_card import card_page, device_card
    from hardware.device_store import load_device
    from hardware.table_cache import tables_of

    table = load_device(name)
    card = device_card(table, tables_of(table))
    if page is not None:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(card_page(card))
    if as_json:
        print_json(card)
        return
    facts = {key: card[key] for key in ("name", "device", "precision", "source", "overhead_ms")}
    facts |= card["rows"]
    facts |= {f"covers {key}": value for key, value in card["coverage"].items() if value}
    for each in card["tables"]:
        held, size = each["held_out"], "x".join(map(str, each["input_shape"]))
        facts[f"{each['space']} at {size}"] = (
            f"held-out error {held['mape']:.1%}, {held['within_10']:.0%} within 10 %, rank correlation "
            f"{held['spearman']:.3f}, {held['networks']} networks; upper bound {each['upper_factor']:.3f} x mean at "
            f"{each['confidence']:.0%}"
        )
    if card["conditions"]:
        facts |= {key: card["conditions"][key] for key in ("cpu_model", "runtime_version", "load", "date")}
    print_facts({**facts, **({"page": str(page)} if page else {})})


@device.command()
@click.argument("name")
@click.option("--out", type=PATH, required=True, help="File to write: .json keeps everything, .csv the rows.")
def export(name: str, out: Path) -> None:
    """Write a device's table to one file, for other machines and programs."""
    from hardware.device_csv import write_csv
    from hardware.device_store import load_device, write_whole

    if out.suffix not in (".json", ".csv"):
        raise click.BadParameter(f"{out}: expected a name that ends in .json or .csv", param_hint="--out")
    table = load_device(name)
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".csv":
        write_csv(table, out)
    else:
        write_whole(out, table.to_json())
    print_line(f"{out}: {table}")


@device.command()
@click.argument("files", nargs=-1, required=True, type=PATH)
@click.option("--name", help="Store it under another name.")
def add(files: tuple[Path, ...], name: str | None) -> None:
    """Store a device's table from files that ``device export`` wrote; several are merged, the last row wins."""
    from dataclasses import replace

    from hardware.device_store import device_path, load_device, save_device
    from hardware.plan import merge_files

    table = merge_files(files)
    if name:
        table = replace(table, name=name)
    if device_path(table.name).is_file():
        table = load_device(table.name).merged(table)
    print_line(f"{save_device(table)}: {table}")


@device.command()
@click.argument("name")
def rm(name: str) -> None:
    """Forget a device's rows."""
    from hardware.device_store import device_path, load_device

    load_device(name)
    device_path(name).unlink()


for _command in (read, choose, adapt):
    device.add_command(_command)
