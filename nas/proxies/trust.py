"""The trust report from start to end: choose networks, score and train them, write what was found. Resumable."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from nas.config import InvalidConfig
from nas.limits import gates_of
from nas.narrator import Silent
from nas.objective import Objective
from nas.proxies.choice import choose_networks
from nas.proxies.findings import describe_findings
from nas.proxies.settings import FEWEST, TrustSettings
from nas.proxies.work import Job, Outcome, estimate_seconds, score_here, score_on_ray, train, without_test
from nas.records import COUNTS, Candidate
from nas.runners.ray_session import RayUnavailable, available_cpus, start_ray
from nas.store import RunStore
from nas.train.entrant import Entrant
from nas.train.recipe import Recipe
from nas.train.trials.engine import Placement
from search_spaces import default_space, load_space
from search_spaces.arch import Architecture

FILE_NAME = "trust.sqlite"
REPORT = "trust.json"
TABLE = "networks.csv"
WORK = "work"  # checkpoints; gone when it has finished
SERIAL_BELOW_SECONDS = 20.0  # Ray needs about ten seconds to start
Engine = Literal["auto", "serial", "ray"]


def judge_proxies(
    settings: TrustSettings,
    directory: Path,
    narrator: Silent,
    *,
    engine: Engine = "auto",
    workers: int | None = None,
    address: str | None = None,
) -> dict[str, Any]:
    """Make the report in a folder, or go on with it; an interruption loses no training but those under way.

    Args:
        settings: what is asked.
        directory: gets ``trust.sqlite`` (every outcome as it comes), ``trust.json`` and ``networks.csv``.
        narrator: told what is going on.
        engine: "auto" takes Ray when the work exceeds 20 s and there are two CPUs or an address.
        workers: most jobs side by side; None takes the CPUs there are.
        address: of a Ray cluster.
    Returns: what ``trust.json`` holds.
    Raises: InvalidConfig, InvalidDataset, UnknownSpace, UnknownScore, NothingFeasible, RunFileError, RayUnavailable.
    """
    with _open(settings, directory, narrator) as store:
        networks = [Candidate(row["id"], Architecture.from_dict(row["arch"]), None, row["metrics"])
                    for row in store.fact("networks")]  # fmt: skip
        shape = tuple(store.fact("input_shape"))
        jobs = _jobs(settings, networks, shape)
        done = _outcomes(store)

        def on_done(job: Job, outcome: Outcome) -> None:
            store.record(job.kind, {"id": job.id, "network": job.network, "outcome": outcome})
            done[job.key] = outcome
            narrator.update(_tell(job, outcome, done, jobs), len(done) / len(jobs))

        if any(job.key not in done for job in jobs):
            _work(jobs, done, on_done, directory / WORK, Placement(engine, workers, address), narrator)
            narrator.done()
        report = describe_findings(settings, store.fact("space"), shape, networks, jobs, done)
    _write(directory, report)
    shutil.rmtree(directory / WORK, ignore_errors=True)
    return report


@contextmanager
def _open(settings: TrustSettings, directory: Path, narrator: Silent) -> Any:
    """The file of this report, a new one with the networks chosen, or the one that an interruption left."""
    path = directory / FILE_NAME
    if path.exists():
        with RunStore.open(path, writable=True) as store:
            asked = json.loads(json.dumps(settings.to_dict()))
            if (found := store.fact("settings")) != asked:
                names = [name for name in asked if found is None or found.get(name) != asked[name]]
                raise InvalidConfig(
                    f"{directory}: holds a trust report of other settings ({', '.join(names)}); choose another --out"
                )
            narrator.say(f"going on in {directory}")
            yield store
        return
    facts = _facts(settings, narrator)
    with RunStore.create(path, facts) as store:
        yield store


def _facts(settings: TrustSettings, narrator: Silent) -> dict[str, Any]:
    dataset = without_test(settings.data, settings.images)
    name = default_space(dataset.input_shape[1]) if settings.space == "auto" else settings.space
    space = load_space(name)
    Recipe.from_dict({**settings.recipe, "epochs": settings.epochs})
    for score in settings.scores:
        Objective(score, dataset.input_shape, settings.seed).scorer()
    gates = gates_of(
        settings.limits, space=space, space_name=name, device=settings.device, input_shape=dataset.input_shape,
        num_classes=dataset.num_classes, where="proxies trust",
    )  # fmt: skip
    if not gates.constraints:
        narrator.say("no limits given: networks of all sizes are trained; give the limits of your search")
    chosen = choose_networks(space, gates, wanted=settings.networks, seed=settings.seed)
    if len(chosen) < FEWEST:
        raise InvalidConfig(
            f"proxies trust: only {len(chosen)} networks found within the limits, expected at least {FEWEST}; "
            "loosen them"
        )
    if len(chosen) < settings.networks:
        narrator.say(f"only {len(chosen)} networks found within the limits")
    rows = [{"id": i, "arch": c.arch.to_dict(), "metrics": dict(c.metrics)} for i, c in enumerate(chosen)]
    return {
        "settings": settings.to_dict(),
        "space": name,
        "input_shape": list(dataset.input_shape),
        "networks": rows,
    }


def _jobs(settings: TrustSettings, networks: Sequence[Candidate], shape: tuple[int, int, int]) -> list[Job]:
    """All work: the scores of each network, its training, and the repeated trainings."""
    recipe = Recipe.from_dict({**settings.recipe, "epochs": settings.epochs}).to_dict()
    objectives = [Objective(name, shape, settings.seed).bound().to_dict() for name in settings.scores]
    count = len(networks)
    again = sorted({round((i + 0.5) * count / settings.repeats - 0.5) for i in range(min(settings.repeats, count))})
    jobs = [
        Job("scores", n.id, n.id, {"id": n.id, "arch": n.arch.to_dict(), "objectives": objectives}) for n in networks
    ]
    for identity, network in [*((n.id, n) for n in networks), *((count + i, networks[i]) for i in again)]:
        entrant = Entrant(identity, network.arch.to_dict(), settings.data, recipe, settings.seed)
        payload = {"entrant": entrant.to_dict(), "images": settings.images}
        jobs.append(Job("training", identity, network.id, payload))
    return jobs


def _outcomes(store: RunStore) -> dict[tuple[str, int], Outcome]:
    return {(kind, event["id"]): event["outcome"] for kind in ("scores", "training") for event in store.events(kind)}


def _work(
    jobs: Sequence[Job],
    done: Mapping[tuple[str, int], Outcome],
    on_done: Callable[[Job, Outcome], None],
    folder: Path,
    placement: Placement,
    narrator: Silent,
) -> None:
    """Do what is not done: here, or the scores as Ray tasks and the trainings under Ray Tune, in one session."""
    left = [job for job in jobs if job.key not in done]
    if placement.engine == "ray" or (placement.engine == "auto" and _ray_pays(left, placement, narrator)):
        try:
            with start_ray(placement.address, placement.workers):
                _do(jobs, done, on_done, folder, replace(placement, engine="ray"))
            return
        except RayUnavailable as error:
            if placement.engine == "ray":
                raise
            narrator.say(f"{error}")
    _do(jobs, done, on_done, folder, replace(placement, engine="serial"))


def _do(
    jobs: Sequence[Job],
    done: Mapping[tuple[str, int], Outcome],
    on_done: Callable[[Job, Outcome], None],
    folder: Path,
    placement: Placement,
) -> None:
    scores = [job for job in jobs if job.kind == "scores" and job.key not in done]
    if placement.engine == "ray":
        score_on_ray(scores, on_done, workers=placement.workers, address=placement.address)
    else:
        score_here(scores, on_done)
    trainings = [job for job in jobs if job.kind == "training"]
    train(trainings, [at for at, job in enumerate(trainings) if job.key in done], folder, placement, on_done)


def _ray_pays(jobs: Sequence[Job], placement: Placement, narrator: Silent) -> bool:
    """Whether the trainings take long enough; says so in one line."""
    cores, seconds = placement.workers or available_cpus(), estimate_seconds(jobs)
    alone = placement.address is None and (seconds < SERIAL_BELOW_SECONDS or cores == 1)
    trainings = sum(job.kind == "training" for job in jobs)
    narrator.say(
        f"{trainings} trainings, about {seconds:.0f} s on one core, {cores} core(s): {'serial' if alone else 'ray'}"
    )
    return not alone


def _tell(job: Job, outcome: Outcome, done: Mapping[Any, Any], jobs: Sequence[Job]) -> str:
    what = f"network {job.network}"
    if job.kind == "training":
        what += f": top-1 {outcome['top1']:.3f}" if outcome["top1"] is not None else f": {outcome['failure']}"
    return f"trust: {len(done)} of {len(jobs)} jobs, {what}"


def _write(directory: Path, report: Mapping[str, Any]) -> None:
    """Both files, each there completely or not at all."""
    draft = directory / f".{REPORT}"
    draft.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    draft.replace(directory / REPORT)
    names = list(report["networks"][0]["scores"])
    columns = ["id", "digest", *COUNTS, "top1", "top1_again", "failure", "training_seconds", *names]
    draft = directory / f".{TABLE}"
    with draft.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        for row in report["networks"]:
            writer.writerow({**row, **row["metrics"], **row["scores"]})
    draft.replace(directory / TABLE)
