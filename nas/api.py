"""The Python face of the main job."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.config import Config, merge
from nas.narrator import Narrator, Silent
from nas.run import Run, new_directory

if TYPE_CHECKING:
    from nas.export.pretrained import ExportReport
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
