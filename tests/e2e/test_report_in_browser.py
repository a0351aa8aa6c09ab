"""The report in a real browser: it renders, runs nothing, asks nobody."""

from __future__ import annotations

import http.server
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from report_runs import finished_run, settings

from nas.report import write_report
from nas.run import Run

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium on the PATH; apt-get install chromium")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--enable-logging=stderr",
)  # fmt: skip
EVIL = '"><img src=x onerror="document.title=\'owned\'"><script>document.title="owned"</script>'


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """A server of the folder that notes every path that is asked for."""
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, directory=str(tmp_path), **kwargs)  # type: ignore[arg-type]

        def log_message(self, format: str, *args: object) -> None:
            asked.append(self.path)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as served:
        thread = threading.Thread(target=served.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{served.server_port}", asked
        served.shutdown()
        thread.join()


def browse(address: str, profile: Path) -> tuple[str, str]:
    """The page after loading, and what the browser logged."""
    assert BROWSER is not None
    command = [BROWSER, *FLAGS, f"--user-data-dir={profile}", "--dump-dom", address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, done.stderr


def test_the_report_loads_without_script_errors_or_requests(tmp_path: Path, server: tuple[str, list[str]]) -> None:
    address, asked = server
    with Run.open(finished_run(tmp_path / "run", config=settings(data=EVIL))) as run:
        write_report(run, tmp_path / "report.html")
    page, log = browse(f"{address}/report.html", tmp_path / "profile")
    assert set(asked) <= {"/report.html", "/favicon.ico"}
    assert "/report.html" in asked
    assert "CONSOLE" not in log
    assert page.count("<section") == 9
    assert page.count("<svg") >= 16
    assert "<title>run · netwright</title>" in page
    assert "owned" in page
    assert "<script" not in page


def test_the_check_would_notice_a_script(tmp_path: Path, server: tuple[str, list[str]]) -> None:
    """The same browser does run a script, ask for an image and log errors where a page has them."""
    address, asked = server
    (tmp_path / "bad.html").write_text(f"<title>a</title>{EVIL}<script>console.error('x'); nowhere()</script>")
    page, log = browse(f"{address}/bad.html", tmp_path / "profile")
    assert "<title>owned</title>" in page
    assert "CONSOLE" in log
    assert "/x" in asked
