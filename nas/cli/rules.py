"""``netwright rules`` and ``netwright rank``: which block for which stage, and how much rank trained kernels use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from nas.cli.options import json_option, print_json, print_table
from nas.cli.stdout import print_line
from search_spaces.expand import MAX_SIDE

if TYPE_CHECKING:
    from hardware.gpu_rules import Choice
    from hardware.intrinsic_rank import LayerRank


@click.command()
@click.option(
    "--device",
    default="v100:precision=fp16,batch=64",
    show_default=True,
    help="NAME[:precision=P,batch=N] of a data sheet (v100, t4, a100, h100, jetson-agx-orin …), or of a stored device "
    "with kernels.",
)
@click.option("--space", "space_name", default="genet", show_default=True, help="A space whose stages choose a kind.")
@click.option("--resolution", default=224, show_default=True, type=click.IntRange(8, MAX_SIDE), help="Of the images.")
@click.option(
    "--need",
    "needs",
    multiple=True,
    type=click.FloatRange(0, 1, min_open=True),
    help="Rank that a stage needs, 0 to 1, once a stage; see netwright rank. Default: GENet's principle.",
)
@json_option
def rules(device: str, space_name: str, resolution: int, needs: tuple[float, ...], as_json: bool) -> None:
    """Full, bottleneck or depthwise blocks: what each stage should use on a GPU, with the evidence.

    Example: netwright rules --device t4:precision=fp16,batch=1 --resolution 160
    """
    from hardware.device_store import stored_devices
    from hardware.gpu_rules import choose_blocks, stages_of
    from hardware.latency_targets import stored_kernels
    from nas.cli.analytic import parse_analytic
    from search_spaces import load_space
    from search_spaces.space import StageSpace

    stored = device.partition(":")[0] in stored_devices()
    model, batch = stored_kernels(device) if stored else parse_analytic(device)
    known = f"{device} (measured kernels)" if stored else str(model)
    space = load_space(space_name)
    stages = stages_of(space, (3, resolution, resolution), needs) if isinstance(space, StageSpace) else ()
    if not stages:
        raise click.UsageError(f"space {space_name!r} has no stage that chooses between XX, BL and DW; genet has")
    if len(needs) > len(stages):
        raise click.UsageError(f"--need is given {len(needs)} times, but {space_name} has {len(stages)} such stages")
    choices = choose_blocks([facts for _, facts in stages], model, batch)
    if as_json:
        print_json({"device": known, "batch": batch, "stages": [_stage_row(choice) for choice in choices]})
        return
    print_line(f"{known}; batch {batch}; microseconds an image")
    for choice in choices:
        print_line(str(choice))


def _stage_row(choice: Choice) -> dict[str, Any]:
    from dataclasses import asdict

    options = [asdict(option) for option in choice.options]
    return {**choice.stage._asdict(), "chosen": choice.chosen.kind, "options": options}


@click.command()
@click.argument("model")
@json_option
def rank(model: str, as_json: bool) -> None:
    """How much of its rank every trained convolution uses, against chance: which layers could be low-rank blocks.

    MODEL is an exported folder, a .safetensors, .npz or .pt file, or package.module:factory.
    """
    from hardware.intrinsic_rank import layer_ranks
    from nas.weights import load_weights_of

    rows = [_layer_row(layer) for layer in layer_ranks(load_weights_of(model))]
    if as_json:
        print_json({"model": model, "layers": rows})
        return
    columns = ("layer", "shape", "need", "entropy", "entropy_null", "energy", "energy_null", "low_rank")
    print_table([{**row, "shape": _times(row["shape"])} for row in rows], columns)
    low = sum(row["low_rank"] for row in rows)
    print_line(f"{low} of {len(rows)} convolutions lie well below a Gaussian of their shape and could be low-rank")


def _layer_row(layer: LayerRank) -> dict[str, Any]:
    found = layer.found._asdict()
    null = {f"{name}_null": value for name, value in layer.null._asdict().items()}
    return {
        "layer": layer.name,
        "shape": list(layer.shape),
        "need": layer.need,
        "low_rank": layer.is_low,
        **found,
        **null,
    }


def _times(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
