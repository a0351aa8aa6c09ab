"""``netwright space ls | show | check``."""

from __future__ import annotations

from typing import Any

import click

from nas.cli.options import (
    device_option,
    json_option,
    limit_options,
    narrator,
    print_facts,
    print_json,
    print_table,
    quiet_option,
    seed_option,
    shapes,
    task_options,
)
from nas.cli.stdout import print_line


@click.group()
def space() -> None:
    """List, show and check search spaces; your own is package.module:Space."""


@space.command("ls")
@json_option
def list_spaces(as_json: bool) -> None:
    """The built-in spaces."""
    from search_spaces import SPACES

    rows = [
        {"name": name, "kind": type(found).__name__, "combinations": _cardinality(found), "features": _features(found)}
        for name, found in SPACES.items()
    ]
    if as_json:
        print_json({"spaces": rows})
    else:
        print_table(
            [{**row, "combinations": _power(_cardinality(SPACES[str(row["name"])]))} for row in rows], list(rows[0])
        )


@space.command("show")
@click.argument("name")
@click.option(
    "--samples", default=3, show_default=True, type=click.IntRange(0, 10_000), help="Random members to print."
)
@seed_option("Of the random members.")
@json_option
def show(name: str, samples: int, seed: int, as_json: bool) -> None:
    """The choices of a space and a few random members."""
    import numpy as np

    from search_spaces import load_space
    from search_spaces.formats import write_published
    from search_spaces.space import GridSpace

    found = load_space(name)
    rng = np.random.default_rng(seed)
    members = [found.sample(rng) for _ in range(samples)]
    knobs = {knob.name: list(knob.choices) for knob in found.knobs} if isinstance(found, GridSpace) else None
    if as_json:
        print_json(
            {
                "name": found.name,
                "combinations": _cardinality(found),
                "knobs": knobs,
                "samples": [m.to_dict() for m in members],
            }
        )
        return
    print_facts({"name": found.name, "combinations": _power(_cardinality(found)), **(knobs or _zen_facts(found))})
    for member in members:
        print_line(write_published(member))


@space.command("check")
@click.argument("name")
@task_options
@limit_options
@device_option
@click.option(
    "--samples", default=2000, show_default=True, type=click.IntRange(10, 1_000_000), help="Random members to look at."
)
@click.option("--score", "scores", multiple=True, default=("zen",), show_default=True, help="To time. Repeatable.")
@click.option("--candidates", default=20_000, show_default=True, type=click.IntRange(1), help="Of a search to time.")
@seed_option("Of the random members.")
@json_option
@quiet_option
def check(  # noqa: PLR0913 - the options
    name: str,
    data: str | None,
    resolution: int | None,
    classes: int | None,
    in_channels: int | None,
    device: str,
    samples: int,
    scores: tuple[str, ...],
    candidates: int,
    seed: int,
    as_json: bool,
    quiet: bool,
    **limits: str | None,
) -> None:
    """What a search will meet: share within the limits, reachable ranges, duplicates. Costs seconds.

    A limit on latency needs a latency table; `netwright profile` makes one.
    """
    from nas.limits import gates_of
    from nas.space_report import report_space
    from search_spaces import load_space

    found = load_space(name)
    shape, num_classes = shapes(data, resolution, classes, in_channels)
    gates = gates_of(
        limits, space=found, space_name=name, device=device, input_shape=shape, num_classes=num_classes,
        where="space check",
    )  # fmt: skip
    with narrator(quiet) as teller:
        result = report_space(
            found, gates, samples=samples, seed=seed, narrator=teller, scores=scores, candidates=candidates
        )
    if as_json:
        print_json(result)
        return
    _print_check(result)
    where = f"--data {data}" if data else "--data YOUR_DATA"
    print_line(f"which score to trust here: netwright proxies trust --space {name} {where}, with the same limits")


def _print_check(result: dict[str, Any]) -> None:
    """The facts of a space report, then the table of its metrics."""
    apart = ("metrics", "reachable", "dead_choices", "search_candidates", "search_seconds", "score_seconds")
    facts = {key: value for key, value in result.items() if key not in apart}
    low, high = result["feasible_interval"]
    facts |= {"cardinality": _power(result["cardinality"]), "feasible_interval": f"{low:.3g} to {high:.3g} (95 %)"}
    for score, seconds in result["search_seconds"].items():
        took = "the score does not apply" if seconds is None else f"about {seconds:.3g} s on one core"
        facts[f"search by {score}"] = f"{took} for {result['search_candidates']} candidates"
    if result["dead_choices"] is not None:
        dead = [f"{row['knob']}={row['choice']} (0 of {row['tried']})" for row in result["dead_choices"]]
        unjudged = result["choices_unjudged"]
        facts["dead_choices"] = ", ".join(dead) or "none"
        if unjudged:
            facts["choices_unjudged"] = f"{unjudged}, seen too rarely; more --samples tell"
    print_facts(facts)
    rows = [
        {"metric": key, **row, **{f"reach {end}": value for end, value in result["reachable"].get(key, {}).items()}}
        for key, row in result["metrics"].items()
    ]
    print_table(rows, ("metric", "least", "p10", "median", "p90", "most", "reach least", "reach most"))


def _cardinality(found: Any) -> int | None:
    return getattr(found, "cardinality", None)


def _features(found: Any) -> int:
    import numpy as np

    return len(found.encode(found.sample(np.random.default_rng(0))))


def _power(count: int | None) -> str:
    return "unbounded" if count is None else f"{count:.3g}"


def _zen_facts(found: Any) -> dict[str, Any]:
    from search_spaces.arch import Architecture

    seed = getattr(found, "seed", None)
    return {"starts from": seed.to_json()} if isinstance(seed, Architecture) else {}
