"""``netwright score``."""

from __future__ import annotations

import time
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
    help="Further score: zen-mc, zen-compat, or package.module:function. Repeatable.",
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
    seed: int,
    as_json: bool,
) -> None:
    """Costs and zero-shot score of one architecture; milliseconds, nothing is built.

    SPEC is a structure string, a JSON file, or RUN:ID.
    """
    from hardware.counts import count
    from nas.objective import Objective
    from nas.spec import load_spec

    found = load_spec(spec)
    from_run = data is None and resolution is None
    shape, num_classes = shapes(
        data or (found.data if from_run else None), resolution, classes, in_channels or found.in_channels
    )
    started = time.perf_counter()
    counts = count(found.arch, shape, num_classes)
    row: dict[str, object] = {
        "params": counts.params,
        "macs": counts.macs,
        "depth": counts.depth,
        "convs": counts.convs,
        "peak_memory_bytes": counts.peak_memory_bytes,
    }
    for name in dict.fromkeys(("zen", *scores)):
        row[name] = _score(Objective(name, shape, seed), found.arch)
    row |= {
        "digest": found.arch.digest,
        "input_shape": list(shape),
        "classes": num_classes,
        "seconds": round(time.perf_counter() - started, 6),
    }
    (print_json if as_json else print_facts)(row)


def _score(objective: Objective, arch: Architecture) -> float:
    from nas.objective import UnknownScore
    from nas.records import Candidate, Failure
    from nas.runners.evaluate import evaluate

    [result] = evaluate(objective.scorer(), [Candidate(0, arch)], objective.seed)
    if isinstance(result, Failure):
        raise UnknownScore(f"score {objective.score!r}: {result.message}")
    return result.metrics["score"]
