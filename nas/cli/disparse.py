"""``netwright disparse``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nas.cli.options import json_option, narrator, print_facts, print_json, quiet_option, seed_option

_MODES = ("static", "pretrained", "dynamic", "snip", "magnitude", "rigl", "random")


@click.command()
@click.argument("spec")
@click.option("--data", help="Images with labels; the second task is by how many quarters each was turned.")
@click.option("--scenes", type=click.Path(path_type=Path), help=".npz of photographs with boxes and masks instead.")
@click.option("--size", type=click.IntRange(32, 1024), default=128, show_default=True, help="Side of scenes in pixels.")
@click.option("--mode", type=click.Choice(_MODES), default="static", show_default=True, help="How weights are chosen.")
@click.option("--density", type=float, default=0.1, show_default=True, help="Share of the weights that remains.")
@click.option("--epochs", type=click.IntRange(1), default=20, show_default=True, help="Passes over the images.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Training setting, e.g. batch_size=16.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for packed weights and report.")
@click.option("--train-device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option("--threads", type=click.IntRange(1, 1024), default=1, show_default=True, help="CPU threads.")
@seed_option("Of first weights, batch order, turns and random masks.")
@json_option
@quiet_option
def disparse(  # noqa: PLR0913 - the options
    spec: str,
    data: str | None,
    scenes: Path | None,
    size: int,
    mode: str,
    density: float,
    epochs: int,
    settings: tuple[str, ...],
    out: Path,
    train_device: str,
    threads: int,
    seed: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Train one sparse network for two tasks (DiSparse); called again it goes on from its checkpoint.

    SPEC is the backbone: a published structure, a JSON file, or RUN:ID. A shared weight goes only when both tasks want
    it gone; the report says from which layer on they want different ones. Baselines that do not tell tasks apart: snip,
    magnitude, rigl, random.
    """
    from nas.compress.disparse import DisparseSettings
    from nas.config import InvalidConfig, with_settings
    from nas.job.multitask import label_tasks, run_multitask, scene_tasks
    from nas.spec import load_spec
    from nas.train.finalists import threads as with_threads
    from nas.train.multitask.recipe import MultitaskRecipe
    from nas.train.torch_device import check_torch_device

    check_torch_device(train_device, "disparse: --train-device")
    found = load_spec(spec)
    images = data or (found.data if scenes is None else None)
    if (images is None) == (scenes is None):
        raise InvalidConfig("disparse: give either --data, for example --data fashion-mnist, or --scenes FILE")
    recipe = MultitaskRecipe.from_dict(with_settings({"epochs": epochs}, settings))
    chosen = DisparseSettings(mode=mode, density=density)
    if scenes is not None:
        tasks = scene_tasks(found.arch, scenes, size=size, seed=seed)
    else:
        assert images is not None
        tasks = label_tasks(found.arch, images, seed)
    with narrator(quiet) as teller, with_threads(threads):

        def tell(stage: str, report: Any) -> None:
            told = ", ".join(f"{name} {score:.4f}" for name, score in (report.scores or {}).items())
            teller.update(f"{stage}: epoch {report.epoch} of {recipe.epochs}, {told}", report.epoch / recipe.epochs)

        facts = run_multitask(tasks, out, settings=chosen, recipe=recipe, seed=seed, device=train_device, on_epoch=tell)
        teller.done()
    if as_json:
        print_json(facts)
        return
    names = ("density", "kept", "of", "scores", "watershed", "empty_layers", "bytes")
    print_facts({"directory": str(out), **{name: facts[name] for name in names}})
