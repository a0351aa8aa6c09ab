"""The Python face: the same job as the command, as functions."""

import json
import pkgutil
import threading

import pytest
import yaml

import nas
from nas.algorithms.evolution import Evolution
from nas.config import Config, InvalidConfig
from nas.records import Success
from nas.run import Run
from nas.runners.evaluate import evaluate
from nas.spec import load_spec
from nas.store import RunFileError
from nas.train.recipe import InvalidRecipe
from nas.train.torch_device import InvalidTorchDevice
from nas.train.trials.engine import InvalidPlacement
from nas.train.tuned.run import OtherTuning
from search_spaces import SPACES

SMALL = {
    "train": False,
    "search": {"evaluations": 60},
    "constraints": {"macs": "500k"},
    "engine": {"kind": "serial"},
    "seed": 9,
}


def test_a_search_gives_its_finished_run(tmp_path, capfd):
    with nas.search(config=SMALL, out=tmp_path / "run") as run:
        assert isinstance(run, Run)
        assert run.config.seed == 9
        assert run.status()["candidates"] == 60
        assert run.best(macs=5e5)["id"] in set(run.candidates()["id"])
        summary = run.summary()
    assert capfd.readouterr() == ("", "")  # the library is silent
    with nas.resume(tmp_path / "run") as again:
        assert again.summary() == summary
    with pytest.raises(RunFileError, match="exists already"):
        nas.search(config=SMALL, out=tmp_path / "run")


def test_arguments_win_over_the_configuration(tmp_path):
    config = Config.from_dict({**SMALL, "constraints": {}})
    with nas.search(config=config, space="genet-tiny", seed=4, out=tmp_path / "run") as run:
        assert (run.config.space, run.config.seed, run.config.search.evaluations) == ("genet-tiny", 4, 60)
        SPACES["genet-tiny"].validate(run.architecture(0))


def test_it_runs_in_a_thread_as_a_notebook_or_a_server_would(tmp_path):
    found = []
    thread = threading.Thread(target=lambda: found.append(nas.search(config=SMALL, out=tmp_path / "run")))
    thread.start()
    thread.join()
    with found[0] as run, nas.search(config=SMALL, out=tmp_path / "other") as other:
        assert list(run.store.results()) == list(other.store.results())


def test_a_configuration_file_is_read(tmp_path):
    (tmp_path / "small.yaml").write_text(json.dumps(SMALL))
    with nas.search(config=tmp_path / "small.yaml", out=tmp_path / "run") as run:
        assert run.status()["candidates"] == 60
    with pytest.raises(InvalidConfig, match=r"absent\.yaml: no such file"):
        nas.search(config="absent.yaml", out=tmp_path / "other")


@pytest.mark.parametrize("wrong", [{"latency": "2"}, {"config": {"sed": 1}}, {"seed": -1}])
def test_wrong_arguments_make_no_run(tmp_path, wrong):
    with pytest.raises(InvalidConfig):
        nas.search(**wrong, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_no_submodule_hides_a_public_name():
    """Importing ``nas.x`` sets the attribute x of ``nas``: a public x would be gone from then on."""
    modules = {module.name for module in pkgutil.iter_modules(nas.__path__)}
    assert modules.isdisjoint(nas.__all__)
    assert all(getattr(nas, name) is not None for name in nas.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        nas.nothing  # noqa: B018


def test_ask_and_tell_by_hand():
    """A user's own loop, without gates, runner or file."""
    search = Evolution(SPACES["zen-tiny"], seed=0, population=8, lookahead=4)
    best = float("-inf")
    for _ in range(30):
        for candidate in search.ask(2):
            (result,) = evaluate(lambda arch, seed: -sum(b.channels for b in arch.blocks), [candidate], 0)
            assert isinstance(result, Success)
            best = max(best, result.metrics["score"])
            search.tell(result)
    assert best > -sum(block.channels for block in SPACES["zen-tiny"].seed.blocks)


STRUCTURE = "SuperConvK3BNRELU(1,4,2,1)SuperConvK1BNRELU(4,8,1,1)"
BRIEF = {"trials": 2, "repeats": 1, "lookahead": 1, "recipe": {"epochs": 1}, "engine": "serial"}


def test_a_recipe_is_tuned_and_found_again(tmp_path, capfd):
    result = nas.tune(STRUCTURE, data="digits", out=tmp_path / "tuned", **BRIEF)
    assert len(result["outcomes"]) == 2
    assert result["given"]["epochs"] == 1
    assert yaml.safe_load((tmp_path / "tuned" / "recipe.yaml").read_text()) == {"recipe": result["recipe"]}
    assert capfd.readouterr() == ("", "")
    assert nas.tune(load_spec(STRUCTURE).arch, data="digits", out=tmp_path / "tuned", **BRIEF) == result
    with pytest.raises(OtherTuning, match="other settings"):
        nas.tune(STRUCTURE, data="digits", out=tmp_path / "tuned", seed=1, **BRIEF)


WRONG_TUNINGS = {
    "no images": ({"data": None}, InvalidConfig, "which images"),
    "one trial": ({"trials": 1}, InvalidConfig, "trials=1, expected at least 2"),
    "no number": ({"trials": "many"}, InvalidConfig, "trials='many'"),
    "misspelt": ({"trails": 3}, InvalidConfig, "did you mean 'trials'"),
    "recipe": ({"recipe": {"epochs": "few"}}, InvalidRecipe, "recipe.epochs='few', expected a value of type int"),
    "device": ({"device": "gpu"}, InvalidTorchDevice, "device='gpu', expected cpu, cuda or cuda:N"),
    "engine": ({"engine": "dask"}, InvalidPlacement, "engine='dask', expected one of auto, serial, ray"),
    "workers": ({"workers": 0}, InvalidPlacement, "workers=0, expected at least 1"),
    "no place": ({"workers": "two"}, InvalidPlacement, "workers='two', expected a whole number"),
}


@pytest.mark.parametrize(("wrong", "error", "words"), WRONG_TUNINGS.values(), ids=WRONG_TUNINGS)
def test_a_wrong_tuning_is_one_line_and_begins_nothing(tmp_path, wrong, error, words):
    with pytest.raises(error) as caught:
        nas.tune(STRUCTURE, **({"data": "digits", "out": tmp_path / "tuned", **BRIEF} | wrong))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "tuned").exists()
