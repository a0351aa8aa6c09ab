"""Layers of other sizes, layers as plain data, and exports of networks that no architecture describes any more."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from nas.compress.coupling import coupled_channels
from nas.compress.slicing import sliced
from nas.export.errors import InvalidPretrained
from nas.export.pretrained import exported_layers, from_pretrained, save_pretrained
from nas.train.images import ImageTask
from search_spaces import load_space
from search_spaces.arch import InvalidArchitecture
from search_spaces.build import ANY_SIZE, Network, build, expand_at_any_size
from search_spaces.expand import expand
from search_spaces.layers_json import layers_from_json, layers_to_json
from search_spaces.resized import at_size, resized

SPACES = [
    "zen-tiny", "zen-idw-se", "genet-tiny", "tinynas-k1dwsek1", "mobilenetv3-tiny-images", "nas-bench-201-tiny",
    "nas-bench-macro", "vit-tiny", "resnet-small", "transnas-micro", "resnet20-channels",
]  # fmt: skip
TASK = ImageTask("three", ("a", "b", "c"), (3, 20, 24), 1 / 255, (0.4, 0.5, 0.6), (0.2, 0.2, 0.3))


@pytest.mark.parametrize("space", SPACES)
def test_layers_at_a_size_are_those_of_the_expansion(space: str) -> None:
    rng = np.random.default_rng(1)
    for _ in range(3):
        arch = load_space(space).sample(rng)
        anywhere = expand_at_any_size(arch, 3, 7)
        for shape in ((3, 32, 32), (3, 45, 64), (3, 224, 224)):
            assert at_size(anywhere, shape) == expand(arch, shape, 7)
        again = layers_from_json(json.loads(json.dumps(layers_to_json(anywhere))), "layers")
        assert at_size(again, ANY_SIZE) == anywhere
        network = build(arch, num_classes=7)
        assert resized(anywhere, {n: tuple(v.shape) for n, v in network.state_dict().items()}) == anywhere
        assert network.follows_architecture


def small_network() -> Network:
    torch.manual_seed(0)
    network = build(load_space("mobilenetv3-tiny-images").sample(np.random.default_rng(0)), num_classes=3).eval()
    coupling = coupled_channels(network, TASK.input_shape)
    keep = {name: torch.arange(group.size) % 3 != 1 for name, group in coupling.groups.items()}
    found = sliced(network, coupling, keep)
    assert isinstance(found, Network)
    return found


def test_a_cut_network_is_exported_and_read_back(tmp_path: Path) -> None:
    network = small_network()
    assert not network.follows_architecture
    report = save_pretrained(tmp_path / "export", network, task=TASK)
    assert report.parity.agree_top1 == 1
    again = from_pretrained(tmp_path / "export")
    assert again.layers == network.layers
    images = torch.randn(4, *TASK.input_shape)
    with torch.no_grad():
        torch.testing.assert_close(again(images), network(images), rtol=0, atol=0)
    assert exported_layers(tmp_path / "export") == network.layers_at(TASK.input_shape)
    params = sum(value.numel() for value in network.parameters())
    assert f"{params:,} parameters" in (tmp_path / "export" / "README.md").read_text()
    program = subprocess.run(
        [sys.executable, "network.py"], cwd=tmp_path / "export", capture_output=True, text=True, check=True
    )
    assert "(1, 3)" in program.stdout


def test_a_changed_list_of_layers_is_refused_in_one_line(tmp_path: Path) -> None:
    save_pretrained(tmp_path / "export", small_network(), task=TASK)
    path = tmp_path / "export" / "config.json"
    config = json.loads(path.read_text())
    for change, message in (
        (lambda rows: rows[0].__setitem__(4, 4000000), r"layers\[0\]: sizes .* are out of range"),
        (lambda rows: rows[1].__setitem__(1, "eval"), r"layers\[1\]: operation 'eval' named"),
        (lambda rows: rows[3].__setitem__(2, [9]), r"layers\[3\]: inputs \[9\], expected positions of earlier"),
        (lambda rows: rows[0].__setitem__(4, rows[0][4] + 1), r"layers\[1\]: reads \d+ channels of a layer that makes"),
        (lambda rows: rows.clear(), "layers: expected a list of 1 to"),
        (lambda rows: rows[0].pop(), r"layers\[0\]: expected \[name, op"),
        (lambda rows: rows[1].__setitem__(0, rows[0][0]), "layers: two layers have one name"),
        (lambda rows: rows.pop(), "layers: expected to read 3 channel"),
    ):
        rows = json.loads(json.dumps(config["layers"]))
        change(rows)
        path.write_text(json.dumps({**config, "layers": rows}))
        with pytest.raises(InvalidPretrained, match=message):
            from_pretrained(tmp_path / "export")
    with pytest.raises(InvalidArchitecture, match="layers: expected a list"):
        layers_from_json({"no": "list"}, "layers")
