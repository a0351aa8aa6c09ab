"""Every published TinyNAS structure: text round trip, exact counts, and the authors' own counts to the unit."""

import json
from pathlib import Path

import pytest
import torch
from tinynas_structures import architecture

from hardware.counts import count
from hardware.tinynas_counts import tinynas_counts
from search_spaces.build import build
from search_spaces.expand import expand
from search_spaces.layers import CONV
from search_spaces.tinynas_text import read, write

NETWORKS = json.loads((Path(__file__).parent / "tinynas_networks.json").read_text())["networks"]
every_network = pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network["name"])


@every_network
def test_reader_and_writer_round_trip(network):
    arch = architecture(network["structure"], network.get("bits", ()))
    in_channels = network["in_channels"]
    assert read(write(arch, in_channels)) == (arch, in_channels)


@every_network
def test_compat_counts_are_the_authors(network):
    arch, shape = architecture(network["structure"], network.get("bits", ())), _shape(network)
    counted = tinynas_counts(arch, shape)
    assert counted.flops == network["flops"]
    assert counted.size == network["model_size"]


@every_network
def test_the_convolutions_are_the_authors(network):
    layers = expand(architecture(network["structure"], network.get("bits", ())), _shape(network))
    main = [x for x in layers if x.op == CONV and ".shortcut." not in x.name and ".se." not in x.name]
    assert len(main) == network["convs"]


@pytest.mark.parametrize("name", ["R18-like", "deepmad-29M-224", "mixed7d0G"])
def test_true_counts_are_those_of_the_module(name):
    network = next(network for network in NETWORKS if network["name"] == name)
    arch = architecture(network["structure"], network.get("bits", ()))
    model = build(arch, num_classes=10)
    assert count(arch, _shape(network), 10).params == sum(weight.numel() for weight in model.parameters())
    with torch.inference_mode():
        assert model.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 10)


def _shape(network):
    return network["in_channels"], network["resolution"], network["resolution"]
