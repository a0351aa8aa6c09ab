"""The default recipe trains small networks well on the data that the demonstrations use."""

import dataclasses

import pytest
import torch

from nas.train.data import load_dataset
from nas.train.entrant import build_network
from nas.train.evaluate import evaluate_test
from nas.train.fit import fit
from nas.train.recipe import Recipe
from nas.train.sources.idx import FASHION_MNIST_FOLDER
from search_spaces.autoformer import VIT_TINY, transformer
from search_spaces.plainnet import read_structure

SMALL = "SuperConvK3BNRELU(1,16,1,1)SuperResK3K3(16,32,2,16,1)SuperResK1K3K1(32,48,2,32,1)SuperConvK1BNRELU(48,64,1,1)"


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    torch.set_num_threads(1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_defaults_reach_97_percent_on_digits(seed):
    data = load_dataset("digits")
    network = build_network(read_structure(SMALL)[0], data, seed=seed)
    fit(network, data, Recipe(), seed=seed)
    assert evaluate_test(network, data).top1 >= 0.97


@pytest.mark.slow
def test_the_defaults_train_a_transformer_on_digits():
    data = load_dataset("digits")
    arch = transformer(VIT_TINY.sizes, 2, 48, [(3, 2.0)] * 3)
    network = build_network(arch, data, seed=0)
    fit(network, data, Recipe(), seed=0)
    assert evaluate_test(network, data).top1 >= 0.91  # three seeds had 0.933 to 0.947


def test_a_short_training_on_digits_is_far_above_guessing():
    data = load_dataset("digits")
    network = build_network(read_structure("SuperConvK3BNRELU(1,16,2,1)SuperResK3K3(16,24,2,16,1)")[0], data, seed=0)
    report = fit(network, data, Recipe(epochs=8), seed=0)
    assert evaluate_test(network, data).top1 >= 0.85
    assert report.curve[-1].validation_loss < report.curve[0].validation_loss


@pytest.mark.slow
@pytest.mark.skipif(not FASHION_MNIST_FOLDER.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_two_epochs_on_fashion_mnist():
    data = load_dataset("fashion-mnist")
    arch = read_structure("SuperConvK3BNRELU(1,8,2,1)SuperResK3K3(8,24,2,16,1)SuperResK1K3K1(24,48,2,24,1)")[0]
    network = build_network(arch, data, seed=0)
    fit(network, data, dataclasses.replace(Recipe(), epochs=2, batch_size=128), seed=0)
    assert evaluate_test(network, data).top1 >= 0.82
