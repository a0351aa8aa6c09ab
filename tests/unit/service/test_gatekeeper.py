"""Who gets in: names of the host, origins, tokens, rates and sizes."""

import pytest
from fastapi.testclient import TestClient

from nas.service.app import create_app
from nas.service.settings import ServiceSettings

TOKEN = "a-token-of-some-length"
HEALTH, RUNS = "/api/v1/health", "/api/v1/runs"


def client(tmp_path, **settings):
    app = create_app(ServiceSettings(root=tmp_path, **settings))
    return TestClient(app, base_url="http://127.0.0.1", follow_redirects=False)


def test_a_token_opens_by_header_or_by_the_cookie_of_the_page(tmp_path):
    with client(tmp_path, token=TOKEN) as door:
        assert door.get(HEALTH).status_code == 200
        assert door.get(RUNS).status_code == door.get("/").status_code == 401
        assert door.get(RUNS, headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
        assert door.get(RUNS, headers={"authorization": f"Bearer {TOKEN}x"}).status_code == 401
        assert door.get("/?token=wrong").status_code == 401
        entered = door.get(f"/?token={TOKEN}")
        assert (entered.status_code, entered.headers["location"]) == (303, "/")
        assert "HttpOnly" in entered.headers["set-cookie"]
        assert door.get(RUNS).status_code == 200  # with the cookie


def test_other_names_of_the_host_and_other_pages_are_refused(tmp_path):
    with client(tmp_path) as door:
        assert door.get(RUNS, headers={"host": "evil.example"}).status_code == 421
        assert door.get(RUNS, headers={"host": "127.0.0.1@evil.example"}).status_code == 421
        assert door.get(RUNS, headers={"host": "localhost:8000"}).status_code == 200
        for broken in ("[::1", "[foo]", "["):
            assert door.get(HEALTH, headers={"host": broken}).status_code == 421
            assert door.post(RUNS, json={}, headers={"origin": f"http://{broken}"}).status_code == 403
        answer = door.post(RUNS, json={"config": {}}, headers={"origin": "http://evil.example"})
        assert answer.status_code == 403
        assert answer.json()["error"]["field"] == "Origin"


def test_what_is_too_large_or_too_often_is_refused(tmp_path):
    with client(tmp_path, body_bytes=100, requests_per_second=1.0) as door:
        assert door.post(RUNS, content=b"x" * 101).status_code == 413
        assert door.post(RUNS, content=iter([b"x" * 60, b"x" * 60])).status_code == 411
        found = [door.get(HEALTH).status_code for _ in range(10)]
        assert found == [200] * 8 + [429] * 2


@pytest.mark.parametrize("length", ["-1", "many", "9" * 30])
def test_odd_lengths_are_refused(tmp_path, length):
    with client(tmp_path) as door:
        assert door.post(RUNS, headers={"content-length": length}).status_code in (400, 413)
