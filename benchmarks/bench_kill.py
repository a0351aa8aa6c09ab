"""The kill test: the real command, killed with SIGKILL at random moments of its whole job, resumed to the end.

The job searches, races two finalists, trains, exports and reports in under two seconds; what it decides is a function
of the seed. Each point kills a new run at a moment drawn uniformly over the time of an untouched one, in three of ten
cases its resumption too, reads the run while it is dead, resumes it and compares all: every row, the Pareto set, the
winner, its weights and its figures on the test images. ``--store postgresql://…`` keeps the runs on a server.
Run: ``python benchmarks/bench_kill.py --points 200`` (about seven minutes on an idle machine).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter

from json_line import REPOSITORY, emit

sys.path.insert(0, str(REPOSITORY / "tests"))
from commands import CommandServer
from kill_points import KillPoints, rng_of

PARTS = ("rows", "front", "best", "weights", "stages")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--points", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--store", help="postgresql://user@host/database; password by PGPASSWORD")
    asked = parser.parse_args()
    alike: Counter[str] = Counter()
    stages: Counter[str] = Counter()
    seconds: list[float] = []
    kills = whole = 0
    with tempfile.TemporaryDirectory() as folder, CommandServer(folder) as server:
        points = KillPoints(server, folder, ("--store", asked.store) if asked.store else ())
        for number in range(asked.points):
            started = time.monotonic()
            found, moments, stood = points.point(f"run{number}", rng_of(1000 * asked.seed + number))
            seconds.append(time.monotonic() - started)
            kills += len(moments)
            stages[stood[-1]] += 1
            same = [getattr(found, name) == getattr(points.untouched, name) for name in PARTS]
            alike.update(name for name, yes in zip(PARTS, same, strict=True) if yes)
            whole += all(same)
            if not all(same):
                print(f"point {number} (killed after {moments} s at {stood}) ended otherwise", file=sys.stderr)
        facts = {"points": asked.points, "kills": kills, "job_seconds": round(points.seconds, 2)}
    facts |= {"killed_after": dict(stages.most_common()), "store": "postgresql" if asked.store else "file"}
    emit("kill_resumed_identically", [whole / asked.points], "share", **facts, whole=whole, alike=dict(alike))
    emit("kill_seconds_a_point", seconds, "s", **facts)


if __name__ == "__main__":
    main()
