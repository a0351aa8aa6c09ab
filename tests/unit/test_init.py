"""The commented configuration: complete, true, and accepted."""

import pytest
from click.testing import CliRunner

from nas.cli.init import init
from nas.config import Config, read_yaml
from nas.config_template import DEPENDENT, RECIPES, render_config, settings
from nas.setting_meanings import MEANINGS, SECTIONS
from nas.train.recipe import Recipe


def test_every_setting_is_there_with_its_default():
    text = render_config({})
    assert Config.from_dict(read_yaml(text)) == Config()
    names = [name for name, _, _ in settings()]
    assert len(names) > 60
    for name in names:
        line = f"{'  ' * name.count('.')}{'# ' * (name in DEPENDENT)}{name.rpartition('.')[2]}: "
        assert any(written.startswith(line) for written in text.splitlines()), name
    assert max(map(len, text.splitlines())) <= 120


def test_every_setting_has_a_meaning_and_no_meaning_is_left_over():
    found = {name: meaning for name, _, meaning in settings()}
    assert [name for name, meaning in found.items() if not meaning] == []
    assert [name for name in MEANINGS if name not in found] == []
    sections = {name.rpartition(".")[0] for name in found}
    assert set(SECTIONS) <= sections


def test_units_ranges_and_choices_are_told():
    text = " ".join(render_config({}).replace("#", " ").split())
    for part in (
        "a time with us, ms or s, such as 2ms, or null; default null",
        "one of auto, serial, ray; default auto",
        "a number, at least 0.5, at most 0.99; default 0.9",
        "learning_rate: 0.2 Peak, reached after the warm-up",
    ):
        assert part in text
    assert RECIPES["recipe"] is Recipe


@pytest.mark.parametrize("score", ["predictor", "binas", "mad"])
def test_another_score_needs_no_other_change(score):
    text = render_config({}).replace("  score: zen\n", f"  score: {score}\n")
    config = Config.from_dict(read_yaml(text))
    assert config.search.score == score
    assert config.search.niches == ("depth" if score == "mad" else "none")


def run(folder, monkeypatch, *args):
    monkeypatch.chdir(folder)
    return CliRunner().invoke(init, args)


def test_the_command_writes_what_was_asked_and_does_not_overwrite(tmp_path, monkeypatch):
    ended = run(
        tmp_path, monkeypatch, "--data", "fashion-mnist", "--latency", "1.5ms", "--device", "openvino:threads=2"
    )
    assert ended.exit_code == 0, ended.output
    config = Config.from_yaml(tmp_path / "netwright.yaml")
    assert (config.data, config.constraints.latency, config.device) == ("fashion-mnist", 1.5, "openvino:threads=2")
    again = run(tmp_path, monkeypatch)
    assert again.exit_code == 2
    assert "netwright.yaml: exists already and is left as it is" in again.output
    assert Config.from_yaml(tmp_path / "netwright.yaml") == config
    assert run(tmp_path, monkeypatch, "--out", "-").stdout == render_config({})


@pytest.mark.parametrize(("latency", "part"), [("2", "unit"), ("soon", "expected"), ("-1ms", "expected")])
def test_a_wrong_budget_is_refused_before_anything_is_written(tmp_path, monkeypatch, latency, part):
    ended = run(tmp_path, monkeypatch, "--latency", latency)
    assert ended.exit_code == 2
    assert part in ended.output
    assert "constraints.latency" in ended.output
    assert not list(tmp_path.iterdir())


def test_odd_texts_stay_texts(tmp_path, monkeypatch):
    assert Config.from_dict(read_yaml(render_config({"data": "no"}))).data == "no"
    ended = run(tmp_path, monkeypatch, "--data", 'a: "b" #c', "--device", "command:run=./t.sh {model}")
    assert ended.exit_code == 0, ended.output
    config = Config.from_yaml(tmp_path / "netwright.yaml")
    assert (config.data, config.device) == ('a: "b" #c', "command:run=./t.sh {model}")
