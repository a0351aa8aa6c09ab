"""The page in a real browser: read, clicked, typed at, left alone by its server, and as a file of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import BROWSER, Browser
from page_server import PageServer
from report_runs import finished_run, searched, settings

from nas.loop import SearchLoop
from nas.objective import Objective
from nas.records import Budget
from nas.run import Run
from nas.runners.serial import SerialRunner
from nas.store import FILE_NAME, RunStore
from nas.views.document import write_page
from search_spaces import SPACES

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium on the PATH; apt-get install chromium")
EVIL = '"><img src=x onerror="document.title=\'owned\'"><script>document.title="owned"</script>'
WIDTH = "document.documentElement.scrollWidth"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    finished_run(root / "digits")
    return root


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def tab(browser: Browser) -> Browser:
    """The browser with a fresh page."""
    browser.size(1200)
    browser.dark(False)
    browser.open("about:blank")
    browser.problems.clear()
    browser.asked.clear()
    return browser


def extend(directory: Path, evaluations: int) -> None:
    """Let a search go on, as another process would."""
    config = settings(search={"evaluations": evaluations, "population": 64})
    from nas.algorithms.evolution import Evolution
    from nas.gates import Gates

    with RunStore.open(directory / FILE_NAME, writable=True) as store:
        gates = Gates((1, 8, 8), 10, config.constraints.constraints()[1:], None)
        search = Evolution(SPACES["zen-tiny"], seed=config.seed, population=64)
        SearchLoop(search, SerialRunner(Objective("zen", (1, 8, 8), 0)), store, gates, Budget(evaluations)).run()


def test_a_person_finds_the_winner_from_the_list(tab: Browser, runs: Path) -> None:
    with PageServer(runs) as server:
        tab.open(server.address)
        tab.settled()
        assert "budget kept" in tab.text()
        tab.evaluate("document.querySelector('tbody a').click()")
        tab.wait("!!document.querySelector('.plot svg .front')")
        assert "the budget of 0.2 ms is kept" in tab.text()
        tab.wait("document.querySelectorAll('.front-link').length > 10")
        assert tab.evaluate("document.querySelectorAll('.budget').length") == 1
        tab.evaluate("document.querySelector('tr.strong a').click()")
        tab.wait("location.hash.includes('/candidates/') && !!document.querySelector('.slab')")
        text = tab.text()
        for words in ("winner", "Cost of every block", "entropy", "Ancestors", "Of ", "specification (JSON)"):
            assert words in text
        assert tab.evaluate("document.querySelectorAll('.cell-bar').length") > 20
    assert tab.problems == []
    assert {address.split("/")[2] for address in tab.asked if address.startswith("http")} == {
        f"127.0.0.1:{server.port}"
    }


def test_every_view_fits_a_phone_in_the_dark(tab: Browser, runs: Path) -> None:
    tab.size(360)
    tab.dark(True)
    with PageServer(runs) as server, Run.open(runs / "digits") as run:
        winner = run.events("winner")[0]["id"]
        places = ("", "runs/digits", f"runs/digits/candidates/{winner}", f"runs/digits/compare?ids={winner},0")
        for place in (*places, "runs/digits/predictors", "devices", "new"):
            tab.open(f"{server.address}#/{place}")
            tab.settled()
            assert tab.evaluate(WIDTH) <= 360, place
        tab.open(f"{server.address}#/runs/digits")
        tab.settled()
        name = "onnxruntime:name=cpu,threads=1,batch=1,provider=openvino"
        for kind in ("h1", ".crumb", ".facts dd"):
            tab.evaluate(f"document.querySelector('{kind}').textContent = '{name}'")
            assert tab.evaluate(WIDTH) <= 360, kind
        colour = tab.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        assert colour == "rgb(20, 23, 27)"
        tab.evaluate("document.getElementById('theme').click()")
        assert tab.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
        tab.evaluate("localStorage.clear()")
    assert tab.problems == []


def test_the_front_is_walked_with_the_keyboard(tab: Browser, runs: Path) -> None:
    with PageServer(runs) as server:
        tab.open(f"{server.address}#/runs/digits")
        tab.wait("!!document.querySelector('.front-link')")
        tab.press("Tab")
        assert tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        for _ in range(40):
            if tab.evaluate("document.activeElement.classList.contains('front-link')"):
                break
            tab.press("Tab")
        first = tab.evaluate("document.activeElement.getAttribute('aria-label')")
        tab.press("ArrowRight")
        second = tab.evaluate("document.activeElement.getAttribute('aria-label')")
        assert first.startswith("candidate ")
        assert second.startswith("candidate ")
        assert first != second
        assert tab.evaluate("document.querySelector('.tip').hidden") is False
        tab.press("Enter")
        tab.wait("location.hash.includes('/candidates/')")
        tab.settled()
        assert second.split(":")[0].capitalize() in tab.text()


def test_candidates_are_compared_and_paged(tab: Browser, runs: Path) -> None:
    with PageServer(runs) as server:
        tab.open(f"{server.address}#/runs/digits")
        tab.wait("document.querySelectorAll('input[type=checkbox]').length > 2")
        tab.evaluate("[...document.querySelectorAll('input[type=checkbox]')].slice(0, 2).forEach((box) => box.click())")
        tab.evaluate(
            "[...document.querySelectorAll('#page a.button')].find((a) => a.textContent === 'Compare').click()"
        )
        tab.wait("document.querySelectorAll('.side .slab').length > 4")
        assert "2 candidates" in tab.text()
        tab.evaluate("history.back()")
        tab.wait("!!document.querySelector('details select')")
        tab.evaluate(
            "[...document.querySelectorAll('summary')].find((s) => s.textContent.startsWith('Search through')).click()"
        )
        tab.wait("document.body.innerText.includes('50 of 600')")
        tab.evaluate("[...document.querySelectorAll('button')].find((b) => b.textContent === 'More').click()")
        tab.wait("document.body.innerText.includes('100 of 600')")
    assert tab.problems == []


def test_a_growing_run_is_followed_and_steered(tab: Browser, tmp_path: Path) -> None:
    config = settings(search={"evaluations": 100, "population": 64}, constraints={"params": "300k"})
    searched(tmp_path / "runs" / "live", config, None).close()
    with PageServer(tmp_path / "runs") as server:
        server.states["live"] = "running"
        tab.open(f"{server.address}#/runs/live")
        tab.wait("document.body.innerText.includes('running')")
        tab.evaluate(
            "document.querySelector('details summary').click(), document.querySelector('.actions button').focus()"
        )
        extend(tmp_path / "runs" / "live", 260)
        tab.wait("[...document.querySelectorAll('.facts dd')].some((d) => d.textContent.startsWith('260'))")
        assert tab.evaluate("document.querySelector('details').open && document.activeElement.textContent") == "Pause"
        tab.evaluate("[...document.querySelectorAll('button')].find((b) => b.textContent === 'Pause').click()")
        tab.wait(
            "!!document.querySelector('h1 .state') && document.querySelector('h1 .state').textContent === 'paused'"
        )
        assert ("runs/live/pause", {}) in server.posted
    assert tab.problems == []


def test_a_search_in_the_queue_becomes_a_run(tab: Browser, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    with PageServer(tmp_path / "runs") as server:
        server.states["next"] = "queued"
        tab.open(f"{server.address}#/runs/next")
        tab.wait("document.body.innerText.includes('It waits for its turn')")
        assert "3 searches are before it" in tab.text()
        config = settings(search={"evaluations": 60}, constraints={"params": "300k"})
        searched(tmp_path / "hidden", config, None).close()
        (tmp_path / "hidden").rename(tmp_path / "runs" / "next")
        tab.wait("!!document.querySelector('.front-link')")
    assert tab.problems == []


def test_the_page_says_that_the_server_is_gone_and_comes_back(tab: Browser, runs: Path) -> None:
    with PageServer(runs) as server:
        tab.open(f"{server.address}#/runs/digits")
        tab.wait("!!document.querySelector('.front-link')")
    tab.wait("!document.getElementById('banner').hidden")
    assert "does not answer" in tab.text()
    assert tab.evaluate("!!document.querySelector('.front-link')")  # what was there stays
    with PageServer(runs, server.port):
        tab.wait("document.getElementById('banner').hidden")
        tab.settled()
        tab.wait("!!document.querySelector('.front-link')")


def test_a_search_is_estimated_before_it_is_started(tab: Browser, runs: Path) -> None:
    fill = (
        "(key, text) => { const e = document.getElementById('f-' + key); e.value = text; "
        "e.dispatchEvent(new Event('input', {bubbles: true})); }"
    )
    submit = "document.querySelector('form button[type=submit]').click()"
    with PageServer(runs) as server:
        tab.open(f"{server.address}#/new")
        tab.settled()
        tab.evaluate(f"({fill})('latency', ''), ({fill})('params', '100k'), ({fill})('space', 'zen-tinny'), {submit}")
        tab.wait("document.body.innerText.includes(\"did you mean 'zen-tiny'?\")")
        assert tab.evaluate("document.querySelector('button.primary').disabled")
        tab.evaluate(f"({fill})('space', 'zen-tiny'), ({fill})('name', 'digits'), {submit}")
        tab.wait("document.body.innerText.includes('random networks of zen-tiny keep the limits')")
        tab.evaluate("document.querySelector('button.primary').click()")
        tab.wait("location.hash === '#/runs/digits'")
        asked = dict(server.posted)["runs"]
        assert asked["name"] == "digits"
        assert asked["config"]["constraints"] == {"params": "100k"}
        assert asked["config"]["search"] == {"evaluations": 20000}


def test_wrong_addresses_say_so(tab: Browser, runs: Path) -> None:
    with PageServer(runs) as server:
        for place, words in (
            ("runs/nothing", "no run.sqlite there"),
            ("runs/digits/candidates/99999", "none of that id"),
            ("elsewhere", "There is no such page"),
        ):
            tab.open(f"{server.address}#/{place}")
            tab.wait(f"document.body.innerText.includes({words!r})")
            assert tab.evaluate("location.hash") == f"#/{place}"  # the address stays, to be mended
            assert "undefined" not in tab.text()


def test_the_page_goes_on_after_an_address_that_is_none(tab: Browser, runs: Path) -> None:
    with PageServer(runs) as server:
        tab.open(f"{server.address}#/")
        tab.settled()
        for wrong in ("#/nope", "#/runs/%E0%A4%A", "#/runs/digits/compare"):
            tab.evaluate(f"location.hash = '{wrong}'")
            tab.wait("document.body.innerText.includes('There is no such page.')")
            tab.evaluate("location.hash = '#/devices'")
            tab.wait("!document.body.innerText.includes('There is no such page.')")
            tab.settled()
            assert "Devices" in tab.text()


def test_the_exported_page_works_from_a_disk_and_runs_nothing_of_the_data(tab: Browser, tmp_path: Path) -> None:
    finished_run(tmp_path / "a run & more", config=settings(data=EVIL))
    with Run.open(tmp_path / "a run & more") as run:
        page = write_page(run, tmp_path / "out" / "page.html").as_uri()
    tab.open(page)
    tab.wait("!!document.querySelector('.front-link')")
    assert "owned" in tab.text()
    assert "New search" not in tab.text()
    tab.evaluate("document.querySelector('.front-link').dispatchEvent(new MouseEvent('click', {bubbles: true}))")
    tab.wait("location.hash.includes('/candidates/')")
    tab.settled()
    assert tab.evaluate("document.querySelectorAll('.slab').length") > 3
    tab.evaluate("location.hash = '#/runs/a%20run%20%26%20more/predictors'")
    tab.wait("!!document.querySelector('.diagonal')")
    assert tab.evaluate("document.title") == "predictors · a run & more · netwright"
    assert tab.problems == []
    assert [address for address in tab.asked if not address.startswith(("file:", "data:", "about:"))] == []


def test_the_check_would_notice_an_error(tab: Browser, tmp_path: Path) -> None:
    """The same browser does report what goes wrong in a page."""
    (tmp_path / "bad.html").write_text(f"<title>a</title>{EVIL}<script>nowhere()</script>")
    tab.open((tmp_path / "bad.html").as_uri())
    tab.wait("document.title === 'owned'")
    assert any("nowhere" in problem for problem in tab.problems)
