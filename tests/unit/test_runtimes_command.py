"""``netwright runtimes``, and how commands refuse a runtime that is not installed."""

import json

import pytest
from click.testing import CliRunner

from hardware.runtimes import RUNTIMES
from hardware.runtimes.contract import RuntimeRefused
from nas.cli.main import cli
from nas.config import Config
from nas.job.task import Task

NOT_HERE = "'netwright[openvino]'"


@pytest.fixture
def nothing_installed(monkeypatch):
    monkeypatch.setattr("hardware.runtimes.find_spec", lambda module: None)


def test_it_lists_all_with_their_versions():
    result = CliRunner().invoke(cli, ["runtimes", "--json"])
    rows = {row["name"]: row for row in json.loads(result.output)["runtimes"]}
    assert list(rows) == list(RUNTIMES)
    assert rows["onnxruntime"]["available"]
    assert rows["onnxruntime"]["version"][0].isdigit()
    assert rows["torch"]["precisions"]["cuda"][0] == "fp32"


def test_it_says_how_to_get_the_others(nothing_installed):
    result = CliRunner().invoke(cli, ["runtimes"])
    assert result.exit_code == 0
    assert f"runtime openvino is not installed here; get it with: pip install {NOT_HERE}" in result.output


def test_a_search_refuses_it_before_it_begins(nothing_installed):
    task = Task(Config.from_dict({"data": "no-such-data", "device": "openvino"}, "here"))
    with pytest.raises(RuntimeRefused, match=NOT_HERE.replace("[", r"\[").replace("]", r"\]")):
        task.check()
