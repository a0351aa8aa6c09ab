"""Every published structure: text round trip, exact counts, and the authors' own counts to the unit."""

import json
from pathlib import Path

import pytest

from hardware.compat_counts import compat_counts
from hardware.counts import count
from search_spaces.expand import expand
from search_spaces.layers import CONV, main_path
from search_spaces.plainnet import read_structure, write_structure

HERE = Path(__file__).parent
ZENNETS = json.loads((HERE / "published_networks.json").read_text())["networks"]
GENETS = json.loads((HERE / "genets.json").read_text())["networks"]


def _name(network):
    return network["name"]


@pytest.mark.parametrize("network", ZENNETS + GENETS, ids=_name)
def test_reader_and_writer_round_trip(network):
    arch, in_channels = read_structure(network["structure"])
    assert in_channels == 3
    assert write_structure(arch) == network["structure"]


@pytest.mark.parametrize("variant", ["linked", "plain", "squeeze_excite"])
@pytest.mark.parametrize("network", ZENNETS, ids=_name)
def test_compat_counts_are_the_authors(network, variant):
    if variant not in network:
        assert "flops" not in network["name"]
        return
    arch, _ = read_structure(network["structure"], se=variant == "squeeze_excite")
    shape = (3, network["resolution"], network["resolution"])
    counted = compat_counts(expand(arch, shape, network["num_classes"]), plain=variant == "plain")
    expected = network[variant]
    assert (counted.params, counted.flops) == (expected["compat_params"], expected["compat_flops"])


@pytest.mark.parametrize("variant", ["linked", "squeeze_excite"])
@pytest.mark.parametrize("network", ZENNETS, ids=_name)
def test_counts_are_those_of_the_authors_modules(network, variant):
    expected = network.get(variant, {})
    if "params" not in expected:
        assert network["name"] == "zennet_lat08ms" or "flops" not in network["name"]
        return
    arch, _ = read_structure(network["structure"], se=variant == "squeeze_excite")
    shape = (3, network["resolution"], network["resolution"])
    counts = count(arch, shape, network["num_classes"])
    assert (counts.params, counts.macs) == (expected["params"], expected["macs"])
    assert counts.depth == network["sub_layers"]


@pytest.mark.parametrize("network", [n for n in ZENNETS if "params" in n["plain"]], ids=_name)
def test_the_main_path_is_the_plain_network(network):
    arch, _ = read_structure(network["structure"])
    shape = (3, network["resolution"], network["resolution"])
    plain = main_path(expand(arch, shape, network["num_classes"]))
    assert sum(layer.weight_count for layer in plain) == network["plain"]["params"]
    assert sum(layer.macs for layer in plain) == network["plain"]["macs"]
    assert sum(layer.op == CONV for layer in plain) == network["convs_plain"]
    assert count(arch, shape, network["num_classes"]).convs == network["convs_plain"]


@pytest.mark.parametrize("network", GENETS, ids=_name)
def test_genet_counts_are_those_of_the_authors_modules(network):
    arch, _ = read_structure(network["structure"])
    shape = (3, network["resolution"], network["resolution"])
    counts = count(arch, shape, network["num_classes"])
    convs = sum(layer.op == CONV for layer in expand(arch, shape))
    assert (counts.params, counts.macs, convs) == (network["params"], network["macs"], network["convs"])
