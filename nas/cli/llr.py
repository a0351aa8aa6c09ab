"""``netwright llr``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas.cli.options import device_option, json_option, narrator, print_facts, print_json, quiet_option, seed_option

if TYPE_CHECKING:
    from nas.llr.run import BlockLatency
    from nas.train.images import Dataset
    from search_spaces.space import StageSpace


@click.command()
@click.option("--data", default="digits", show_default=True, help="Dataset.")
@click.option("--latency", required=True, help="Budget of one call, with its unit, for example 0.2ms.")
@click.option("--space", "space_name", default="genet-tiny", show_default=True, help="A space of stages, e.g. genet.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the run.")
@device_option
@click.option("--seconds", default="60s", show_default=True, help="For the latency table, where none is stored.")
@click.option("--replacements", default=10, show_default=True, type=click.IntRange(4, 1_000), help="Tried in a stage.")
@click.option("--steps", default=80, show_default=True, type=click.IntRange(1), help="Training steps of a variant.")
@click.option("--master-epochs", default=15, show_default=True, type=click.IntRange(1), help="Of training the master.")
@click.option("--epochs", default=20, show_default=True, type=click.IntRange(1), help="Of training the chosen network.")
@seed_option("Of everything random.")
@json_option
@quiet_option
def llr(  # noqa: PLR0913 - the options
    data: str,
    latency: str,
    space_name: str,
    out: Path,
    device: str,
    seconds: str,
    replacements: int,
    steps: int,
    master_epochs: int,
    epochs: int,
    seed: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Choose a network from single changes to a trained master, exactly under a latency budget (GENet's LLR-NAS).

    Called again with the same options after an interruption, it goes on. --device also takes the name of a data
    sheet, for example v100:precision=fp16,batch=64.
    """
    from nas.llr.choices import StageChoices, default_master
    from nas.llr.run import Settings, run_llr
    from nas.train.data import load_dataset
    from nas.units import parse_latency_ms
    from search_spaces import load_space
    from search_spaces.space import StageSpace

    settings = Settings(
        parse_latency_ms(latency), replacements, steps, master_epochs=master_epochs, epochs=epochs, seed=seed
    )
    space = load_space(space_name)
    if not isinstance(space, StageSpace):
        raise click.UsageError(
            f"space {space_name!r} is a {type(space).__name__}, expected one of stages, as genet-tiny"
        )
    dataset = load_dataset(data)
    with narrator(quiet) as teller:
        model = _latency(space, space_name, device, dataset, seconds, teller)
        choices = StageChoices(space, default_master(space))
        result = run_llr(out, dataset, choices, model, settings, device=device, narrator=teller)
    _print(result, out, as_json)


def _latency(space: StageSpace, name: str, device: str, dataset: Dataset, seconds: str, teller: Any) -> BlockLatency:
    """The stored table of the space on the device, one profiled now, or a device known by its data sheet."""
    from hardware.analytic_latency import AnalyticLatency
    from hardware.device import Device
    from hardware.lookup import ConditionsChanged, TableUnreadable
    from hardware.profiling import profile_space
    from hardware.table_cache import find_table, save_table
    from nas.cli.analytic import is_analytic, parse_analytic
    from nas.units import parse_seconds

    task = (dataset.input_shape, dataset.num_classes)
    if is_analytic(device):
        analytic, batch = parse_analytic(device)
        return AnalyticLatency(analytic, *task, batch=batch)
    target = Device.parse(device)
    try:
        table = find_table(space, target, *task, spec=name)
    except (ConditionsChanged, TableUnreadable) as error:
        teller.say(str(error))
        table = None
    if table is None:
        teller.say(f"profiling {name} on {target} …")
        table = profile_space(
            space, target, *task, seconds=parse_seconds(seconds), seed=0, spec=name, progress=teller.update
        )
        save_table(table)
    return table


def _print(result: dict[str, Any], out: Path, as_json: bool) -> None:
    if as_json:
        print_json({**result, "directory": str(out)})
        return
    errors = {stage: model["cross_validated"] for stage, model in result["regression"].items()}
    print_facts(
        {
            "directory": out,
            "digest": result["digest"],
            "latency_ms": f"{result['latency_ms']:.4g}, upper bound {result['latency_upper_ms']:.4g}",
            "test_top1": f"{result['test_top1']:.4f} +- {result['test_standard_error']:.4f}",
            "predicted_change": f"{result['predicted_change']:+.4f} +- {result['predicted_deviation']:.4f} nats",
            "left_out_errors": ", ".join(f"stage {stage}: {error:.4f}" for stage, error in errors.items()),
        }
    )
