import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.config import Config, InvalidConfig, merge, parse_setting
from nas.records import Constraint


def refused(data, *parts):
    with pytest.raises(InvalidConfig) as caught:
        Config.from_dict(data)
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    assert all(part in text for part in parts), text
    return True


def test_the_default_is_complete_and_survives_json():
    config = Config()
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert config.constraints.constraints() == ()


limits = st.fixed_dictionaries(
    {},
    optional={
        "latency": st.floats(1e-4, 1e5).map(lambda v: f"{v}ms"),
        "params": st.floats(1, 1e12),
        "macs": st.integers(1, 10**12),
        "memory": st.sampled_from(["300KB", "2MiB", 77]),
        "depth": st.integers(1, 500),
    },
)


@given(limits, st.integers(0, 2**40), st.sampled_from([None, "5min", 3]))
def test_a_resolved_configuration_is_read_back_unchanged(limits, seed, seconds):
    config = Config.from_dict({"constraints": limits, "seed": seed, "search": {"seconds": seconds}})
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_limits_become_constraints_by_metric():
    config = Config.from_dict({"constraints": {"latency": "2ms", "memory": "300KB", "depth": 18, "macs": "162M"}})
    assert set(config.constraints.constraints()) == {
        Constraint("latency_ms", 2.0),
        Constraint("peak_memory_bytes", 3e5),
        Constraint("depth", 18.0),
        Constraint("macs", 162e6),
    }


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        ({"dta": "digits"}, ["unknown setting 'dta'", "did you mean 'data'"]),
        ({"search": {"evaluation": 5}}, ["'search.evaluation'", "did you mean 'evaluations'"]),
        ({"constraints": {"qqqq": 5}}, ["'constraints.qqqq'", "known: latency, params"]),
        ({"constraints": {"latency": 2}}, ["constraints.latency=2", "2ms"]),
        ({"constraints": {"depth": 0}}, ["constraints.depth=0"]),
        ({"constraints": {"depth": 1.5}}, ["constraints.depth=1.5"]),
        ({"constraints": 5}, ["constraints=5"]),
        ({"constraints": None}, ["constraints=None"]),
        ({"seed": -1}, ["seed=-1"]),
        ({"seed": "many"}, ["seed='many'"]),
        ({"version": 2}, ["version=2"]),
        ({"search": {"algorithm": "evolutoin"}}, ["search.algorithm", "evolution"]),
        ({"search": {"objectives": ["score"]}}, ["search.objectives", "expected two or more different ones"]),
        ({"search": {"objectives": ["score", "speed"]}}, ["search.objectives", "peak_memory_bytes"]),
        ({"search": {"objectives": ["score", "latency_ms"]}}, ["needs a latency budget; give constraints.latency"]),
        ({"search": {"evaluations": True}}, ["search.evaluations=True", "expected a whole number"]),
        ({"engine": {"workers": 0}}, ["engine.workers=0"]),
        ({"latency": {"confidence": 1.0}}, ["latency.confidence=1.0"]),
        ({"latency": {"measure": "0.5s"}}, ["latency.measure=", "greater than or equal to 1"]),
        ({"latency": {"confidence": 0.995}}, ["latency.confidence=0.995"]),
        ({"seed": 2**63}, [f"seed={2**63}"]),
        ({"recipe": {"learnin_rate": 1}}, ["recipe.learnin_rate: unknown setting"]),
        ({"recipe": {"epochs": 0}}, ["recipe.epochs=0"]),
        ({"recipe": {"epochs": "many"}}, ["recipe.epochs='many'"]),
        ({"recipe": 5}, ["recipe=5"]),
        ({"search": {"seconds": "2 parsecs"}}, ["search.seconds", "5min"]),
        ([], ["config"]),
        (None, ["config"]),
        ({1: 2}, ["config"]),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(data, parts):
    assert refused(data, *parts)


