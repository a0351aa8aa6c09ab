"""``netwright compress``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nas.cli.options import device_option, json_option, narrator, print_json, print_table, quiet_option


@click.command()
@click.argument("source")
@click.option("--recipe", type=click.Path(path_type=Path), help="YAML file; see examples/compress.yaml.")
@click.option("--latency", help="Budget of a call with its unit, for example 1ms: channels and integers are chosen.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the result.")
@click.option("--overwrite", is_flag=True, help="Replace the compression or export that is there.")
@click.option("--data", help="Dataset; needed for a module, else the one that the network was trained on.")
@click.option("--weights", type=click.Path(path_type=Path), help="Tensors of a module (.safetensors, .npz, .pt).")
@click.option("--train-device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option("--threads", type=click.IntRange(1, 1024), default=1, show_default=True, help="CPU threads of trainings.")
@click.option("--quick", is_flag=True, help="Time the files for 2 seconds instead of 15: wider intervals.")
@device_option
@json_option
@quiet_option
def compress(  # noqa: PLR0913 - the options
    source: str,
    recipe: Path | None,
    latency: str | None,
    out: Path,
    overwrite: bool,
    data: str | None,
    weights: Path | None,
    train_device: str,
    threads: int,
    quick: bool,
    device: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Make a trained network smaller and faster, and measure by how much; called again it goes on where it was.

    SOURCE is a run with a trained winner, a folder of `train` or `export`, or package.module:factory with --data (and
    --weights). Without --recipe: channels to half the multiply-accumulates (CHEX, with the network as its own
    teacher), fine-tuning, 8-bit integers.

    Writes ONNX in floating point and in integers, weights, and COMPRESSION.md with bytes, accuracy and measured speed
    before and after. Exit code 4 if the budget is missed by measurement.
    """
    from hardware.device import Device
    from nas.cli.main import MISSED
    from nas.compress.pipeline.recipe import DEFAULT, Compression
    from nas.export.errors import ExportFailed
    from nas.export.place import holds_export, prepare_place
    from nas.job.compression import CompressionJob, run_compression
    from nas.job.compression_source import load_source
    from nas.train.finalists import threads as with_threads
    from nas.train.torch_device import check_torch_device
    from nas.units import parse_latency_ms

    check_torch_device(train_device, "compress: --train-device")
    budget = None if latency is None else parse_latency_ms(latency)
    plan = Compression.from_dict(DEFAULT) if recipe is None else Compression.from_file(recipe)
    job = CompressionJob(out, Device.parse(device), budget, train_device, quick)
    if out.resolve() == Path(source).resolve():
        raise ExportFailed(f"{out}: is the source itself; give another --out")
    prepare_place(out)
    if holds_export(out) and not overwrite:
        raise ExportFailed(f"{out}: holds an export already; replace it with --overwrite, or choose another --out")
    found = load_source(source, data=data, weights=weights)
    with narrator(quiet) as teller, with_threads(threads):
        result = run_compression(found, plan, job, teller)
    _print(result, as_json)
    if result.get("verdict") == "missed":
        raise click.exceptions.Exit(MISSED)


def _print(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(result)
        return
    rows = [
        {
            "file": row["name"],
            "bytes": row["bytes"],
            "packed": row["packed_bytes"],
            "params": row["params"],
            "MACs": row["macs"],
            "top-1": row["top1"],
            "low": row["low"],
            "high": row["high"],
            "agreement": row["agreement"],
            "ms": row["latency_ms"],
            "speed-up": row["speed_up"],
        }
        for row in result["rows"]
    ]
    print_table(rows, list(rows[0]))
