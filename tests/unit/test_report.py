"""The report as a whole: what it says, what it leaves out, what it escapes, and how large it is."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from report_runs import (
    finished_run,
    large_run,
    latency_table,
    record_delivery,
    record_finalists,
    record_guard,
    searched,
    settings,
)

from nas.config import Config
from nas.report import write_report
from nas.run import Run
from nas.store import FILE_NAME, RunStore

SECTIONS = ["pareto", "progress", "architecture", "waterfall", "finalists", "training", "verdict", "guard", "reproduce"]
EVIL = '<script>alert("x")</script><img src=x onerror=alert(1)>'
VOID = {"meta", "br", "img", "link", "input"}


class Page(HTMLParser):
    """Elements, texts by section, and whether all tags close."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.sections: dict[str, str] = {}
        self.section = "head"
        self.feed(source)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "section":
            self.section = str(dict(attrs)["id"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.sections[self.section] = self.sections.get(self.section, "") + data

    def names(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def report(directory: Path) -> str:
    with Run.open(directory) as run:
        return write_report(run, directory / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> str:
    return report(finished_run(tmp_path_factory.mktemp("full")))


def test_the_sections_come_in_order_and_none_is_left_out(full: str) -> None:
    page = Page(full)
    assert [section["id"] for section in page.names("section")] == SECTIONS
    assert "Left out" not in full


def test_the_headline_holds_verdict_interval_accuracy_and_guard(full: str) -> None:
    head = Page(full).sections["head"]
    for said in (
        "Budget kept",
        "0.180 ms (95 % interval 0.176 to 0.185 ms)",
        "98.05 % ± 0.76 %",
        "359",
        "the search helped",
    ):
        assert said in head


def test_the_page_needs_nothing_from_outside_and_holds_no_script(full: str) -> None:
    page = Page(full)
    used = {name for name, _ in page.tags}
    assert not used & {"script", "link", "img", "iframe", "object", "image", "use"}
    assert not re.search(r"url\(|@import", full)
    assert all(str(a["href"]).startswith("#") for a in page.names("a"))
    assert not [key for _, attributes in page.tags for key in attributes if key.startswith("on")]


def test_every_chart_has_a_label_and_a_table_behind_it(full: str) -> None:
    page = Page(full)
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in page.names("svg"))
    for section in SECTIONS[:-1]:
        inside = full[full.index(f'id="{section}"') :].partition("</section>")[0]
        assert "<table" in inside or section == "architecture"


def test_no_coordinate_is_missing(full: str) -> None:
    assert not re.search(r'="(nan|inf|-inf)|[ML ](nan|inf)', full)


def test_the_waterfall_sums_to_the_prediction(tmp_path: Path) -> None:
    from nas.report.blocks import block_rows

    with Run.open(finished_run(tmp_path)) as run:
        arch = run.architecture(run.events("winner")[0]["id"])
        counts = run.result(run.events("winner")[0]["id"])
    table = latency_table()
    rows = block_rows(arch, table.input_shape, table.num_classes, table)
    assert sum(row.latency_ms or 0 for row in rows) == pytest.approx(table.estimate(arch).mean_ms)
    assert sum(row.params for row in rows) == counts["params"]
    assert sum(row.macs for row in rows) == counts["macs"]
    assert max(row.peak_memory_bytes for row in rows) == counts["peak_memory_bytes"]


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    assert report(run) == report(run)


def test_what_the_run_says_is_escaped(tmp_path: Path) -> None:
    config = settings(data=EVIL, space=EVIL)
    run = finished_run(tmp_path / "<script>alert(2)", config=config)
    source = report(run)
    page = Page(source)
    assert not page.names("script")
    assert not page.names("img")
    assert "&lt;script&gt;alert" in source
    assert EVIL in page.sections["head"]


def test_a_search_without_latency_budget_plots_macs_and_says_what_is_missing(tmp_path: Path) -> None:
    config = settings(constraints={"params": "300k"}, train=False)
    with searched(tmp_path, config, None) as store:
        store.record("finished", {"summary": {"best": {"id": 5}, "verdict": "not trained"}})
    page = Page(report(tmp_path))
    assert "Searched, not trained" in page.sections["head"]
    assert "Score against MACs" in page.sections["pareto"]
    assert "Without a latency table" in page.sections["waterfall"]
    assert "Left out: the run was told not to train." in page.sections["training"]
    assert "Left out: nothing was exported" in page.sections["verdict"]
    assert "Left out: without a latency budget" in page.sections["guard"]


def test_an_unfinished_search_is_reported_with_its_best_so_far(tmp_path: Path) -> None:
    with searched(tmp_path, settings(search={"evaluations": 200}), latency_table()):
        pass
    page = Page(report(tmp_path))
    assert "Unfinished run" in page.sections["head"]
    assert "looked at 200 of 200 candidates" in page.sections["head"]
    assert "The best candidate so far" in page.sections["architecture"]
    assert "Left out: no finalist has been measured" in page.sections["finalists"]


def test_a_run_without_any_candidate_is_reported(tmp_path: Path) -> None:
    with RunStore.create(tmp_path / FILE_NAME, {"config": settings().to_dict()}):
        pass
    page = Page(report(tmp_path))
    assert "Nothing feasible yet" in page.sections["head"]
    assert "Left out" in page.sections["pareto"]
    assert "netwright resume" in page.sections["reproduce"]


def test_a_missed_budget_and_an_unhelpful_search_are_said_plainly(tmp_path: Path) -> None:
    with searched(tmp_path, settings(), latency_table()) as store:
        record_finalists(store, 0.2)
        record_delivery(store, 0.25, 0.2)
        record_guard(store, 0.25, "the search did not help: -1.00 points against the best baseline")
    page = Page(report(tmp_path))
    assert "Budget missed" in page.sections["head"]
    assert "the search did not help" in page.sections["head"]
    assert "The search did not help" in page.sections["guard"]
    assert "note-box grave" in (tmp_path / "report.html").read_text()


def test_the_guard_may_be_off(tmp_path: Path) -> None:
    with searched(tmp_path, settings(guard={"seeds": 0}), latency_table()) as store:
        record_finalists(store, 0.2)
        record_delivery(store, 0.18, 0.2)
    page = Page(report(tmp_path))
    assert "turned off" in page.sections["guard"]
    assert "Budget kept" in page.sections["head"]


def test_a_table_of_another_release_leaves_a_report_that_says_so(tmp_path: Path) -> None:
    facts = {"config": settings().to_dict(), "task": {"input_shape": [1, 8, 8], "num_classes": 10}}
    with searched(tmp_path / "a", settings(), latency_table()) as store:
        results = list(store.results())
    with RunStore.create(tmp_path / FILE_NAME, {**facts, "latency_table": '{"version": 0}'}) as store:
        store.append(results)
    assert "schema version 0" in Page(report(tmp_path)).sections["waterfall"]


def test_diverged_trainings_and_failed_finalists_are_shown(tmp_path: Path) -> None:
    with searched(tmp_path, settings(), latency_table()) as store:
        winner = record_finalists(store, 0.2, raced=1)
        failed = next(row["id"] for row in store.table() if row["id"] != winner)
        store.record(
            "finalist",
            {"id": failed, "curve": [], "top1": None, "epochs": 0, "stopped_early": True, "failure": "loss is nan"},
        )
        rows = [{"name": n, "latency_ms": 0.1, "params": 1e4, "macs": 1e5, "top1": []} for n in ("searched", "other")]
        store.record("guard", {"result": {"latency_ms": 0.1, "rows": rows, "verdict": "no comparison"}})
    page = Page(report(tmp_path))
    assert "failed: loss is nan" in page.sections["finalists"]
    assert "diverged" in page.sections["guard"]


def test_the_time_of_the_search_is_shown_when_it_is_known(tmp_path: Path) -> None:
    with searched(tmp_path, settings(search={"evaluations": 100}), latency_table()) as store:
        store.record("searched", {"candidates": 60, "seconds": 1.0})
        store.record("searched", {"candidates": 40, "seconds": 1.0})
    assert "2.00 s, 50 a second" in Page(report(tmp_path)).sections["head"]


@pytest.mark.parametrize("candidates", [20_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_the_page_stays_small_however_many_candidates(tmp_path: Path, candidates: int) -> None:
    source = report(large_run(tmp_path, candidates))
    assert len(source.encode()) < 200_000
    assert f"{candidates:,}" in source


def test_an_older_report_is_replaced_whole(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "run")
    target = tmp_path / "deep" / "report.html"
    target.parent.mkdir()
    target.write_text("old")
    with Run.open(run) as opened:
        assert write_report(opened, target) == target
    assert target.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert [path.name for path in target.parent.iterdir()] == ["report.html"]


def test_the_printed_configuration_is_the_one_of_the_run(full: str) -> None:
    printed = full[full.index('aria-label="run.yaml') :].partition(">")[2].partition("</pre>")[0]
    assert Config.from_dict(yaml.safe_load(html.unescape(printed))) == settings()


def test_the_choices_of_a_transformer_are_in_words():
    from nas.report.blocks import block_rows
    from search_spaces.autoformer import Sizes, transformer

    rows = block_rows(transformer(Sizes((2,), 8, 16), 2, 32, [(1, 2.0), (3, 1.0)]), (1, 8, 8), 10, None)
    assert [row.detail for row in rows] == [
        "patches 2×2, positions 8×8",
        "1 head of 16, hidden 64",
        "3 heads of 16, hidden 32",
        "of each position",
        "10 classes",
    ]
