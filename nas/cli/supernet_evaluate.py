"""``netwright supernet evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nas.cli.options import json_option, print_json, print_table
from nas.cli.supernet_spec import subnet

_COLUMNS = ("network", "loss", "loss_error", "top1", "top1_error", "params", "macs")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("specs", nargs=-1, required=True, metavar="SPEC...")
@click.option("--data", help="Dataset; the supernet's own without it.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@json_option
def evaluate(folder: Path, specs: tuple[str, ...], data: str | None, device: str, as_json: bool) -> None:
    """Loss and top-1 of networks on the validation images, each with statistics of its own.

    FOLDER is one of `supernet train`. SPEC is a published structure, a JSON file, RUN:ID, largest or smallest.
    Networks are ranked by their loss, which tells them apart better than top-1.
    """
    from hardware.counts import count
    from nas.train.evaluate import Evaluation
    from nas.train.finalists import threads
    from nas.train.supernet.file import load_supernet
    from nas.train.supernet.subnet import dataset_of, evaluate_subnet
    from nas.train.torch_device import check_torch_device

    check_torch_device(device, "supernet evaluate: --device")
    supernet, facts = load_supernet(folder, device=device)
    archs = [subnet(supernet.space, spec) for spec in specs]
    dataset = dataset_of(facts, data)
    rows: list[dict[str, Any]] = []
    with threads(1):
        for spec, arch in zip(specs, archs, strict=True):
            found = evaluate_subnet(supernet, arch, dataset)
            counts = count(arch, dataset.input_shape, dataset.num_classes)
            rows.append(
                {
                    "network": spec if len(spec) <= 40 else f"{spec[:39]}…",
                    "digest": arch.digest,
                    "loss": found.loss,
                    "loss_error": found.loss_error,
                    "top1": found.top1,
                    "top1_error": Evaluation(found.top1, found.loss, found.n).standard_error,
                    "images": found.n,
                    "params": counts.params,
                    "macs": counts.macs,
                }
            )
    rows.sort(key=lambda row: float(row["loss"]))
    if as_json:
        print_json({"directory": str(folder), "space": facts.space, "networks": rows})
    else:
        print_table(rows, _COLUMNS)