def test_yaml_is_read_with_overrides_on_top(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("data: digits\nconstraints:\n  latency: 2ms\n  params: 1M\n")
    config = Config.from_yaml(path, {"constraints": {"latency": "3ms"}, "seed": 4})
    assert (config.constraints.latency, config.constraints.params, config.seed) == (3.0, 1e6, 4)
    path.write_text("")
    assert Config.from_yaml(path) == Config()
    path.write_text("recipe: {weight_decay: 5e-4, epochs: 1e1, learning_rate: +1.E-1}\nsearch: {evaluations: 1e3}\n")
    config = Config.from_yaml(path)
    assert config.recipe == {"weight_decay": 5e-4, "epochs": 10, "learning_rate": 0.1}
    assert type(config.recipe["epochs"]) is int
    assert config.search.evaluations == 1000


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("data: [", ["c.yaml, line"]),
        ("- 1\n- 2", ["holds list"]),
        ("just words", ["holds str"]),
        ("a: 1\na: &b *b", ["c.yaml"]),
        ("data: !!python/object/apply:os.getcwd []", ["c.yaml"]),
        (b"\xff\xfe\x00", ["cannot be read"]),
        ("x: \x07", ["c.yaml"]),
        ("x: 2024-99-99", ["c.yaml", "not YAML"]),
        ("[" * 100_000, ["c.yaml", "not YAML"]),
    ],
)
def test_a_file_that_is_no_configuration_is_one_line(tmp_path, content, parts):
    path = tmp_path / "c.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InvalidConfig) as caught:
        Config.from_yaml(path)
    assert len(str(caught.value).splitlines()) == 1
    assert all(part in str(caught.value) for part in parts)


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_a_file_that_is_not_there_is_one_line(tmp_path, name):
    with pytest.raises(InvalidConfig, match="config"):
        Config.from_yaml(tmp_path / name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seed=3", {"seed": 3}),
        ("search.evaluations=5000", {"search": {"evaluations": 5000}}),
        ("constraints.latency=2ms", {"constraints": {"latency": "2ms"}}),
        ("search.seconds=", {"search": {"seconds": None}}),
        ("data=a=b", {"data": "a=b"}),
        ("data=[unclosed", {"data": "[unclosed"}),
        ("recipe.nesterov=true", {"recipe": {"nesterov": True}}),
        ("recipe.weight_decay=1e-4", {"recipe": {"weight_decay": 1e-4}}),
        ("search.evaluations=1e3", {"search": {"evaluations": 1000.0}}),
        ("data=1e4.npz", {"data": "1e4.npz"}),
        ("data=2024-99-99", {"data": "2024-99-99"}),
    ],
)
def test_settings_of_the_command_line(text, expected):
    assert parse_setting(text) == expected


@pytest.mark.parametrize("text", ["seed", "=3", " =3", ""])
def test_a_setting_without_name_or_value_is_refused(text):
    with pytest.raises(InvalidConfig, match="expected name=value"):
        parse_setting(text)


@pytest.mark.parametrize("text", ["a..b=1", ".seed=1", "seed.x=1"])
def test_a_setting_of_nothing_known_is_refused_by_the_configuration(text):
    assert refused(parse_setting(text))


def test_merging_leaves_its_arguments_alone():
    base, over = {"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 5}, "d": {"e": 1}}
    assert merge(base, over) == {"a": {"b": 5, "c": 2}, "d": {"e": 1}}
    assert (base, over) == ({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 5}, "d": {"e": 1}})


def test_an_automatic_space_suits_the_images_and_the_score():
    names = {
        (score, side): Config.from_dict({"search": {"score": score}}).space_name(side)
        for score in ("zen", "binas")
        for side in (8, 32, 224)
    }
    assert names["zen", 8] == "zen-tiny"
    assert [names["binas", side] for side in (8, 32, 224)] == [
        "mobilenetv3-tiny-images", "mobilenetv3-small-images", "mobilenetv3-binas",
    ]  # fmt: skip
    assert Config.from_dict({"space": "vit-tiny", "search": {"score": "binas"}}).space_name(8) == "vit-tiny"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"search": {"score": "binas", "evaluations": 50}}, r"search\.evaluations=50 has no effect with score: binas"),
        ({"search": {"score": "binas", "algorithm": "random"}}, r"search\.algorithm='random' has no effect"),
        ({"binas": {"paths": 8}}, "binas: has settings, but search.score='zen'"),
        ({"search": {"score": "binas"}, "supernet": {"path": "x", "norms": "width"}}, "expected one or the other"),
        ({"search": {"score": "binas"}, "supernet": {"recipe": {"sampler": "none"}}}, r"recipe\.sampler='none'"),
    ],
)
def test_settings_of_a_search_by_binas_that_do_not_fit_are_refused(settings, told):
    with pytest.raises(InvalidConfig, match=told):
        Config.from_dict(settings)
