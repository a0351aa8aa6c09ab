"""The routes over a folder with a finished run: what is answered, and what is refused with field, value and rule."""

import json
import threading
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from report_runs import finished_run

from nas.run import Run
from nas.service import run_routes
from nas.service.app import create_app
from nas.service.settings import ServiceSettings
from nas.store import FILE_NAME, RunStore
from search_spaces import SPACES

RUN = "/api/v1/runs/digits"
TINY = {"data": "digits", "space": "zen-tiny", "search": {"evaluations": 50}, "constraints": {"params": "60k"}}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    found = tmp_path_factory.mktemp("root")
    finished_run(found / "digits")
    return found


@pytest.fixture(scope="module")
def server(root):
    settings = ServiceSettings(root=root, requests_per_second=0)
    with TestClient(create_app(settings), base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        yield client


def refused(answer, status, field=None, words=""):
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"field", "value", "rule"}
    assert field is None or error["field"] == field
    assert words in error["rule"]
    return True


def test_runs_are_listed_and_shown(server):
    [row] = server.get("/api/v1/runs").json()["runs"]
    assert (row["name"], row["state"], row["job"]) == ("digits", "finished", None)
    whole = server.get(RUN).json()
    assert whole["state"] == "finished"
    assert whole["verification"]["verdict"] == row["verdict"] == "kept"


@pytest.mark.parametrize("view", ["scatter", "pareto", "predictors", "candidates", "compare?ids=0,1", "candidates/0"])
def test_every_view_answers(server, view):
    assert server.get(f"{RUN}/{view}").status_code == 200


def test_candidates_come_in_pages_that_join_without_gap(server):
    first = server.get(f"{RUN}/candidates?limit=10&sort=score").json()
    second = server.get(f"{RUN}/candidates?limit=10&sort=score&after={first['next']}").json()
    both = server.get(f"{RUN}/candidates?limit=20&sort=score").json()
    assert first["rows"] + second["rows"] == both["rows"]


def test_best_keeps_the_limit_that_it_is_given(server):
    free = server.get(f"{RUN}/best").json()
    tight = server.get(f"{RUN}/best?params={free['params'] - 1}").json()
    assert tight["params"] < free["params"]
    assert tight["score"] <= free["score"]
    assert tight["arch"]["blocks"]
    assert refused(server.get(f"{RUN}/best?params=1"), 404, words="the smallest has")


