"""A run on one screen, and in one line of a list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nas.config import Config
from nas.records import METRICS
from nas.run import Run
from nas.store.sampling import FAILURES, last_id, rows_of
from nas.views.digest import Digest, digest_of
from nas.views.plain import as_view, plain
from nas.views.stages import stages

Event = dict[str, Any]
SAID = 20  # of what becomes of the workers
FINALIST = ("top1", "epochs", "stopped_early", "failure")


def listing(run: Run) -> dict[str, Any]:
    """A run in one line, without a look at its candidates.

    Returns: "name", "data", "space", "device", "budget_ms", "score", "asked", "candidates", "started", "changed",
        "verdict", "latency_ms" and "top1" of the winner, "winner", "finished"; JSON-ready.
    """
    config = run.config
    verified, test, winner = (_last(run, kind) for kind in ("verified", "test", "winner"))
    return as_view(
        {
            "name": run.directory.name,
            **_asked(config),
            "candidates": last_id(run.store) + 1,
            "changed": _changed(run),
            "verdict": verified["verdict"] if verified else None,
            "latency_ms": _measured(verified).get("latency_ms"),
            "top1": test["top1"] if test else None,
            "winner": winner["id"] if winner else None,
            "finished": bool(run.events("finished")),
        }
    )


def overview(run: Run) -> dict[str, Any]:
    """Everything that the first screen of a run shows but the points.

    Returns: "name", "directory", "config", "task", "constraints", "also", "stages", "candidates", "outcomes",
        "feasible_share", "limits" and "failures" (by count), "progress", "throughput", "best", "improvements",
        "engine" (what became of workers on a cluster, oldest first), "winner", "finalists", "measured", "epochs",
        "test", "verification", "guard", "summary", "finished"; JSON-ready.
    """
    config, digest = run.config, digest_of(run)
    with digest.lock:
        facts = _of_candidates(run, config, digest)
    verified, guard = _last(run, "verified"), _last(run, "guard")
    winner = _last(run, "winner")
    known = rows_of(run.store, [i for i in (facts["best_id"], winner["id"] if winner else None) if i is not None])
    return as_view(
        {
            "name": run.directory.name,
            "directory": run.directory.name,
            "config": config.to_dict() | {"store": None},
            **_asked(config),
            "task": run.store.fact("task"),
            "constraints": [{"metric": c.metric, "at_most": c.at_most} for c in config.constraints.constraints()],
            "also": [{"device": one.device, "at_most": one.latency} for one in config.also],
            "changed": _changed(run),
            "stages": stages(run, config),
            "engine": [{"time": event["time"], "said": event["said"]} for event in run.events("engine")[-SAID:]],
            **{key: value for key, value in facts.items() if key != "best_id"},
            "best": known.get(facts["best_id"]),
            "winner": known.get(winner["id"]) if winner else None,
            "finalists": finalists(run),
            "epochs": _epochs(run),
            "test": _last(run, "test"),
            "verification": verified,
            "guard": guard["result"] if guard else None,
            "summary": run.summary(),
            "finished": bool(run.events("finished")),
        }
    )


def finalists(run: Run) -> list[dict[str, Any]]:
    """Candidates that were measured or raced, highest score first, with what was found."""
    measured = {event["id"]: event for event in run.events("measured")}
    raced = {event["id"]: event for event in run.events("finalist")}
    winner = _last(run, "winner")
    rows = rows_of(run.store, sorted(measured.keys() | raced.keys()))
    found = []
    for i, row in rows.items():
        m, r = measured.get(i), raced.get(i)
        found.append(
            {
                **{name: row[name] for name in ("id", *METRICS)},
                "measured": _measured(m) or None,
                "within": m["within"] if m else None,
                "raced": r is not None,
                **{name: r.get(name) if r else None for name in FINALIST},
                "curve": [report["validation_top1"] for report in r.get("curve", ())] if r else [],
                "winner": bool(winner and winner["id"] == i),
            }
        )
    ranked: list[dict[str, Any]] = plain(sorted(found, key=lambda row: (-(row["score"] or 0.0), row["id"])))
    return ranked


def _of_candidates(run: Run, config: Config, digest: Digest) -> dict[str, Any]:
    outcomes = dict(digest.outcomes)
    done, failed = digest.last + 1, sum(outcomes.get(kind, 0) for kind in FAILURES)
    scored, rejected = outcomes.get("scored", 0), outcomes.get("rejected", 0)
    new = scored + failed + rejected
    return {
        "cost": digest.cost or ("latency_ms" if config.constraints.latency else "macs"),
        "candidates": done,
        "outcomes": outcomes,
        "feasible_share": (scored + failed) / new if new else None,
        "limits": [{"metric": name, "count": count} for name, count in digest.limits.most_common()],
        "failures": [{"outcome": o, "reason": r, "count": n} for (o, r), n in digest.failures.most_common(10)],
        **_speed(run, config, digest),
        "improvements": digest.improvements[-400:],
        "front": len(digest.front.ids),
        "best_id": digest.best[1] if digest.best else None,
    }


def _speed(run: Run, config: Config, digest: Digest) -> dict[str, Any]:
    """Progress and rate: as seen while the file grew, else as the run recorded them."""
    searched, clock = run.events("searched"), run.events("clock")
    done, asked = digest.last + 1, config.search.evaluations
    spent = sum(event["seconds"] for event in searched)
    ended = any(event.get("complete") for event in searched)
    rate = None if ended else digest.rate()
    source = "seen" if rate else None
    if rate is None and spent:
        rate, source = sum(event["candidates"] for event in searched) / spent, "recorded"
    eta = None if ended or not rate else max(0, asked - done) / rate
    limit = config.search.seconds
    if eta is not None and limit is not None:
        eta = min(eta, max(0.0, limit - max([spent, *(event["seconds"] for event in clock)])))
    return {
        "progress": {"done": done, "asked": asked, "share": 1.0 if ended else min(1.0, done / asked)},
        "throughput": {"per_second": rate, "source": source, "seconds": spent or None, "eta_seconds": eta},
    }


def _asked(config: Config) -> dict[str, Any]:
    return {
        "data": config.data,
        "space": config.space,
        "device": config.device,
        "budget_ms": config.constraints.latency,
        "score": config.search.score,
        "algorithm": config.search.algorithm,
        "asked": config.search.evaluations,
        "seed": config.seed,
    }


def _epochs(run: Run) -> list[Event]:
    """Of the final training, one an epoch; a resumed training recorded the later one."""
    by_number = {event["epoch"]: event for event in run.events("epoch")}
    keys = ("epoch", "train_loss", "validation_loss", "validation_top1", "seconds")
    return [{key: by_number[number].get(key) for key in keys} for number in sorted(by_number)]


def _measured(event: Event | None) -> dict[str, Any]:
    """The figures of a measurement without its bursts."""
    found = (event or {}).get("measurement") or {}
    names = ("latency_ms", "low_ms", "high_ms", "p50_ms", "p95_ms", "runs", "verdict", "reason")
    return {name: found[name] for name in names if name in found}


def _changed(run: Run) -> float | None:
    """When the run file was last written, in seconds since 1970."""
    path = Path(run.store.path)
    files = [path, path.with_name(f"{path.name}-wal")]
    return max((file.stat().st_mtime for file in files if file.exists()), default=None)


def _last(run: Run, kind: str) -> Event | None:
    found = run.events(kind)
    return found[-1] if found else None
