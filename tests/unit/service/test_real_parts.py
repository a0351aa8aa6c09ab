"""Devices and predictors as owners have them: a table measured elsewhere, a predictor as `fit` writes it."""

import csv
import json
import math

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from report_runs import finished_run

from hardware.counts import count
from hardware.kernels import kernels_of
from hardware.plan import PLAN, RESULTS, read_results, write_plan
from hardware.rows import network_from_dict, piece_from_dict
from nas.fitting import Asked, fit_table
from nas.fitting.learner import Learner
from nas.fitting.predictor_file import write_predictor
from nas.fitting.table import Columns
from nas.run import NothingFeasible, Run
from nas.service.app import create_app
from nas.service.settings import ServiceSettings
from search_spaces import SPACES
from search_spaces.arch import Architecture, Block
from search_spaces.expand import expand

SPACE, SHAPE = SPACES["zen-tiny"], (1, 8, 8)
BEST = "/api/v1/runs/digits/best"


def law_ms(kernels):
    return 0.02 + sum(kernel.macs / 4e6 + kernel.traffic / 3e7 + 0.004 for kernel in kernels)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """What ``device export`` writes of a phone whose latencies follow a law."""
    folder = tmp_path_factory.mktemp("plan") / "phone"
    write_plan(folder, SPACE, SHAPE, 10, pieces=60, networks=14)
    content = json.loads((folder / PLAN).read_text())["rows"]
    with (folder / RESULTS).open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        kernels = _kernels(content.get(row["id"]))
        row["latency_ms"] = "0.02" if kernels is None else f"{law_ms(kernels):.6f}"
    with (folder / RESULTS).open("w", newline="") as file:
        writer = csv.DictWriter(file, ["id", "model", "latency_ms"])
        writer.writeheader()
        writer.writerows(rows)
    return read_results(folder / RESULTS, "phone")


def _kernels(content):
    if content is None:
        return None
    content = {**content, "latency_ms": math.nan}
    return (piece_from_dict if content.pop("what") == "piece" else network_from_dict)(content).kernels()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    finished_run(root / "digits")
    with (
        pytest.MonkeyPatch.context() as patch,
        TestClient(
            create_app(ServiceSettings(root=root, requests_per_second=0)), base_url="http://127.0.0.1"
        ) as client,
    ):
        patch.setenv("NETWRIGHT_CACHE", str(tmp_path_factory.mktemp("cache")))
        client.root = root
        yield client


def true_ms(arch):
    return law_ms(kernels_of(expand(arch, SHAPE, 10)))


def test_an_uploaded_device_is_shown_predicts_and_bounds_the_best(server, table):
    answer = server.post("/api/v1/devices", content=table.to_json())
    assert (answer.status_code, answer.json()["name"]) == (201, "phone")
    assert answer.json()["rows"] == sum(1 for _ in table.rows())
    again = server.post("/api/v1/devices", content=table.to_json())  # merged: no row is there twice
    assert again.json() == answer.json()
    [row] = server.get("/api/v1/devices").json()["devices"]
    assert (row["name"], row["measured_here"], row["problem"]) == ("phone", False, None)
    assert server.get("/api/v1/devices/phone").json()["rows"]["pieces"] == len(table.pieces)
    assert server.post("/api/v1/devices?name=other", content=table.to_json()).json()["name"] == "other"

    rng = np.random.default_rng(5)
    archs = [SPACE.sample(rng) for _ in range(20)]
    body = {"archs": [arch.to_dict() for arch in archs], "input_shape": SHAPE, "space": "zen-tiny", "device": "phone"}
    rows = server.post("/api/v1/predict", json=body).json()["rows"]
    errors = [abs(row["latency_ms"] / true_ms(arch) - 1) for row, arch in zip(rows, archs, strict=True)]
    assert np.median(errors) < 0.05
    assert all(row["latency_upper_ms"] > row["latency_ms"] for row in rows)

    free = server.get(f"{BEST}?device=phone&latency_ms=1000").json()
    tight = server.get(f"{BEST}?device=phone&latency_ms={free['latency_upper_ms'] * 0.8}").json()
    assert free["score"] == server.get(BEST).json()["score"] > tight["score"]
    assert tight["device"] == "phone"
    assert tight["latency_upper_ms"] <= free["latency_upper_ms"] * 0.8
    assert tight["latency_ms"] == pytest.approx(true_ms(Architecture.from_dict(tight["arch"])), rel=0.2)
    both = server.get(f"{BEST}?device=phone&latency_ms=1000&params={free['params'] - 1}").json()
    assert both["params"] < free["params"]
    none = server.get(f"{BEST}?device=phone&latency_ms=0.001")
    assert none.status_code == 404
    assert "on phone; the smallest has" in none.json()["error"]["rule"]
    with Run.open(server.root / "digits") as run:
        assert run.best_on("phone", 1000.0)["id"] == free["id"]
        with pytest.raises(NothingFeasible, match=r"none of the 1 best of [0-9]+ candidates has latency_ms of at most"):
            run.best_on("phone", 0.001, seconds=0.0)


def test_a_stored_predictor_predicts_the_accuracy_of_what_is_posted(server):
    widths = [(a, b, k) for a in (16, 24, 32, 40, 48) for b in (16, 32, 48, 64, 80) for k in (3, 5)]
    archs = [
        Architecture((Block("conv", 8), Block("zen_xx", a, kernel=k, inner=8), Block("zen_xx", b, stride=2, inner=8)))
        for a, b, k in np.random.default_rng(7).permutation(widths).tolist()
    ]
    top1 = [60 + 5 * math.log10(count(arch, SHAPE, 10).params) for arch in archs]
    frame = pd.DataFrame({"arch": [arch.to_json() for arch in archs], "top1": top1})
    fitted = fit_table(frame[:35], Asked(Columns("top1"), Learner("ridge"), folds=2))
    write_predictor(fitted, server.root / "predictors" / "accuracy.predictor")
    body = {"archs": [arch.to_dict() for arch in archs[35:]], "input_shape": SHAPE, "predictor": "accuracy"}
    rows = server.post("/api/v1/predict", json=body).json()["rows"]
    predicted = [row["predicted"] for row in rows]
    assert np.corrcoef(predicted, top1[35:])[0, 1] > 0.8
    assert all(row["predicted_low"] <= row["predicted"] <= row["predicted_high"] for row in rows)
    assert server.post("/api/v1/predict", json=body).json()["rows"] == rows
    unlike = server.post("/api/v1/predict", json={**body, "archs": [SPACE.seed.to_dict()]})
    assert unlike.status_code == 422
    assert unlike.json()["error"]["field"] == "archs"
    (server.root / "predictors" / "broken.predictor").write_text("no predictor")
    broken = server.post("/api/v1/predict", json={**body, "predictor": "broken"})
    assert broken.status_code == 422
    assert "not a predictor" in broken.json()["error"]["rule"]
    assert str(server.root) not in broken.text
    unknown = server.post("/api/v1/predict", json={**body, "predictor": "none"})
    assert "known: accuracy, broken" in unknown.json()["error"]["rule"]
