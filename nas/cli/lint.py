"""``netwright lint``."""

from __future__ import annotations

import click

from nas.cli.options import MAX_CLASSES, json_option, narrator, print_json, quiet_option
from nas.cli.stdout import print_line
from search_spaces.block_limits import MAX_CHANNELS
from search_spaces.expand import MAX_SIDE


@click.command()
@click.argument("network")
@click.option(
    "--device",
    default="onnxruntime",
    show_default=True,
    help="RUNTIME[:threads=N,batch=N] here, or a data sheet: v100:precision=fp16,batch=64.",
)
@click.option("--resolution", type=click.IntRange(1, MAX_SIDE), help="Side of the square images in pixels.")
@click.option("--in-channels", type=click.IntRange(1, MAX_CHANNELS), help="Channels of the images.")
@click.option("--classes", type=click.IntRange(1, MAX_CLASSES), help="Of the classifier that a design gets.")
@click.option("--seconds", default="30s", show_default=True, help="For timing the fixes.")
@click.option("--no-measure", is_flag=True, help="Predict the effect of fixes only.")
@json_option
@quiet_option
def lint(  # noqa: PLR0913 - the options
    network: str,
    device: str,
    resolution: int | None,
    in_channels: int | None,
    classes: int | None,
    seconds: str,
    no_measure: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """What in a network is slow on a device for no good reason, and what each fix gains, by measurement.

    NETWORK is package.module:factory of any torch module, a published structure, a JSON file, an exported folder, or
    RUN:ID. Example: netwright lint mynets:resnet50 --resolution 224 --device v100:precision=fp16,batch=64
    """
    from hardware.device import Device
    from hardware.lint.linter import lint as apply_rules
    from hardware.lint.linter import network_ms
    from nas.cli.analytic import is_analytic, parse_analytic
    from nas.subject import load_subject
    from nas.units import parse_seconds

    subject = load_subject(network, resolution, in_channels, classes)
    target, batch = parse_analytic(device) if is_analytic(device) else (Device.parse(device), 1)
    limit_s = 0.0 if no_measure else parse_seconds(seconds)
    with narrator(quiet) as teller:
        judged = apply_rules(
            subject.layers, subject.input_shape, target, batch=batch, seconds=limit_s, progress=teller.update
        )
    total_ms = network_ms(subject.layers, target, subject.input_shape, batch)
    if as_json:
        findings = [each.to_dict() for each in judged]
        print_json({"network": network, "device": str(target), "predicted_ms": total_ms, "findings": findings})
        return
    size = "x".join(map(str, subject.input_shape))
    print_line(f"{network} at {size} on {target}: about {total_ms:.4g} ms a call, predicted")
    for each in judged:
        print_line(f"- {each.finding.rule} ({each.verdict}): {each}")
    if not judged:
        print_line("no findings")
