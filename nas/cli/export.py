"""``netwright export`` and ``netwright verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nas.cli.options import (
    device_option,
    json_option,
    narrator,
    print_facts,
    print_json,
    quiet_option,
    seed_option,
)

SHORTEST_S = 1.0  # of a measurement


@click.command()
@click.argument("source")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write.")
@click.option("--batch", default="1", show_default=True, help="Images per call of the ONNX file, or `any`.")
@click.option("--data", help="Dataset that SOURCE will be trained on, when it is not trained yet.")
@seed_option("Of the initial weights, when SOURCE is not trained.")
@json_option
def export(source: str, out: Path, batch: str, data: str | None, seed: int, as_json: bool) -> None:
    """Write ONNX, safetensors, config.json, a stand-alone network.py and a model card; ONNX is checked against torch.

    SOURCE is a folder of `train`, `export` or a run's winner; or an untrained architecture (published structure, JSON
    file, RUN:ID) with --data, which is exported with its initial weights and says so.
    """
    from nas.config import InvalidConfig
    from nas.export.card import CardFacts
    from nas.export.errors import ExportFailed
    from nas.export.place import CONFIG, prepare_place
    from nas.export.pretrained import from_pretrained, load_task, save_pretrained
    from nas.spec import load_spec
    from nas.train.data import load_dataset
    from nas.train.entrant import build_network

    if batch != "any" and not (batch.isdecimal() and int(batch) > 0):
        raise click.BadParameter(f"{batch!r}, expected a whole number of at least 1, or `any`", param_hint="--batch")
    if out.resolve() == Path(source).resolve():
        raise ExportFailed(f"{out}: is the source itself, whose card would lose what was measured; give another --out")
    prepare_place(out)
    trained = (Path(source) / CONFIG).is_file()
    if trained:
        network, task = from_pretrained(Path(source)), load_task(Path(source))
    else:
        _check_no_single_file(source)
        spec = load_spec(source)
        if (images := data or spec.data) is None:
            raise InvalidConfig(
                "export: an untrained architecture needs its images; give --data, for example --data digits"
            )
        dataset = load_dataset(images)
        network, task = build_network(spec.arch, dataset, seed=seed), dataset.task
    facts = CardFacts(search={"weights": f"exported again from {source}" if trained else "initial, not trained"})
    report = save_pretrained(out, network, task=task, facts=facts, batch=None if batch == "any" else int(batch))
    result: dict[str, Any] = {
        "directory": str(report.directory),
        "trained": trained,
        "files": report.size_bytes,
        "max_abs_error": report.parity.max_abs_error,
        "max_rel_error": report.parity.max_rel_error,
        "agree_top1": report.parity.agree_top1,
    }
    (print_json if as_json else print_facts)(result)


def _check_no_single_file(source: str) -> None:
    from nas.export.errors import InvalidPretrained

    if Path(source).suffix in (".onnx", ".safetensors") and Path(source).is_file():
        raise InvalidPretrained(
            f"{source}: is a single file, expected a folder that `train`, `export` or a search wrote, "
            "or an architecture (published structure, JSON file, RUN:ID)"
        )


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--latency", required=True, help="Budget with its unit, for example 2ms.")
@click.option("--measure", default="60s", show_default=True, help="The longest that one measurement may take.")
@device_option
@json_option
@quiet_option
def verify(model: Path, latency: str, measure: str, device: str, as_json: bool, quiet: bool) -> None:
    """Measure an exported network and say whether it keeps a latency budget; exit code 4 when that is not proven.

    MODEL is an .onnx file, a folder of `export` or `train`, or a finished run.
    """
    from hardware.device import Device
    from hardware.protocol import MeasureProtocol
    from nas.cli.main import MISSED
    from nas.export.errors import InvalidPretrained
    from nas.export.place import ONNX
    from nas.job.verification import exported_model
    from nas.job.verification import verify as verify_budget
    from nas.run import WINNER
    from nas.units import parse_latency_ms, parse_seconds
    from nas.verdict import sentence

    budget_ms, longest = parse_latency_ms(latency), parse_seconds(measure)
    if longest < SHORTEST_S:
        raise click.UsageError(f"--measure {measure}: expected at least {SHORTEST_S:g}s")
    path = next((p for p in (model, model / ONNX, model / WINNER / ONNX) if p.is_file()), None)
    if path is None:
        raise InvalidPretrained(
            f"{model}: no ONNX file there; expected a file, a folder of an export, or a finished run"
        )
    target = Device.parse(device)
    timed, subject = exported_model(path, target)
    with narrator(quiet) as teller:
        measurement, verdict = verify_budget(
            timed, target, budget_ms, teller, protocol=MeasureProtocol().capped(longest)
        )
    text = sentence(measurement, budget_ms, subject=subject, reason=measurement.reason)
    if as_json:
        print_json(
            {
                "model": str(path),
                "budget_ms": budget_ms,
                "verdict": verdict,
                "sentence": text,
                "measurement": measurement.to_dict(),
            }
        )
    else:
        print_facts({"model": str(path), "verdict": verdict, "result": text})
    if verdict != "kept":
        raise click.exceptions.Exit(MISSED)