def test_wrong_requests_name_field_and_rule(server):
    assert refused(server.get(f"{RUN}/best?param=1"), 422, "param", "did you mean 'params'?")
    assert refused(server.get(f"{RUN}/best?params=nan"), 422, "params")
    assert refused(server.get(f"{RUN}/best?params=1&params=2"), 422, "params", "twice")
    assert refused(server.get(f"{RUN}/best?device=onnxruntime"), 422, "latency_ms")
    assert refused(server.get(f"{RUN}/candidates?sort=scor"), 422, "sort", "did you mean 'score'?")
    assert refused(server.get(f"{RUN}/candidates?outcome=good"), 422, "outcome", "expected one of scored")
    assert refused(server.get(f"{RUN}/best?device=nophone&latency_ms=1"), 422, "device", "nophone")
    assert refused(server.get("/api/v1/devices/nophone"), 404, "name", "nophone")
    assert refused(server.get(f"{RUN}/candidates?limit=0"), 422, "limit")
    classes = {"archs": ["SuperConvK3BNRELU(3,8,1,1)"], "num_classes": True}
    assert refused(server.post("/api/v1/predict", json=classes), 422, "num_classes")
    assert refused(server.get(f"{RUN}/candidates/{2**70}"), 422, "candidate")
    assert refused(server.get(f"{RUN}/candidates/99999"), 404, "candidate")
    assert refused(server.get(f"{RUN}/compare?ids=1,99999"), 404, "candidate")
    assert refused(server.get("/api/v1/runs/none"), 404, "run")
    assert refused(server.get("/api/v1/none"), 404, "path")
    as_json = {"content-type": "application/json"}
    assert refused(server.post("/api/v1/runs", content=b"{", headers=as_json), 422, "body", "not JSON")
    for broken in (b'{"archs": ["\xff"]}', b"[" * 200_000, b"9" * 5_000):
        assert refused(server.post("/api/v1/predict", content=broken, headers=as_json), 400, "body", "JSON in UTF-8")
    assert refused(
        server.post("/api/v1/runs", content=b"{}", headers={"content-type": "text/plain"}), 422, "Content-Type"
    )
    unlimited = {"config": {**TINY, "constraints": {}}}
    assert refused(server.post("/api/v1/runs", json=unlimited), 422, "config.constraints", "give latency, params")
    for table in (b"{}", b"[]", b"5", b"null", '{"version": 1}'.encode("utf-16")):
        assert refused(server.post("/api/v1/devices", content=table, headers=as_json), 422, "body", "netwright device")
    assert refused(server.post("/api/v1/runs", json={"config": TINY, "nam": "x"}), 422, "nam")
    assert refused(
        server.post("/api/v1/runs", json={"config": {"dat": "digits"}}), 422, "config.dat", "did you mean 'data'?"
    )
    for name in ("%00", "a" * 3_000):
        assert refused(server.get(f"/api/v1/devices/{name}"), 404)
    for at, settings in {
        "recipe.epochs": {"recipe": {"epochs": -1}},
        "search.evaluations": {"search": {"evaluations": 0}},
        "space": {"space": "zen-tin"},
        "device": {"device": "onx"},
    }.items():
        assert refused(server.post("/api/v1/estimate", json={"config": {**TINY, **settings}}), 422, f"config.{at}")
    assert refused(server.post("/api/v1/runs", json={"config": TINY, "name": "../x"}), 422, "name")
    assert refused(server.post("/api/v1/runs", json={"config": TINY, "name": "digits"}), 409, "name")
    assert refused(server.post(f"{RUN}/pause"), 409, "run", "is finished")
    assert refused(server.post(f"{RUN}/resume"), 409, "run", "is finished")
    assert refused(server.delete(RUN), 405)


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"data": "mine:load"}, "data"),
        ({"data": "/etc"}, "data"),
        ({"space": "mine:Space"}, "space"),
        ({"search": {"score": "mine:score"}}, "search.score"),
        ({"search": {"score": "ensemble", "ensemble": "trust.json"}}, "search.ensemble"),
        ({"device": "command:run=reboot"}, "device"),
        ({"engine": {"address": "10.0.0.1:6379"}}, "engine.address"),
        ({"store": "postgresql://somewhere/db"}, "store"),
        ({"callbacks": ["mine:Callback"]}, "callbacks.0"),
    ],
)
def test_code_files_and_servers_need_permission(server, settings, field):
    for route in ("runs", "estimate"):
        answer = server.post(f"/api/v1/{route}", json={"config": {**TINY, **settings}})
        assert refused(answer, 403, f"config.{field}", "--allow-custom-code")


def test_head_is_get_without_its_body(server):
    for path in ("/", "/api/v1/health", f"{RUN}/artifacts/run.sqlite"):
        asked, told = server.get(path), server.head(path)
        assert (told.status_code, told.content) == (200, b"")
        assert told.headers["content-type"] == asked.headers["content-type"]


def test_looking_on_other_devices_leaves_threads_to_others(server, monkeypatch):
    monkeypatch.setattr(run_routes, "_LOOKING", threading.BoundedSemaphore(1))
    assert run_routes._LOOKING.acquire(blocking=False)
    asked = f"{RUN}/best?device=t4&latency_ms=1"
    assert refused(server.get(asked), 429, "device", "ask again later")
    run_routes._LOOKING.release()
    for _ in range(3):
        assert server.get(asked).status_code == 200
        assert refused(server.get(f"{RUN}/best?device=t4&latency_ms=0.0001"), 404, "latency_ms")


def test_files_of_a_run_and_nothing_else(server, root, tmp_path):
    listed = {each["path"]: each for each in server.get(f"{RUN}/artifacts").json()["artifacts"]}
    assert {"run.sqlite"} <= set(listed)
    (root / "digits" / "out.json").symlink_to(Path("/etc/passwd"))
    (tmp_path / "secret.json").write_text("{}")
    (root / "digits" / "away").symlink_to(tmp_path)
    again = {each["path"] for each in server.get(f"{RUN}/artifacts").json()["artifacts"]}
    assert again == set(listed)
    for path in ("out.json", "away/secret.json", "..%2F.service%2Fjobs.sqlite", "%2Fetc%2Fpasswd", "run.sqlite.lock"):
        assert refused(server.get(f"{RUN}/artifacts/{path}"), 404, "path")
    for name in (".service", "..", "%2e%2e", "digits%2F..%2Fdigits"):
        assert server.get(f"/api/v1/runs/{name}/artifacts").status_code == 404
    for name in ("out.json", "away"):
        (root / "digits" / name).unlink()


