"""Names that installed packages add: real packages, installed by pip into a folder of their own."""

import json
import subprocess
import sys

import numpy as np
import pytest
from command_place import refused
from commands import CommandServer

from hardware.device import Device
from hardware.runtimes import RUNTIMES, RuntimeRow, missing
from nas.objective import SCORES, Objective
from nas.plugins import installed, tables
from predictors import PREDICTORS, load, load_predictor, save
from search_spaces import SPACES, UnknownSpace, load_space
from search_spaces.plugins import GROUPS, PluginBroken, Table, offers

PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "{name}"
version = "{version}"
[tool.setuptools]
py-modules = ["{module}"]
"""
GOOD = (
    PROJECT.format(name="good-plugin", version="1.2", module="good_plugin")
    + """
[project.entry-points."netwright.spaces"]
tiny-plugged = "good_plugin:SPACE"
[project.entry-points."netwright.scores"]
widest = "good_plugin:widest"
[project.entry-points."netwright.predictors"]
mean = "good_plugin:Mean"
[project.entry-points."netwright.runtimes"]
plugged = "good_plugin:ROW"
"""
)
GOOD_CODE = """
import numpy as np
from hardware.runtimes import RuntimeRow
from predictors.regressor import Regressor
from search_spaces.space import Stage, StageSpace, Variant

CONV = (Variant("conv"),)
SPACE = StageSpace("tiny-plugged", (Stage(CONV, (8, 16, 24), (3, 5)), Stage(CONV, (16, 32, 48), stride=2)))
ROW = RuntimeRow("good_plugin", {"cpu": ("fp32",)}, {"onnxruntime": "onnxruntime"})

def widest(objective):
    return lambda arch, seed: float(sum(block.channels for block in arch.blocks))

class Mean(Regressor):
    "The mean of all labels, whatever the features."

    def _fit(self, features, labels, weights):
        self.mean_ = float(np.average(labels, weights=weights))

    def _estimate(self, features):
        return np.full(len(features), self.mean_)

    def _estimate_with_std(self, features):
        return self._estimate(features), np.ones(len(features))

def version():
    return "plugged 1"

def load(source, device):
    from hardware.runtimes import onnxruntime
    return onnxruntime.load(source, device)
"""
BROKEN = (
    PROJECT.format(name="broken-plugin", version="0.1", module="broken_plugin")
    + """
[project.entry-points."netwright.spaces"]
zen = "broken_plugin:SPACE"
renamed = "broken_plugin:SPACE"
gone = "broken_plugin:NOTHING"
no-space = "broken_plugin:NUMBER"
[project.entry-points."netwright.scores"]
no-score = "broken_plugin:NUMBER"
late = "broken_plugin:late"
[project.entry-points."netwright.predictors"]
no-module = "broken_plugin_of_no_such_name:Model"
[project.entry-points."netwright.runtimes"]
no-row = "broken_plugin:NUMBER"
"""
)
BROKEN_CODE = """
from search_spaces.space import Stage, StageSpace, Variant

SPACE = StageSpace("other", (Stage((Variant("conv"),), (8, 16)),))
NUMBER = 3

def late(objective):
    raise OSError("no licence")
