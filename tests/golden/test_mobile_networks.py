"""MobileNetV3, NAS-Bench-Macro and ResNet-20 networks: text round trip and the authors' own counts, to the unit."""

import csv
import gzip
import json
import os
from ast import literal_eval
from collections import Counter
from pathlib import Path

import pytest

from hardware.counts import count
from search_spaces import SPACES
from search_spaces.expand import expand
from search_spaces.formats import format_of, read_published, write_published
from search_spaces.layers import CONV

HERE = Path(__file__).parent
DATA = Path(os.environ.get("NETWRIGHT_DATA") or HERE.parents[2] / "shared" / "data")
MOBILENETS = json.loads((HERE / "mobilenetv3_networks.json").read_text())
MACRO = json.loads((HERE / "nas_bench_macro.json").read_text())["networks"]
RESNETS = json.loads((HERE / "resnet20_channels.json").read_text())["networks"]


def counts_of(arch, side, classes):
    counts = count(arch, (3, side, side), classes)
    return counts.params, counts.macs


def convs_of(arch, side):
    return sum(layer.op == CONV for layer in expand(arch, (3, side, side)))


def rows_of(path):
    if not (DATA / path).exists():
        pytest.skip(f"no {path} in {DATA}; NETWRIGHT_DATA names the folder")
    with gzip.open(DATA / path, "rt") as text:
        return list(csv.DictReader(text))


@pytest.mark.parametrize("network", MOBILENETS["ofa"], ids=lambda network: network["name"])
def test_once_for_all(network):
    assert format_of(network["setting"]) == "ofa"
    arch, in_channels = read_published(network["setting"])
    assert in_channels == 3
    assert counts_of(arch, network["resolution"], 1000) == (network["params"], network["macs"])
    SPACES["mobilenetv3-ofa-w1.2" if "w1.2" in network["name"] else "mobilenetv3-ofa"].validate(arch)

    back = json.loads(write_published(arch))
    assert read_published(json.dumps(back)) == (arch, 3)
    given = literal_eval(network["setting"].replace("null", "None"))
    assert back["d"] == given["d"]
    for field in ("ks", "e"):
        for at, (ours, theirs) in enumerate(zip(back[field], given[field], strict=True)):
            assert ours == (theirs if at % 4 < given["d"][at // 4] else 3)


@pytest.mark.parametrize("network", MOBILENETS["binas"], ids=lambda network: network["name"])
def test_binas(network):
    assert format_of(network["structure"]) == "binas"
    arch, in_channels = read_published(network["structure"])
    assert in_channels == 3
    assert counts_of(arch, 224, 1000) == (network["params"], network["macs"])
    assert convs_of(arch, 224) == network["convs"]
    assert write_published(arch) == network["structure"]
    if network["name"].startswith("BINAS"):
        SPACES["mobilenetv3-binas"].validate(arch)


@pytest.mark.parametrize("network", MACRO, ids=lambda network: network["structure"])
def test_nas_bench_macro(network):
    arch, _ = read_published(network["structure"])
    assert counts_of(arch, 32, 10) == (network["params"], network["macs"])
    assert read_published(write_published(arch)) == (arch, 3)


@pytest.mark.parametrize("network", RESNETS, ids=lambda network: network["structure"][9:24])
def test_resnet20_channels(network):
    arch, _ = read_published(network["structure"])
    assert counts_of(arch, 32, 100) == (network["params"], network["macs"])
    assert convs_of(arch, 32) == network["convs"]
    assert write_published(arch) == network["structure"].rpartition("-")[0]  # the 20th number has no effect


def test_all_of_nas_bench_macro():
    rows = rows_of("nas_bench_macro/nas_bench_macro_cifar10.csv.gz")
    codes = Counter()
    for row in rows:
        arch, _ = read_published(f"macro:{row['arch']}")
        assert counts_of(arch, 32, 10) == (int(row["params"]), int(row["flops"]))
        codes[write_published(arch)] += 1
    assert len(rows) == 6561
    assert len(codes) == 3969
    assert max(codes.values()) == 4


@pytest.mark.parametrize("name", ["evoga_acc", "evonsga2_acc_macs", "evounsga3_acc_macs_params"])
def test_all_measured_once_for_all_networks(name):
    rows = rows_of(f"ofa_mbv3_accuracy/{name}.csv.gz")
    for row in rows:
        arch, _ = read_published(row["Sub-network"])
        assert counts_of(arch, 224, 1000) == (int(row["Model Parameters"]), int(row["MACs"]))
    assert len(rows) > 300


def test_all_trained_resnet20_widths():
    for row in rows_of("cifar100_resnet20_channels/resnet20_channels_600.csv.gz"):
        arch, _ = read_published(f"resnet20:{row['arch']}")
        assert write_published(arch) == f"resnet20:{row['arch'].rpartition('-')[0]}"
