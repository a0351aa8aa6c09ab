"""The exported page is one file that holds what it shows."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from report_runs import finished_run, settings

from nas.cli.page import page
from nas.run import Run
from nas.views import pareto
from nas.views.document import STATIC, bundle, document

EVIL = "</script><script>alert(1)</script><!--"


def test_every_module_is_bundled_once_and_after_what_it_needs():
    text = bundle("app")
    names = re.findall(r"^const module_(\w+) = ", text, re.MULTILINE)
    assert sorted(names) == sorted(path.stem for path in STATIC.glob("*.js"))
    assert not re.search(r"^(import|export) ", text, re.MULTILINE)
    for name in names:
        uses = re.findall(r"from \"\./(\w+)\.js\"", (STATIC / f"{name}.js").read_text())
        assert all(names.index(used) < names.index(name) for used in uses)


def test_it_holds_the_front_and_cannot_be_broken_out_of(tmp_path: Path):
    with Run.open(finished_run(tmp_path / "run", config=settings(data=EVIL))) as run:
        html = document(run)
        front = [row["id"] for row in pareto(run)["rows"]]
    assert EVIL not in html
    assert html.count("</script>") == html.count("<script") == 2
    assert 'src="' not in html
    held = json.loads(re.search(r'<script type="application/json" id="views">(.*)</script>', html)[1])
    assert held["run"] == "run"
    assert held["views"]["runs/run"]["data"] == EVIL
    assert {f"runs/run/candidates/{i}" for i in front} <= held["views"].keys()


@pytest.mark.parametrize("out", [None, "deep/er/page.html"])
def test_the_command_writes_it_whole(tmp_path: Path, out):
    finished_run(tmp_path / "run", config=settings(search={"evaluations": 40, "population": 16}))
    place = tmp_path / out if out else tmp_path / "run" / "page.html"
    done = CliRunner().invoke(page, [str(tmp_path / "run"), *(["--out", str(place)] if out else [])])
    assert done.exit_code == 0, done.output
    assert done.output.strip() == str(place)
    assert place.read_text().startswith("<!doctype html>")
    assert [path.name for path in place.parent.iterdir() if path.suffix in (".part", ".html")] == ["page.html"]


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path):
    finished_run(tmp_path / "run", config=settings(search={"evaluations": 40, "population": 16}))
    (tmp_path / "file").write_text("")
    done = CliRunner().invoke(page, [str(tmp_path / "run"), "--out", str(tmp_path / "file" / "page.html")])
    assert done.exit_code == 2
    assert "cannot be written" in done.output
