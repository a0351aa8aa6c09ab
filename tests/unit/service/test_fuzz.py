"""Whatever is asked, the answer is never 5xx: requests made up from the schema by schemathesis."""

import json
from collections import Counter

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from report_runs import finished_run
from schemathesis.core.transport import Response
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from nas.service.app import create_app
from nas.service.settings import ServiceSettings

CHECKS = (status_code_conformance, content_type_conformance, response_schema_conformance)
pytestmark = pytest.mark.filterwarnings("default")


def ask(client, case):
    """Send a case of schemathesis; runs that exist are asked for in half of the cases."""
    path = case.formatted_path
    parameters = {key: str(value) for key, value in (case.query or {}).items()}
    body = case.body if isinstance(case.body, dict | list) else None
    return client.request(case.method, path, params=parameters, json=body)


@pytest.mark.slow
def test_no_request_is_answered_with_a_server_error(tmp_path, monkeypatch):
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path / "cache"))
    finished_run(tmp_path / "root" / "digits")
    app = create_app(ServiceSettings(root=tmp_path / "root", requests_per_second=0))
    client = TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)
    schema = schemathesis.openapi.from_dict(app.openapi())
    asked, answered = 0, Counter()
    for operation in schema.get_all_operations():
        found = operation.ok()
        if found.path.endswith("/stream"):
            continue

        @given(case=found.as_strategy(), known=st.booleans())
        @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
        def send(case, known):
            nonlocal asked
            if known and "run" in (case.path_parameters or {}):
                case.path_parameters["run"] = "digits"
            answer = ask(client, case)
            asked += 1
            assert answer.status_code < 500, (case.method, case.formatted_path, answer.text)
            if answer.status_code >= 400:
                assert set(answer.json()["error"]) == {"field", "value", "rule"}
            answered[answer.status_code] += 1
            case.validate_response(Response.from_any(answer), checks=CHECKS)

        send()
    assert asked > 500
    assert answered[200] > 100


@given(text=st.text(max_size=200) | st.binary(max_size=200))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_body_and_any_query_is_refused_in_the_same_shape(door, text):
    content = text.encode() if isinstance(text, str) else text
    for path in ("runs", "predict", "estimate", "devices"):
        answer = door.post(f"/api/v1/{path}", content=content, headers={"content-type": "application/json"})
        assert 400 <= answer.status_code < 500
        assert json.loads(answer.content)["error"]["rule"]
    answer = door.get("/api/v1/runs/none/best", params={"params": text})
    assert answer.status_code in (404, 422)


@pytest.fixture(scope="module")
def door(tmp_path_factory):
    app = create_app(ServiceSettings(root=tmp_path_factory.mktemp("root"), requests_per_second=0))
    return TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)
