"""``netwright supernet show``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas.cli.options import json_option, print_facts, print_json, print_table
from nas.cli.supernet_spec import subnet

if TYPE_CHECKING:
    from search_spaces.sharing import Sharing, Use
    from search_spaces.supernet import Supernet


@click.command()
@click.argument("source")
@click.argument("spec", required=False)
@click.option("--in-channels", type=click.IntRange(1, 4096), default=3, show_default=True, help="For a space.")
@click.option("--classes", type=click.IntRange(2), default=10, show_default=True, help="For a space.")
@json_option
def show(source: str, spec: str | None, in_channels: int, classes: int, as_json: bool) -> None:
    """The shared tensors, or with SPEC which slice of which shared tensor serves each of its tensors.

    SOURCE is a folder of `supernet train` or the name of a space. SPEC is a published structure, a JSON file, RUN:ID,
    largest or smallest.
    """
    supernet = _supernet(source, in_channels, classes)
    if spec is None:
        rows: list[dict[str, Any]] = [
            {"shared": name, "shape": _shape(shape), "numbers": math.prod(shape)}
            for name, shape in supernet.shapes.items()
        ]
        columns = ["shared", "shape", "numbers"]
    else:
        arch = subnet(supernet.space, spec)
        rows = [_row(use, supernet) for use in supernet.plan(arch)[1]]
        columns = ["tensor", "shape", "shared", "slice"]
    facts = _facts(supernet, rows)
    if as_json:
        print_json({**facts, "tensors": rows})
        return
    print_table(rows, columns)
    print_facts(facts)


def _supernet(source: str, in_channels: int, classes: int) -> Supernet:
    from nas.train.supernet.file import load_supernet
    from search_spaces import load_space
    from search_spaces.supernet import Supernet

    if Path(source).is_dir():
        return load_supernet(Path(source))[0]
    return Supernet(load_space(source), num_classes=classes, in_channels=in_channels)


def _row(use: Use, supernet: Supernet) -> dict[str, Any]:
    return {
        "tensor": use.name,
        "shape": _shape(use.shape),
        "shared": use.shared,
        "slice": _slice(use, supernet.shapes[use.shared], supernet.sharing),
    }


def _slice(use: Use, whole: tuple[int, ...], sharing: Sharing) -> str:
    """As it would be written for the shared tensor; ``:`` takes an axis whole."""
    parts = [":" if part == size else f":{part}" for part, size in zip(use.shape, whole, strict=True)]
    if use.kernel > 1 and whole[-1] != use.kernel:
        start = (whole[-1] - use.kernel) // 2
        parts[2:] = [f"{start}:{start + use.kernel}"] * 2
        if sharing.kernels == "transform":
            return f"[{', '.join(parts)}] through learned matrices"
    return f"[{', '.join(parts)}]"


def _facts(supernet: Supernet, rows: list[dict[str, Any]]) -> dict[str, Any]:
    sharing = supernet.sharing
    return {
        "space": supernet.space.name,
        "combinations": supernet.space.cardinality,
        "digest": supernet.digest,
        "sharing": f"kernels {sharing.kernels}, norms {sharing.norms}, classifier {sharing.classifier}",
        "capacity": supernet.capacity,
        "tensors_shown": len(rows),
        "parameters": sum(parameter.numel() for parameter in supernet.parameters()),
    }


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