def test_costs_of_posted_networks(server):
    arch = SPACES["zen-tiny"].seed
    text = "SuperConvK3BNRELU(3,8,1,1)SuperResK3K3(8,16,1,8,1)"
    body = {"archs": [arch.to_dict(), text], "input_shape": [3, 32, 32], "num_classes": 10}
    first, second = server.post("/api/v1/predict", json=body).json()["rows"]
    assert first["digest"] == arch.digest
    assert second["params"] == 2354
    assert refused(server.post("/api/v1/predict", json={"archs": [{"blocks": []}]}), 422, "archs.0")
    assert refused(server.post("/api/v1/predict", json={"archs": []}), 422, "archs")
    assert refused(server.post("/api/v1/predict", json={**body, "device": "onnxruntime"}), 422, "space")
    nowhere = {"space": "zen-tiny", "device": "nophone"}
    assert refused(server.post("/api/v1/predict", json={**body, **nowhere}), 422, "device", "nophone")
    assert refused(server.post("/api/v1/predict", json={**body, "predictor": "none"}), 404, "predictor")
    assert refused(server.post("/api/v1/predict", json={**body, "predictor": "../x"}), 422, "predictor")
    wrong = {**body, "device": "command:run=reboot", "space": "zen-tiny"}
    assert refused(server.post("/api/v1/predict", json=wrong), 403, "device")


def test_an_estimate_says_what_a_search_would_meet(server):
    found = server.post("/api/v1/estimate", json={"config": {**TINY, "constraints": {"params": "400k"}}}).json()
    assert 0 < found["feasible_share"] < 1
    assert found["seconds"]["total"] > 0


def test_a_table_is_uploaded_once_it_is_one(server, monkeypatch, tmp_path):
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path))
    assert refused(server.post("/api/v1/devices", content=b"[1, 2"), 422, "body")
    assert refused(server.post("/api/v1/devices", json={"rows": []}), 422, "body")
    assert server.get("/api/v1/devices").json() == {"devices": []}
    assert server.get("/api/v1/devices/none").status_code in (404, 422)


def test_the_schema_describes_every_route_with_a_summary(server):
    schema = server.get("/api/openapi.json").json()
    routes = [route for verbs in schema["paths"].values() for route in verbs.values()]
    assert len(routes) >= 20
    assert all(route["summary"] for route in routes)
    assert json.dumps(schema)


def test_every_answer_is_described(server):
    schema = server.get("/api/openapi.json").json()
    for path, verbs in schema["paths"].items():
        for route in verbs.values():
            [(status, answer)] = [each for each in route["responses"].items() if each[0] in ("200", "201")]
            if path.endswith(("/stream", "{path}")):
                continue
            assert answer["content"]["application/json"]["schema"]["$ref"], (path, status)


def test_nothing_says_where_the_runs_are(server, root):
    asked = [RUN, "/api/v1/runs", f"{RUN}/best", f"{RUN}/best?params=1", f"{RUN}/candidates/99999", f"{RUN}/artifacts"]
    assert server.get(RUN).json()["directory"] == "digits"
    for path in asked:
        assert str(root) not in server.get(path).text, path


def test_best_is_found_anew_as_a_run_grows(tmp_path):
    finished_run(tmp_path / "whole")
    with Run.open(tmp_path / "whole") as run:
        results = list(run.store.results())
        facts = {name: run.store.fact(name) for name in ("config", "task")}
        limit = float(np.median(run.candidates()["params"]))
    app = create_app(ServiceSettings(root=tmp_path, requests_per_second=0))
    with RunStore.create(tmp_path / "grown" / FILE_NAME, facts) as store:
        client = TestClient(app, base_url="http://127.0.0.1")
        assert refused(client.get("/api/v1/runs/grown/best"), 404, "limits", "no candidate was scored")
        for at in range(0, 600, 150):
            store.append(results[at : at + 150])
            store.commit()
            for limits in ({}, {"params": limit}, {"params": limit, "latency_ms": 0.15}):
                found = client.get("/api/v1/runs/grown/best", params=limits)
                with Run.open(tmp_path / "grown") as run:
                    table = run.candidates()
                within = table[table["params"] <= limits.get("params", np.inf)]
                within = within[within["latency_upper_ms"] <= limits.get("latency_ms", np.inf)]
                if within.empty:
                    assert refused(found, 404, "limits")
                    continue
                expected = within.sort_values(["score", "id"], ascending=[False, True]).iloc[0]
                assert (found.json()["id"], found.json()["score"]) == (expected["id"], expected["score"])


