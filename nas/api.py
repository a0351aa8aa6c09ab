"""The Python face of the main job."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nas.config import Config, InvalidConfig, checked, merge
from nas.narrator import Narrator, Silent
from nas.run import Run, new_directory

if TYPE_CHECKING:
    from nas.export.pretrained import ExportReport
    from nas.train.recipe import Recipe
    from search_spaces.arch import Architecture
    from search_spaces.build import Network


def search(  # noqa: PLR0913 - the facts of a search, all named
    *,
    data: str = "digits",
    latency: str | None = None,
    device: str = "onnxruntime",
    space: str = "auto",
    out: str | Path | None = None,
    seed: int = 0,
    config: Config | Mapping[str, Any] | str | Path | None = None,
    verbose: bool = False,
) -> Run:
    """Search, train, export and verify a network; the same job as ``netwright search``.

    Args:
        data: dataset, as for ``nas.train.data.load_dataset``.
        latency: budget with its unit, for example "2ms"; None for no latency budget.
        device: what the budget is held on, for example "onnxruntime:threads=2".
        space: name of a search space, or ``package.module:Space``.
        out: directory of the run; must not hold one yet. None takes ``runs/<dataset>-<date>-<time>``.
        seed: of everything random.
        config: further settings (see ``nas.config.Config``), or the YAML file that holds them; the arguments above are
            laid on top where given.
        verbose: tell what is going on, on stderr.
    Returns: the finished run.
    Raises: InvalidConfig, InvalidDataset, UnknownSpace, RunFileError, NothingFeasible, and what the stages raise.
    """
    if isinstance(config, str | Path):
        config = Config.from_yaml(Path(config))
    base = config.to_dict() if isinstance(config, Config) else dict(config or {})
    given: dict[str, Any] = {"data": data, "device": device, "space": space, "seed": seed}
    defaults = {"data": "digits", "device": "onnxruntime", "space": "auto", "seed": 0}
    over = {name: value for name, value in given.items() if name not in base or value != defaults[name]}
    if latency is not None:
        over["constraints"] = {"latency": latency}
    from nas.job.job import start_job

    settings = Config.from_dict(merge(base, over))
    directory = new_directory(settings.data) if out is None else Path(out)
    with _narrator(verbose) as narrator:
        start_job(settings, directory, narrator)
    return Run.open(directory)


def resume(path: str | Path, *, verbose: bool = False) -> Run:
    """Go on with an interrupted run to its end; raises RunFileError and what the stages raise."""
    from nas.job.job import resume_job

    with _narrator(verbose) as narrator:
        resume_job(Path(path), narrator)
    return Run.open(path)


def trust(
    *,
    data: str = "digits",
    space: str = "auto",
    limits: Mapping[str, Any] | None = None,
    out: str | Path,
    seed: int = 0,
    verbose: bool = False,
    **settings: Any,
) -> dict[str, Any]:
    """See how far the training-free scores can be trusted; the same work as ``netwright proxies trust``.

    Args:
        data: dataset, as for ``nas.train.data.load_dataset``; its test images are not looked at.
        space: name of a search space, or ``package.module:Space``.
        limits: on the networks, for example {"params": "200k", "latency": "1ms"}.
        out: folder; what an interrupted call left there is used. ``search(config={"search": {"score":
            f"ensemble:{out}"}})`` searches with its rank ensemble.
        seed: of everything random.
        verbose: tell what is going on, on stderr.
        settings: further ones of ``nas.proxies.settings.TrustSettings``: networks, repeats, epochs ...
    Returns: what ``trust.json`` holds, see docs/trust.md.
    Raises: InvalidConfig, InvalidDataset, UnknownSpace, UnknownScore, NothingFeasible, RunFileError.
    """
    from nas.proxies.settings import TrustSettings
    from nas.proxies.trust import judge_proxies

    asked = TrustSettings(data=data, space=space, limits=dict(limits or {}), seed=seed, **settings)
    with _narrator(verbose) as narrator:
        return judge_proxies(asked, Path(out), narrator)


def tune(  # noqa: PLR0913 - the facts of a tuning, all named
    spec: str | Architecture,
    *,
    data: str | None = None,
    out: str | Path,
    recipe: Recipe | Mapping[str, Any] | None = None,
    seed: int = 0,
    device: str = "cpu",
    engine: Literal["auto", "serial", "ray"] = "auto",
    workers: int | None = None,
    address: str | None = None,
    verbose: bool = False,
    **settings: Any,
) -> dict[str, Any]:
    """Find a better recipe for training one architecture; the same work as ``netwright tune``.

    Args:
        spec: the architecture, or a published structure, a JSON file, or RUN:ID.
        data: dataset, as for ``nas.train.data.load_dataset``; None takes that of the run in RUN:ID.
        out: folder for recipe.yaml and all trials; what an interrupted call left there is used.
        recipe: the one to begin with, or its settings, for example {"epochs": 20}.
        seed: of proposals, initial weights, batch order and augmentation.
        device: "cpu", "cuda" or "cuda:N".
        engine: "auto" takes Ray for long work where there are two cores or an address.
        workers: most trainings side by side; None takes the CPUs there are.
        address: of a Ray cluster; None starts a private one.
        verbose: tell what is going on, on stderr.
        settings: further ones of ``nas.train.tuned.settings.TuneSettings``: trials (20 by default), repeats, bounds ...
    Returns: what ``netwright tune --json`` prints, see docs/commands.md, but for the folder.
    Raises: InvalidConfig, InvalidRecipe, InvalidArchitecture, InvalidDataset, InvalidPlacement, InvalidTorchDevice,
        OtherTuning, TrainingDiverged, RunFileError, RayUnavailable.
    """
    from nas.spec import Spec, load_spec
    from nas.train.recipe import Recipe
    from nas.train.torch_device import check_torch_device
    from nas.train.trials.engine import Placement
    from nas.train.tuned.run import tune_in
    from nas.train.tuned.settings import TuneSettings
    from nas.train.tuned.tuning import Tuning

    check_torch_device(device, "tune: device")
    placement = Placement(engine, workers, address)
    asked = checked(TuneSettings, {"trials": 20, **settings}, "tune")
    if asked.trials < 2:
        raise InvalidConfig(f"tune: trials={asked.trials}, expected at least 2")
    given = recipe if isinstance(recipe, Recipe) else Recipe.from_dict(recipe or {})
    found = load_spec(spec) if isinstance(spec, str) else Spec(spec)
    if (source := data or found.data) is None:
        raise InvalidConfig('tune: which images? give data, for example data="digits"')
    tuning = Tuning(found.arch, source, given, asked, seed, device, test=True)
    with _narrator(verbose) as narrator:
        return tune_in(Path(out), tuning, placement, narrator)


def save_pretrained(
    network: Network,
    directory: str | Path,
    *,
    data: str | None = None,
    like: str | Path | None = None,
    batch: int | None = 1,
) -> ExportReport:
    """Write a network as config.json, model.safetensors, model.onnx, network.py and a model card.

    ``from_pretrained`` reads the folder back, also that of a compressed network. The ONNX file is checked against the
    network; the folder appears complete or not at all.

    Args:
        network: trained; of ``from_pretrained``, ``search_spaces.build.build``, or what compression made of it.
        directory: must not exist, be empty, or hold an earlier export.
        data: the dataset that it is for, as for ``nas.train.data.load_dataset``.
        like: instead of ``data``, an export that is for the same images.
        batch: images per call of the ONNX file; None leaves it open.
    Returns: what was written, with the size of every file in bytes and the parity of the ONNX file.
    Raises: ExportFailed: also for neither or both of ``data`` and ``like``; InvalidDataset, InvalidPretrained,
        ParityFailed.
    """
    from nas.export.errors import ExportFailed
    from nas.export.pretrained import load_task
    from nas.export.pretrained import save_pretrained as save

    if (data is None) == (like is None):
        raise ExportFailed(f"save_pretrained: got data={data!r} and like={like!r}, expected one of the two")
    if data is not None:
        from nas.train.data import load_dataset

        task = load_dataset(data).task
    else:
        task = load_task(Path(str(like)))
    return save(Path(directory), network, task=task, batch=batch)


def from_pretrained(directory: str | Path) -> Network:
    """The network of an exported folder, in evaluation mode on the CPU; raises InvalidPretrained."""
    from nas.export.pretrained import from_pretrained as load

    return load(Path(directory))


def _narrator(verbose: bool) -> Silent:
    return Narrator() if verbose else Silent()
