"""``netwright search`` and ``netwright resume``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nas.cli.options import (
    SEEDS,
    callback_option,
    callback_settings,
    json_option,
    limit_options,
    narrator,
    print_facts,
    print_json,
    quiet_option,
    resources,
    run_argument,
)


@click.command()
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="YAML file; flags are laid on top.")
@click.option("--data", help="digits, fashion-mnist, image folder, IDX files, .npz or package.module:function.")
@click.option("--space", help="Name from `netwright space ls`, or package.module:Space; auto suits the images.")
@limit_options
@click.option("--device", help="Holds the latency budget: RUNTIME[:threads=N,batch=N], or a name of `device ls`.")
@click.option(
    "--also", multiple=True, metavar="DEVICE=LATENCY", help="A further device to suit, openvino=1.2ms. Repeatable."
)
@click.option("--confidence", type=click.FloatRange(0.5, 0.99), help="Of the predicted upper bound; 0.9 by default.")
@click.option(
    "--score", help="From `netwright proxies ls`, predictor, binas, ensemble:FILE or package.module:function."
)
@click.option(
    "--supernet",
    "supernet_path",
    type=click.Path(path_type=Path),
    help="Folder of `supernet train`, for --score binas; trained for this run by default.",
)
@click.option("--labels", type=click.IntRange(8), help="Networks trained for --score predictor; 32 by default.")
@click.option("--evaluations", type=click.IntRange(1), help="Candidates to look at.")
@click.option("--seconds", help="Stop the search after this time, for example 5min.")
@click.option("--epochs", type=click.IntRange(1), help="Of the winner's training.")
@click.option("--seed", type=SEEDS, help="Of everything random.")
@click.option(
    "--engine",
    type=click.Choice(["auto", "serial", "ray"]),
    help="Where scores are computed. auto takes ray for your own score: it may end its process.",
)
@click.option("--workers", type=click.IntRange(1), help="Ray workers; one per CPU by default.")
@click.option("--address", help="Of a running Ray cluster; nodes may join and leave.")
@click.option("--worker-gpus", type=click.FloatRange(0), help="Of each Ray worker: a fraction of one, or a number.")
@click.option("--worker-resources", multiple=True, metavar="NAME=N", help="Custom ones of each Ray worker. Repeatable.")
@click.option("--device-node", help="Node of the cluster that measures: id, host, IP or custom resource device:NAME.")
@callback_option
@click.option("--set", "settings", multiple=True, metavar="A.B=C", help="Any other setting. Repeatable.")
@click.option("--no-train", is_flag=True, help="Stop after the finalists are measured.")
@click.option("--out", type=click.Path(path_type=Path), help="Run directory; else runs/<dataset>-<date>-<time>.")
@click.option("--store", help="Keep the rows on a server: postgresql://user@host/database. A file in --out by default.")
@json_option
@quiet_option
def search(
    config_file: Path | None, settings: tuple[str, ...], out: Path | None, as_json: bool, quiet: bool, **flags: Any
) -> None:
    """Search a space under limits, train the winner, export it, and measure that it keeps the budget."""
    from nas.cli.ray_watch import RayWatch
    from nas.config import Config
    from nas.job.job import start_job
    from nas.run import new_directory

    over = _overrides(flags, settings)
    config = Config.from_yaml(config_file, over) if config_file else Config.from_dict(over, "search")
    directory = out or new_directory(config.data)
    with narrator(quiet) as teller, _resumable(directory), RayWatch(directory):
        outcome = start_job(config, directory, teller)
    _finish(outcome, as_json)


@click.command()
@run_argument
@callback_option
@json_option
@quiet_option
def resume(run: Path, callbacks: tuple[str, ...], as_json: bool, quiet: bool) -> None:
    """Go on with an interrupted run; it ends as if it had not been interrupted."""
    with _resumable(run):  # from the first import on, which takes seconds
        from nas.cli.ray_watch import RayWatch
        from nas.job.job import resume_job

        with narrator(quiet) as teller, RayWatch(run):
            outcome = resume_job(run, teller, callback_settings(callbacks))
    _finish(outcome, as_json)


def _overrides(flags: dict[str, Any], settings: tuple[str, ...]) -> dict[str, Any]:
    """Flags and --set values as nested settings; --set wins."""
    from nas.config import merge, with_settings

    places = {
        "data": "data", "space": "space", "device": "device", "seed": "seed",
        "latency": "constraints.latency", "params": "constraints.params", "macs": "constraints.macs",
        "memory": "constraints.memory", "depth": "constraints.depth",
        "confidence": "latency.confidence", "score": "search.score", "labels": "predictor.labels",
        "supernet_path": "supernet.path",
        "evaluations": "search.evaluations", "seconds": "search.seconds", "epochs": "recipe.epochs",
        "engine": "engine.kind", "workers": "engine.workers", "address": "engine.address",
        "worker_gpus": "engine.worker_gpus", "device_node": "engine.device_node", "store": "store",
    }  # fmt: skip
    over: dict[str, Any] = {"train": False} if flags["no_train"] else {}
    for flag, place in places.items():
        if flags[flag] is not None:
            setting: Any = str(flags[flag]) if isinstance(flags[flag], Path) else flags[flag]
            for name in reversed(place.split(".")):
                setting = {name: setting}
            over = merge(over, setting)
    if flags["worker_resources"]:
        over = merge(over, {"engine": {"worker_resources": resources(flags["worker_resources"])}})
    if (callbacks := callback_settings(flags["callbacks"])) is not None:
        over = merge(over, {"callbacks": callbacks})
    if flags["also"]:
        over = merge(over, {"also": [_further(text) for text in flags["also"]]})
    return with_settings(over, settings)


def _further(text: str) -> dict[str, str]:
    device, equals, latency = text.rpartition("=")
    if not equals or not device.strip() or not latency.strip():
        raise click.BadParameter(f"{text!r}: expected DEVICE=LATENCY, for example openvino=1.2ms", param_hint="--also")
    return {"device": device.strip(), "latency": latency.strip()}


_STOPPED = ("KeyboardInterrupt", "Interrupted", "RayUnavailable", "ProposerLost", "CannotWrite", "ExportFailed")


class _resumable:  # noqa: N801 - reads as a statement
    """Prints the resume line when the user, a full disk or the end of Ray stops work that can be resumed."""

    def __init__(self, run: Path) -> None:
        self.run = run

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        from nas.store import find_run

        stopped = kind is not None and (issubclass(kind, OSError) or kind.__name__ in _STOPPED)
        if stopped and find_run(self.run):
            click.echo(f"go on with: netwright resume {self.run}", err=True)


def _finish(outcome: Any, as_json: bool) -> None:
    summary = outcome.summary
    if as_json:
        print_json(summary)
    else:
        best, latency = summary["best"], summary["best"]["latency_ms"]
        facts = {
            "run": summary["run"],
            "candidate": best["id"],
            "score": f"{best['score']:.3f}",
            "latency": f"predicted {_ms(latency['predicted'])}, measured {_ms(latency['measured'])}",
            "test top-1": "not trained"
            if best["top1"] is None
            else f"{best['top1']:.4f} ± {best['top1_standard_error']:.4f}",
            "verdict": summary["verdict"],
            **summary["artifacts"],
        }
        print_facts(facts)
    if outcome.exit_code:
        raise click.exceptions.Exit(outcome.exit_code)


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f} ms"
