"""The real commands: a table becomes a file, the file predicts and draws its card; bad input is one line."""

import csv
import io
import shutil
import subprocess

import numpy as np
import pytest

ARCHS = 40


@pytest.fixture(scope="module")
def table(place):
    rng = np.random.default_rng(0)
    widths = rng.choice([8, 16, 32], (ARCHS, 5))
    accuracy = 0.5 + 0.05 * np.log2(widths).mean(axis=1) + rng.normal(0, 0.002, ARCHS)
    lines = [f"{'-'.join(map(str, row))},{(row**2).sum()},{label}" for row, label in zip(widths, accuracy, strict=True)]
    (place / "nets.csv").write_text("\n".join(["arch,macs,accuracy", *lines]))
    (place / "holes.csv").write_text("arch,accuracy\n1-2,0.5\n2-1,\n2-2,0.6\n")
    (place / "same.csv").write_text("arch,accuracy\n" + "".join(f"{i}-2,0.5\n" for i in range(9)))
    return "nets.csv"


@pytest.fixture(scope="module")
def fitted(server, place, table):
    args = ("fit", table, "--target", "accuracy", "--folds", "5", "--time-limit", "0.5")
    ended = server.run(*args, "--out", "nets.predictor", "--card", "nets.html", "--json", cwd=place)
    return ended.json()


def test_fit_prints_one_object_and_writes_both_files(fitted, place):
    assert fitted["kendall"] > 0.6
    assert {"spearman", "rmse", "baseline_kendall", "model", "encoder"} <= set(fitted)
    assert (fitted["file"], fitted["card"]) == ("nets.predictor", "nets.html")
    assert (place / "nets.html").read_text().startswith("<!DOCTYPE html>")


def test_predict_prints_csv_and_nothing_else(fitted, server, place):
    ended = server.run("predict", "nets.predictor", "nets.csv", "--top", "4", cwd=place)
    assert ended.code == 0, ended.err
    rows = list(csv.DictReader(io.StringIO(ended.out)))
    assert len(rows) == 4
    values = [float(row["predicted"]) for row in rows]
    assert values == sorted(values, reverse=True)
    assert all(float(row["predicted_low"]) < float(row["predicted_high"]) for row in rows)


def test_the_report_needs_the_file_alone(fitted, server, place):
    ended = server.run("predictor", "report", "nets.predictor", "--out", "again.html", "--json", cwd=place)
    assert ended.json()["kendall"] == fitted["kendall"]
    assert (place / "again.html").read_bytes() == (place / "nets.html").read_bytes()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("fit", "none.csv", "--target", "accuracy"), "no such file"),
        (("fit", "nets.csv", "--target", "acuracy"), "did you mean 'accuracy'"),
        (("fit", "nets.csv", "--target", "arch"), "expected numbers"),
        (("fit", "nets.csv", "--target", "accuracy", "--features", "accuracy"), "that is the target"),
        (("fit", "nets.csv", "--target", "accuracy", "--folds", "41"), "40 labelled networks for 41 folds"),
        (("fit", "nets.csv", "--target", "accuracy", "--model", "forest"), "expected one of auto"),
        (("fit", "holes.csv", "--target", "accuracy"), "line 3 of the file is missing"),
        (("fit", "same.csv", "--target", "accuracy"), "all 9 labels are 0.5"),
        (("predict", "nets.csv", "nets.csv"), "not a predictor"),
        (("predict", "nets.predictor", "holes.csv"), "no column 'macs', which the predictor needs"),
        (("predictor", "report", "nets.csv", "--out", "x.html"), "--target"),
    ],
)
def test_bad_input_is_one_line_and_code_2(fitted, server, place, args, said):
    ended = server.run(*args, cwd=place)
    assert ended.code == 2
    assert ended.out == ""
    (line,) = ended.err.splitlines()
    assert said in line


BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(BROWSER is None, reason="no chromium on the PATH; apt-get install chromium")
def test_the_card_in_a_browser(fitted, place, tmp_path):
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--enable-logging=stderr")
    command = [BROWSER, *flags, f"--user-data-dir={tmp_path}", "--dump-dom", (place / "nets.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in done.stderr
    assert done.stdout.count("<section") == 7
    assert "<title>predictor of accuracy · netwright</title>" in done.stdout
