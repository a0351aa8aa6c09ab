"""Wrong calls from Python: one line with the field, its value and what is expected, before anything is trained."""

import numpy as np
import pytest

import nas.compress.disparse
from nas.compress.approximate.settings import ApproximateSettings
from nas.compress.chex import ChexSettings, chex
from nas.compress.gap import GapSettings, gap
from nas.compress.magnitude import GradualSettings
from nas.compress.quantise.settings import QuantiseSettings
from nas.proxies.settings import TrustSettings
from nas.train.data import load_dataset
from nas.train.detection.recipe import DetectionRecipe
from nas.train.distill import Distillation
from nas.train.entrant import build_network
from nas.train.finalists import train_finalists
from nas.train.fit import fit
from nas.train.multitask.recipe import MultitaskRecipe
from nas.train.recipe import Recipe
from nas.train.supernet.recipe import SupernetRecipe
from nas.train.torch_device import InvalidTorchDevice
from search_spaces.arch import Architecture, Block

SETTINGS = {
    "chex": (lambda: ChexSettings(macs="half"), "chex: macs='half', expected a number or None"),
    "chex's interval": (lambda: ChexSettings(macs=0.5, interval=1.5), "interval=1.5, expected a whole number"),
    "gap": (lambda: GapSettings(sparsity="0.8"), "settings.sparsity='0.8', expected a number"),
    "gap's stem": (lambda: GapSettings(sparsity=0.8, stem="no"), "settings.stem='no', expected True or False"),
    "gradual": (lambda: GradualSettings(sparsity=0.8, epochs=None), "settings.epochs=None, expected a whole number"),
    "disparse": (lambda: nas.compress.disparse.DisparseSettings(density="low"), "disparse: density='low', expected"),
    "approximate": (lambda: ApproximateSettings(macs=None), "approximate: macs=None, expected a number"),
    "quantise": (lambda: QuantiseSettings(weight_bits="8"), "quantise: weight_bits='8', expected a whole number"),
    "trust": (lambda: TrustSettings(networks="24"), "proxies trust: networks='24', expected a whole number"),
    "recipe": (lambda: Recipe(epochs="ten"), "recipe.epochs='ten', expected a whole number"),
    "part of an epoch": (lambda: Recipe(epochs=1.5), "recipe.epochs=1.5, expected a whole number"),
    "truth": (lambda: Recipe(batch_size=True), "recipe.batch_size=True, expected a whole number"),
    "text": (lambda: Recipe(augment=None), "recipe.augment=None, expected a text"),
    "detection": (lambda: DetectionRecipe(epochs=[1]), "recipe.epochs=[1], expected a whole number"),
    "multitask": (lambda: MultitaskRecipe(clip_norm="5"), "recipe.clip_norm='5', expected a number"),
    "supernet": (lambda: SupernetRecipe(resolutions=24), "recipe.resolutions=24, expected a tuple"),
    "teacher": (lambda: Distillation(lambda x: x, weight="all"), "distillation: weight='all', expected a number"),
}


@pytest.mark.parametrize(("call", "words"), SETTINGS.values(), ids=SETTINGS)
def test_a_setting_of_another_type_is_one_line(call, words):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - every kind of the project's errors is one
        call()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert type(caught.value) is not ValueError


def test_numbers_of_numpy_are_numbers():
    recipe = Recipe(epochs=np.int64(3), learning_rate=np.float32(0.1), mixed_precision=np.bool_(False))
    assert recipe.epochs == 3


ARCH = Architecture((Block("conv", 4, stride=2),))


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")


class One:
    id, arch = 0, ARCH


TRAININGS = {
    "fit": lambda data, _: fit(build_network(ARCH, data, seed=0), data, Recipe(epochs=1), seed=0, device="gpu"),
    "chex": lambda data, _: chex(
        build_network(ARCH, data, seed=0), data, Recipe(epochs=5), settings=ChexSettings(macs=0.5), seed=0, device="gpu"
    ),
    "gap": lambda data, _: gap(
        build_network(ARCH, data, seed=0),
        data,
        Recipe(epochs=5),
        settings=GapSettings(sparsity=0.5),
        seed=0,
        device="gpu",
    ),
    "finalists": lambda _, folder: train_finalists(
        [One()], "digits", Recipe(), seed=0, max_epochs=1, storage_dir=folder / "race", device="gpu"
    ),
}


@pytest.mark.parametrize("train", TRAININGS.values(), ids=TRAININGS)
def test_an_unknown_device_is_one_line(digits, tmp_path, train):
    with pytest.raises(InvalidTorchDevice, match=r"^device='gpu', expected cpu, cuda or cuda:N$"):
        train(digits, tmp_path)
    assert list(tmp_path.iterdir()) == []