WRONG = (
    ("get", "/api/v1/runs/digits/best?params=1e999", None),
    ("get", "/api/v1/runs/digits/best?params=-1", None),
    ("get", "/api/v1/runs/digits/best?params=9" + "9" * 400, None),
    ("get", "/api/v1/runs/digits/best?latency_ms=1&device=%F0%9F%9A%80", None),
    ("get", "/api/v1/runs/digits/best?latency_ms=1&device=" + "x" * 3000, None),
    ("get", "/api/v1/runs/digits/best?latency_ms=1&device=onnxruntime:threads=999999999999", None),
    ("get", "/api/v1/runs/digits/candidates?after=99999999999999999999", None),
    ("get", "/api/v1/runs/digits/compare?ids=999999999999999", None),
    ("get", "/api/v1/runs/" + "x" * 3000, None),
    ("get", "/api/v1/runs/%F0%9F%9A%80", None),
    ("get", "/api/v1/runs/%FF%00", None),
    ("post", "/api/v1/runs/" + "x" * 3000 + "/resume", None),
    ("get", "/api/v1/runs/digits/artifacts/" + "x" * 3000, None),
    ("get", "/api/v1/devices/" + "x" * 300, None),
    ("post", "/api/v1/runs", '{"config": {"data": "digits", "space": "zen-tiny\\ud800"}}'),
    ("post", "/api/v1/runs", '{"config": {"data": "digits", "seed": 1e400}}'),
    ("post", "/api/v1/runs", '{"config": {"data": "digits", "seed": NaN}}'),
    ("post", "/api/v1/runs", '{"config": {"data": "digits", "search": {"evaluations": -1}}}'),
    ("post", "/api/v1/runs", '{"config": {"data": "digits", "search": {"evaluations": 1' + "0" * 5000 + "}}}"),
    ("post", "/api/v1/runs", '{"config": {"constraints": {"params": "\\u0661\\u0662M\\u0000"}}}'),
    ("post", "/api/v1/runs", '{"config": {"search": {"score": "zem"}}}'),
    ("post", "/api/v1/runs", '{"config": {"device": "onnxruntim"}}'),
    ("post", "/api/v1/runs", "[" * 100_000),
    ("post", "/api/v1/runs", '{"name": "\\ud800", "config": {}}'),
    ("post", "/api/v1/estimate", '{"config": {"space": "\\ud800"}}'),
    ("post", "/api/v1/predict", '{"archs": ["\\ud800"]}'),
    ("post", "/api/v1/predict", '{"archs": [{"version": 1, "blocks": [{"kind": "conv", "channels": 1e999}]}]}'),
    ("post", "/api/v1/predict", '{"archs": [{"version": 1, "blocks": [{"kind": "\\ud800", "channels": 8}]}]}'),
    ("post", "/api/v1/predict", '{"archs": ["SuperConvK3BNRELU(3,' + "9" * 5000 + ',1,1)"]}'),
    ("post", "/api/v1/predict", '{"archs": ["SuperConvK3BNRELU(3,8,1,1)"], "space": "\\ud800", "device": "x"}'),
    ("post", "/api/v1/predict", '{"archs": ["SuperConvK3BNRELU(3,8,1,1)"], "space": "zen-tiny", "device": "\\ud800"}'),
    ("post", "/api/v1/predict", '{"archs": ["SuperConvK3BNRELU(3,8,1,1)"], "coverage": NaN}'),
    ("post", "/api/v1/predict", '{"archs": ["SuperConvK3BNRELU(3,8,1,1)"], "input_shape": [3, 1e300, 2]}'),
    ("post", "/api/v1/devices", '{"rows": [NaN]}'),
    ("post", "/api/v1/devices", '{"name": "\\ud800", "version": 1}'),
)


@pytest.mark.parametrize(("verb", "path", "body"), WRONG, ids=range(len(WRONG)))
def test_what_is_odd_is_refused_in_words(server, monkeypatch, tmp_path, verb, path, body):
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path))
    content = {} if body is None else {"content": body, "headers": {"content-type": "application/json"}}
    answer = server.request(verb, path, **content)
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.json()["error"]["rule"]


def test_the_page_is_served_and_asks_nobody_else(server):
    page = server.get("/")
    assert page.status_code == 200
    assert page.headers["content-security-policy"].startswith("default-src 'self'")
    assert server.get("/static/app.js").status_code == 200
    assert server.get("/static/../app.py").status_code == 404
