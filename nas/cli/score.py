"""``netwright score``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nas.cli.options import json_option, print_facts, print_json, seed_option, shapes, task_options

if TYPE_CHECKING:
    from nas.objective import Objective
    from search_spaces.arch import Architecture


@click.command()
@click.argument("spec")
@task_options
@click.option(
    "--score",
    "scores",
    multiple=True,
    help="Further score: zen-mc, synflow … (see --proxies), or package.module:function. Repeatable.",
)
@click.option(
    "--proxies",
    type=click.Choice(["closed", "all"]),
    default="closed",
    show_default=True,
    help="Zero-shot scores to show: those in closed form, or all, which takes seconds.",
)
@click.option(
    "--energy",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Table of picojoules by operation, YAML or CSV: adds an estimate of the energy of one image.",
)
@seed_option("Of scores that draw random numbers.")
@json_option
def score(  # noqa: PLR0913 - the options
    spec: str,
    data: str | None,
    resolution: int | None,
    classes: int | None,
    in_channels: int | None,
    scores: tuple[str, ...],
    proxies: str,
    energy: Path | None,
    seed: int,
    as_json: bool,
) -> None:
    """Costs and zero-shot score of one architecture; milliseconds, nothing is built.

    SPEC is a published structure, a JSON file, or RUN:ID.
    """
    from nas.objective import CLOSED_FORM, SCORES, Objective, UnknownScore
    from nas.spec import load_spec

    found = load_spec(spec)
    from_run = data is None and resolution is None
    shape, num_classes = shapes(
        data or (found.data if from_run else None), resolution, classes, in_channels or found.in_channels
    )
    started = time.perf_counter()
    wanted = dict.fromkeys((*CLOSED_FORM, *_of_bits(found.arch), *scores, *(SCORES if proxies == "all" else ())))
    row, reasons = _costs(found.arch, shape, num_classes), {}
    if energy is not None:
        row["energy_uj_estimate"] = _energy_uj(found.arch, shape, num_classes, energy)
    for name in wanted:
        try:
            row[name] = _score(Objective(name, shape, seed), found.arch)
        except UnknownScore as error:
            if name in scores:
                raise
            row[name], reasons[name] = None, str(error)
    row |= {
        "digest": found.arch.digest,
        "input_shape": list(shape),
        "classes": num_classes,
        "seconds": round(time.perf_counter() - started, 6),
    }
    if reasons:
        row["not_applicable"] = reasons
    (print_json if as_json else print_facts)(row)


def _of_bits(arch: Architecture) -> tuple[str, ...]:
    """The score of networks with bits, where the network has them."""
    return ("qe",) if any(block.weight_bits for block in arch.blocks) else ()


def _costs(arch: Architecture, shape: tuple[int, int, int], num_classes: int) -> dict[str, object]:
    """What it costs, also as the authors of its family count, and rho, which bounds a DeepMAD search."""
    from hardware.counts import count
    from hardware.family_counts import family_counts
    from hardware.runtime_memory import onnxruntime_peak_bytes
    from predictors.proxies import ProxyFailed
    from predictors.proxies.deepmad import effectiveness
    from search_spaces.expand import expand

    counts = count(arch, shape, num_classes)
    compat = family_counts(arch, shape, num_classes)
    try:
        rho = effectiveness(arch, shape)
    except ProxyFailed:
        rho = None
    return {
        "params": counts.params,
        "macs": counts.macs,
        "depth": counts.depth,
        "convs": counts.convs,
        "peak_memory_bytes": counts.peak_memory_bytes,
        "peak_memory_onnxruntime_bytes": onnxruntime_peak_bytes(expand(arch, shape, num_classes), shape),
        "params_compat": _whole(compat.params),
        "macs_compat": _whole(compat.flops),
        "compat_rules": compat.rules,
        "rho": rho,
        "zen_compat": _zen_compat(arch, shape),
    }


def _energy_uj(arch: Architecture, shape: tuple[int, int, int], num_classes: int, path: Path) -> float:
    from hardware.energy import read_energy_table
    from search_spaces.expand import expand

    return read_energy_table(path).energy_uj(expand(arch, shape, num_classes))


def _whole(count: float) -> float:
    """A count without a needless fraction."""
    return int(count) if count == int(count) else count


def _zen_compat(arch: Architecture, shape: tuple[int, int, int]) -> float | None:
    """Zen-Score at the settings of the authors' code (momentum 0.1, one repeat), in closed form; None without one."""
    from predictors.proxies import ProxyFailed, zen_score

    try:
        return zen_score(arch, shape, momentum=0.1)
    except ProxyFailed:
        return None


def _score(objective: Objective, arch: Architecture) -> float:
    from nas.objective import UnknownScore
    from nas.records import Candidate, Failure
    from nas.runners.evaluate import evaluate

    [result] = evaluate(objective.scorer(), [Candidate(0, arch)], objective.seed)
    if isinstance(result, Failure):
        raise UnknownScore(f"score {objective.score!r}: {result.message}")
    return result.metrics["score"]