"""


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """The folder that two packages were installed into."""
    place = tmp_path_factory.mktemp("plugins")
    for name, project, code in (("good", GOOD, GOOD_CODE), ("broken", BROKEN, BROKEN_CODE)):
        source = place / name
        source.mkdir()
        (source / "pyproject.toml").write_text(project)
        (source / f"{name}_plugin.py").write_text(code)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run(
        [*install, "--disable-pip-version-check", "--target", place / "site", place / "good", place / "broken"],
        check=True,
        capture_output=True,
        timeout=120,
    )
    return place / "site"


def forget():
    offers.cache_clear()
    for table in tables().values():
        table._rows.clear()
        table._said.clear()


@pytest.fixture
def plugged(packages, monkeypatch):
    monkeypatch.syspath_prepend(packages)
    forget()
    yield packages
    monkeypatch.undo()
    forget()


def test_names_of_a_package_are_found_where_ours_are(plugged):
    space = load_space("tiny-plugged")
    assert "tiny-plugged" in list(SPACES)
    space.validate(space.sample(np.random.default_rng(0)))
    score = Objective("widest").scorer()
    arch = space.sample(np.random.default_rng(0))
    assert score(arch, 0) == sum(block.channels for block in arch.blocks)
    assert not Objective("widest").trusted  # its code may end the process
    assert SCORES["widest"].source == "good-plugin 1.2"
    assert isinstance(RUNTIMES["plugged"], RuntimeRow)
    assert missing("plugged") == ""
    assert str(Device.parse("plugged:threads=2")) == "plugged:name=cpu,threads=2,batch=1"


def test_a_predictor_of_a_package_is_saved_and_read(plugged, tmp_path):
    assert "mean" in list(PREDICTORS)
    model = load_predictor("mean")().fit([[0.0], [1.0]], [1.0, 3.0])
    save(model, tmp_path / "mean.skops")
    assert load(tmp_path / "mean.skops").predict([[5.0]]).tolist() == [2.0]


def test_what_is_broken_is_one_line_that_names_the_package_and_the_rest_goes_on(plugged, caplog):
    names = {group: set(table) for group, table in tables().items()}
    assert {"tiny-plugged", "zen"} <= names["netwright.spaces"]
    assert "widest" in names["netwright.scores"]
    broken = {"renamed", "gone", "no-space", "no-score", "no-module", "no-row"}
    assert not broken & set.union(*names.values())
    said = [record.message for record in caplog.records if record.name == "netwright.plugins"]
    assert len(said) == len(broken) + 1
    assert all("of package broken-plugin 0.1" in line and "\n" not in line for line in said)
    for table in tables().values():
        list(table)
    assert len([record for record in caplog.records if record.name == "netwright.plugins"]) == len(said)  # said once


@pytest.mark.parametrize(
    ("name", "part"),
    [("renamed", "its name is 'other'"), ("gone", "has no attribute"), ("no-space", "int lacks 'sample'")],
)
def test_a_broken_space_says_why(plugged, name, part):
    with pytest.raises(PluginBroken, match=rf"plugin: '{name}' of package broken-plugin 0\.1 .*{part}"):
        load_space(name)


def test_a_name_of_ours_is_not_replaced(plugged):
    assert load_space("zen").name == "zen"
    rows = {(row["group"], row["name"]): row["problem"] for row in installed()}
    assert rows["netwright.spaces", "zen"] == "the name is taken"
    assert rows["netwright.spaces", "tiny-plugged"] == ""
    assert len(rows) == 12


def test_a_factory_that_raises_is_one_line(plugged):
    with pytest.raises(ValueError, match=r"plugin: 'late' of package broken-plugin .* OSError: no licence"):
        Objective("late").scorer()


def test_without_packages_the_tables_are_ours():
    assert set(tables()) == set(GROUPS)
    table = Table({"a": 1}, "netwright.no-such-group", lambda offer: 2)
    assert (dict(table), "a" in table, "b" in table, table.get("b")) == ({"a": 1}, True, False, None)
    with pytest.raises(UnknownSpace, match="unknown"):
        load_space("tiny-plugged")


def test_the_command_takes_names_of_packages(plugged, tmp_path):
    with CommandServer(tmp_path) as server:
        search = ("search", "--space", "tiny-plugged", "--score", "widest", "--data", "digits", "--no-train", "--quiet")
        small = ("--params", "50k", "--evaluations", "40", "--engine", "serial", "--json", "--out", "run")
        ended = server.run(*search, *small, cwd=tmp_path)
        assert ended.json()["best"]["score"] == 48 + 24
        rows = server.run("plugins", "--json", cwd=tmp_path).json()["plugins"]
        assert {row["name"]: row["problem"] == "" for row in rows}["widest"]
        listed = server.run("space", "ls", "--json", cwd=tmp_path)
        assert "tiny-plugged" in {row["name"] for row in listed.json()["spaces"]}
        assert len(listed.err.splitlines()) == 4  # one for each broken or taken space
        broken = server.run("space", "show", "gone", cwd=tmp_path)
        refused(broken, 2, "broken-plugin 0.1", "NOTHING")


@pytest.mark.slow
def test_a_runtime_of_a_package_is_measured_in_its_own_process(plugged, tmp_path):
    with CommandServer(tmp_path) as server:
        network = ("SuperConvK3BNRELU(1,8,1,1)", "--resolution", "16", "--in-channels", "1", "--classes", "3")
        timed = server.run("measure", *network, "--device", "plugged", "--preset", "quick", "--json", cwd=tmp_path)
        assert "plugged:name=cpu" in json.dumps(timed.json())
