"""The published AutoFormers: text, true counts, and the authors' own counts to the unit."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from torch.utils.flop_counter import FlopCounterMode

from hardware.autoformer_counts import autoformer_counts
from hardware.counts import count
from search_spaces import SPACES
from search_spaces.arch import Architecture, Block, InvalidArchitecture
from search_spaces.autoformer import VIT_TINY, Sizes, transformer
from search_spaces.autoformer_text import looks_like, read, write
from search_spaces.build import build
from search_spaces.expand import expand
from search_spaces.formats import read_published, write_published

SHAPE, CLASSES = (3, 224, 224), 1000
NETWORKS = json.loads((Path(__file__).parent / "autoformer.json").read_text())["networks"]
every_network = pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network["name"])
TINY = NETWORKS[0]["settings"]


@every_network
def test_both_published_forms_mean_one_network(network):
    settings = network["settings"]
    arch, in_channels = read(yaml.safe_dump({"SUPERNET": {"DEPTH": 14}, "RETRAIN": settings}))
    searched = {
        "layer_num": settings["DEPTH"],
        "mlp_ratio": settings["MLP_RATIO"],
        "num_heads": settings["NUM_HEADS"],
        "embed_dim": [settings["EMBED_DIM"]] * settings["DEPTH"],
    }
    assert in_channels == 3
    assert read(str(searched)) == (arch, 3)
    assert read_published(write_published(arch)) == (arch, 3)
    assert yaml.safe_load(write(arch))["RETRAIN"] == settings
    assert looks_like(write(arch))


@every_network
def test_compat_counts_are_the_authors(network):
    counted = autoformer_counts(expand(read(str(network["settings"]))[0], SHAPE, CLASSES))
    assert (counted.params, counted.flops) == (network["compat_params"], network["compat_flops"])
    assert 0 <= counted.params / 1e6 - network["params_in_millions"] + 0.05 < 0.15  # 5.87 is cut to 5.8


@every_network
def test_counts_are_those_of_a_forward(network):
    arch, _ = read(str(network["settings"]))
    with torch.device("meta"):
        model = build(arch, num_classes=CLASSES).eval()
        with FlopCounterMode(display=False) as counter:
            model(torch.zeros(1, *SHAPE))
    counts = count(arch, SHAPE, CLASSES)
    assert counts.params == sum(p.numel() for p in model.parameters()) == network["params"]
    assert counts.macs == counter.get_total_flops() // 2 == network["macs"]


@every_network
def test_it_is_a_member_of_its_space_unless_its_ratio_is_not(network):
    arch, _ = read(str(network["settings"]))
    space = SPACES[network["space"]]
    if network["member"]:
        space.validate(arch)
        assert space.decode(space.values_of(arch)) == arch
    else:
        with pytest.raises(InvalidArchitecture, match=r"blocks\[3\]\.inner=576, expected 672 or 768"):
            space.validate(arch)


def test_layers_beyond_the_depth_make_no_second_member():
    values = {knob.name: knob.choices[-1] for knob in VIT_TINY.knobs} | {"depth": 2}
    arch = VIT_TINY.decode(values)
    assert len(arch.blocks) == 1 + 2 + 1
    assert VIT_TINY.decode(values | {"2.heads": 1, "5.ratio": 1.0}) == arch
    assert VIT_TINY.decode(values | {"1.heads": 1}) != arch
    assert VIT_TINY.values_of(arch)["5.heads"] == VIT_TINY.values_of(arch)["5.ratio"] == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"DEPTH": 12}, r"num_heads has 13 values, expected a list of 12, one for each layer"),
        ({"DEPTH": None}, "depth is missing"),
        ({"DEPTH": 10**9}, "depth=1000000000, expected a whole number, 1 to 1000"),
        ({"EMBED_DIM": "wide"}, "embed_dim='wide', expected a whole number, 1 or more"),
        ({"EMBED_DIM": 10**6}, r"blocks\[0\]\.channels=1000000, expected 1 to 65536"),
        ({"EMBED_DIM": [192] * 12 + [216]}, r"embed_dim=\[192, 216\], expected one width for all layers"),
        ({"NUM_HEADS": 3}, "num_heads has 3, expected a list of 13"),
        ({"NUM_HEADS": [3] * 12 + [2.5]}, "num_heads=2.5, expected a whole number"),
        ({"MLP_RATIO": [4] * 12 + [-1]}, "mlp_ratio=-1, expected a number above 0"),
        ({"MLP_RATIO": [4] * 12 + [[4]]}, "mlp_ratio=a list, expected a number"),
        ({"MLP_RATIO": [4] * 12 + [float("nan")]}, "mlp_ratio=nan, expected a number"),
        ({"MLP_RATIO": [4] * 12 + [0.001]}, r"blocks\[13\]\.inner=0, expected 1 to 65536"),
    ],
)
def test_settings_that_are_none_are_one_line_that_names_the_field(change, said):
    with pytest.raises(InvalidArchitecture, match=said) as caught:
        read(yaml.safe_dump({"RETRAIN": TINY | change}))
    assert str(caught.value).startswith("AutoFormer settings: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mlp_ratio: [1, num_heads: 2", r"^AutoFormer settings, line 1 column \d+: no YAML"),
        ("- mlp_ratio: num_heads", "expected a section RETRAIN"),
        ("RETRAIN: [mlp_ratio, num_heads]", "expected a section RETRAIN"),
        ("SEARCH_SPACE: {MLP_RATIO: [4], NUM_HEADS: [3]}", "mlp_ratio is missing; a space has no network"),
        ("mlp_ratio: [4] # num_heads " + "x" * 100_000, "characters, expected at most 100000"),
    ],
)
def test_a_text_that_is_no_settings_is_one_line(text, said):
    assert looks_like(text)
    with pytest.raises(InvalidArchitecture, match=said) as caught:
        read(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "arch",
    [
        Architecture((Block("conv", 8),)),
        VIT_TINY.decode({knob.name: knob.choices[0] for knob in VIT_TINY.knobs}),
        transformer(Sizes(), 8, 192, [(3, 4.0)]),
    ],
    ids=["convolution", "vit-tiny", "small patches"],
)
def test_a_network_of_another_form_has_no_such_settings(arch):
    with pytest.raises(InvalidArchitecture, match="expected patches of 16 pixels"):
        write(arch)


@pytest.mark.parametrize("inner", [1, 7, 100, 191, 333, 767])
def test_any_hidden_width_survives_the_text(inner):
    arch = transformer(Sizes(), 16, 192, [(3, 1.0)])
    encoder = Block("vit_encoder", 192, 1, inner=inner, heads=3, head_width=64)
    arch = Architecture((arch.blocks[0], encoder, arch.blocks[2]))
    assert read(write(arch)) == (arch, 3)
