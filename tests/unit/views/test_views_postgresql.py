"""Views of a run whose rows are on a server are those of the same run in a file."""

from __future__ import annotations

from pathlib import Path

import pytest
from postgresql_server import PASSWORD, PostgresServer, missing
from report_runs import latency_table, searched, settings

from nas import views
from nas.run import Run
from nas.store import FILE_NAME, RunStore

pytestmark = [pytest.mark.slow, pytest.mark.skipif(missing() is not None, reason=str(missing()))]


def test_a_server_gives_what_a_file_gives(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    here, there = tmp_path / "here" / "run", tmp_path / "there" / "run"
    searched(here, settings(search={"evaluations": 400}), latency_table()).close()
    with PostgresServer() as server, Run.open(here) as run:
        facts = {name: run.store.fact(name) for name in ("config", "task", "latency_table")}
        with RunStore.create(there / FILE_NAME, facts, server.url) as store:
            store.append(list(run.store.results()))
        with Run.open(there) as other:
            for view in (views.scatter, views.pareto, views.page, lambda r: views.page(r, "scored", "score", 20, None)):
                assert view(other) == view(run)
            chosen = views.pareto(run)["rows"][-1]["id"]
            assert views.candidate(other, chosen) == views.candidate(run, chosen)
            apart = ("directory", "changed", "throughput")
            a, b = (views.overview(each) for each in (other, run))
            assert {k: v for k, v in a.items() if k not in apart} == {k: v for k, v in b.items() if k not in apart}
