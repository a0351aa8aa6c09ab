"""The documentation: what it names exists, what it shows runs, the site is whole and loads nothing from elsewhere."""

import ast
import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml

from nas.callbacks.choice import make_callbacks
from nas.cli.main import COMMANDS, cli
from nas.config import Config, SearchSettings
from nas.job.search_stage import make_search
from nas.job.task import Task
from nas.objective import SCORES
from predictors import PREDICTORS
from predictors.proxies.module_proxies import MODULE_PROXIES

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
OWN = [*(DOCS / name for name in ("index.md", "quickstart.md", "concepts.md")), *sorted((DOCS / "howto").glob("*.md"))]
PACKAGES = ("nas", "search_spaces", "predictors", "hardware")
IDS = [page.stem for page in OWN]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXTERNAL = re.compile(
    r'<(?:script|img|iframe|source)[^>]+src="https?:|<link[^>]+rel="(?:stylesheet|preconnect|preload)[^>]+https?:'
)


def blocks(page, *languages):
    return [text for language, text in BLOCK.findall(page.read_text()) if language in languages]


def commands(page):
    """Words of every ``netwright`` command in the shell blocks of a page."""
    for text in blocks(page, "bash"):
        for line in text.splitlines():
            if line.startswith("netwright "):
                yield shlex.split(line, comments=True)[1:]


@pytest.mark.parametrize("page", OWN, ids=IDS)
def test_commands_of_a_page_exist_with_their_options(page):
    for words in commands(page):
        if words[0] == "serve" and "serve" not in COMMANDS:
            continue  # not there yet
        command, rest = cli, words
        while isinstance(command, click.Group):
            command, rest = command.get_command(click.Context(command), rest[0]), rest[1:]
            assert command is not None, words
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in rest if word.startswith("--")} <= known, words


@pytest.mark.parametrize("page", [page for page in OWN if blocks(page, "python")], ids=lambda page: page.stem)
def test_python_of_a_page_imports_what_exists(page):
    for text in blocks(page, "python"):
        for node in ast.walk(ast.parse(text, str(page))):
            if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] in PACKAGES:
                module = importlib.import_module(node.module)
                missing = [name.name for name in node.names if not hasattr(module, name.name)]
                assert missing == [], f"{page}: {node.module}"


def loaded(tmp_path, monkeypatch, page, name):
    """A module made of the block of a page that begins with its file name."""
    text = next(text for text in blocks(DOCS / "howto" / page, "python") if text.startswith(f"# {name}.py"))
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_the_space_and_the_data_of_the_pages_work(tmp_path, monkeypatch):
    space = f"{loaded(tmp_path, monkeypatch, 'my_space.md', 'my_space')}:SPACE"
    data = f"{loaded(tmp_path, monkeypatch, 'my_data.md', 'my_data')}:images"
    task = Task(Config.from_dict({"space": space, "data": data, "train": False}))
    task.check()
    assert len(make_search(task).ask(3)) == 3


def test_the_callback_of_the_page_works(tmp_path, monkeypatch, capsys):
    from nas import search

    name = loaded(tmp_path, monkeypatch, "callbacks.md", "my_callback")
    settings = {"train": False, "space": "zen-tiny", "engine": {"kind": "serial"}, "constraints": {"macs": "500k"}}
    told = {"callbacks": [{f"{name}:Best": {"above": "1"}}], "search": {"evaluations": 40, "population": 20}}
    search(config={**settings, **told}, out=tmp_path / "run").close()
    out = capsys.readouterr().out
    assert "best so far" in out
    assert out.endswith("ended: finished\n")


def test_settings_of_the_pages_are_settings():
    found = [(page.name, yaml.safe_load(text)) for page in OWN for text in blocks(page, "yaml")]
    assert found
    for page, settings in found:
        config = Config.from_dict(settings, page)
        assert Config.from_dict(config.to_dict()) == config, page
        assert len(make_callbacks(config.callbacks)) == len(config.callbacks), page


def rows():
    """Function, test and the whole line of every row of the papers page."""
    for line in (DOCS / "papers.md").read_text().splitlines():
        if line.startswith("|") and "`tests/" in line:
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            assert len(cells) == 5, line
            assert all(cells), line
            yield cells[2].strip("`"), cells[3].strip("`"), line


ROWS = list(rows())


@pytest.mark.parametrize(("function", "test"), [row[:2] for row in ROWS], ids=[row[0] for row in ROWS])
def test_functions_and_tests_of_the_papers_page_exist(function, test):
    module, _, name = function.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except AttributeError:
        found = importlib.import_module(function)
    assert found is not None
    file, _, wanted = test.partition("::")
    assert (ROOT / file).is_file()
    assert not wanted or re.search(rf"^\s*def {wanted}\(", (ROOT / file).read_text(), re.MULTILINE)


def test_every_method_with_a_name_has_a_row():
    functions = {row[0] for row in ROWS}
    text = (DOCS / "papers.md").read_text()
    for proxy in MODULE_PROXIES.values():
        assert any(function.split(".")[-2] == proxy.load().__module__.split(".")[-1] for function in functions), proxy
    for where in PREDICTORS.own.values():
        name = where.partition(":")[2]
        assert name == "AutoPredictor" or any(function.endswith(f".{name}") for function in functions), name
    for algorithm in SearchSettings.model_fields["algorithm"].annotation.__args__:
        name = {"random": None, "optuna-nsga2": "OptunaSearch", "tpe": "OptunaSearch"}.get(algorithm, algorithm)
        assert name is None or any(name in function or algorithm in function.lower() for function in functions), name
    for name in SCORES.own:
        stem = name.partition("-")[0].partition("_")[0]
        assert stem in text.lower() or name in MODULE_PROXIES or name == "qe", name


@pytest.mark.slow  # `make docs`, which CI runs, builds it as well
def test_the_site_is_whole_and_loads_nothing_from_elsewhere(tmp_path):
    pytest.importorskip("mkdocs")
    pytest.importorskip("material")
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path / "site"]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    pages = {page.relative_to(tmp_path / "site").as_posix(): page.read_text() for page in tmp_path.rglob("*.html")}
    for page in DOCS.rglob("*.md"):
        assert page.relative_to(DOCS).with_suffix(".html").as_posix() in pages
    for name, text in pages.items():
        assert not EXTERNAL.search(text), name
    for name in COMMANDS:
        if name != "serve":
            assert f"netwright {name}" in pages["reference/commands.html"]
    assert "nas.api.save_pretrained" in pages["reference/python.html"]


@pytest.mark.slow
def test_every_block_of_the_quickstart_runs(tmp_path):
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "NETWRIGHT_CACHE": str(tmp_path / "cache"),
    }
    shown = [(kind, text) for kind, text in BLOCK.findall((DOCS / "quickstart.md").read_text()) if kind != "text"]
    assert {kind for kind, _ in shown} == {"bash", "python"}
    for kind, text in shown:
        pieces = text.splitlines() if kind == "bash" else [text]
        for piece in pieces:
            program = ["bash", "-c", piece] if kind == "bash" else [sys.executable, "-c", piece]
            ended = subprocess.run(
                program, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900, check=False
            )
            allowed = (0, 4) if "netwright search" in piece else (0,)  # a busy machine may leave the verdict open
            assert ended.returncode in allowed, (piece, ended.stderr[-2000:])
            assert ended.stdout.strip(), piece
