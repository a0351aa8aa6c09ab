"""The card of a predictor: one file, everything in it escaped, every section there."""

import re

import numpy as np
import pandas as pd
import pytest

from nas.fitting import Asked, fit_table
from nas.fitting.card import write_card
from nas.fitting.card.page import render
from nas.fitting.learner import Learner
from nas.fitting.table import Columns

SECTIONS = ("ranks", "parity", "errors", "calibration", "curve", "choice", "conditions")
EVIL = '<script>alert("1")</script>'


def frame(n=50, target="top1"):
    rng = np.random.default_rng(0)
    ops = rng.choice(["conv", "pool", "skip"], (n, 4))
    labels = (ops == "conv").sum(axis=1) + rng.normal(0, 0.3, n)
    return pd.DataFrame({f"op{i}": ops[:, i] for i in range(4)} | {"constant": 1.0, target: labels})


@pytest.fixture(scope="module")
def fitted():
    return fit_table(frame(), Asked(Columns("top1"), Learner("ridge"), learning_curve=True))


def test_every_section_and_its_charts(fitted):
    page = render(fitted.facts, fitted.plots)
    assert re.findall(r'<section id="(\w+)"', page) == list(SECTIONS)
    assert page.count("<svg") == 10
    assert page.count('class="point"') == 100
    assert fitted.facts["verdict"][1:] in page
    assert "constant" in page
    assert "always 1" in page
    assert ">nan" not in re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)


def test_nothing_from_outside_and_nothing_that_runs(fitted):
    page = render(fitted.facts, fitted.plots)
    assert "<script" not in page
    assert re.findall(r'(?:src|href)="(?!#)', page) == []
    assert "url(" not in page
    assert "default-src 'none'" in page
    assert "prefers-color-scheme: dark" in page


def test_names_from_the_table_are_escaped():
    evil = fit_table(frame(target=EVIL), Asked(Columns(EVIL), Learner("ridge")))
    page = render(evil.facts, evil.plots)
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_the_same_facts_give_the_same_bytes(fitted, tmp_path):
    one, two = (write_card(fitted.facts, fitted.plots, tmp_path / name) for name in ("a.html", "b/c.html"))
    assert one.read_bytes() == two.read_bytes()
    assert [path.name for path in two.parent.iterdir()] == ["c.html"]


def test_a_fit_that_knows_nothing_has_a_card_too():
    few = frame(10)
    few["top1"] = np.random.default_rng(5).permutation(few["top1"])
    found = fit_table(few, Asked(Columns("top1"), Learner("ridge"), folds=2))
    page = render(found.facts, found.plots)
    assert "Not worth it yet" in page
    assert "Left out: not asked for" in page


def test_many_networks_are_drawn_in_part():
    large = frame(1_700)
    found = fit_table(large, Asked(Columns("top1"), Learner("ridge"), folds=2))
    assert (found.plots["parity"]["drawn"], found.plots["parity"]["rows"]) == (1_500, 1_700)
    assert "1500 of 1700 rows are drawn" in render(found.facts, found.plots)
