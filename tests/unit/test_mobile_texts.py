"""Texts of MobileNetV3, NAS-Bench-Macro and ResNet-20 networks: what is read, and what is refused in one line."""

import json
from dataclasses import replace

import numpy as np
import pytest

from search_spaces import SPACES
from search_spaces.arch import Architecture, Block, InvalidArchitecture
from search_spaces.block_limits import check_block
from search_spaces.formats import FORMATS, format_of, read_published, write_published
from search_spaces.mobilenet import Elastic, MobileNetSpace, MobileStage

OFA = {"ks": [3] * 20, "e": [3] * 20, "d": [2] * 5}
WRITTEN = {
    "mobilenetv3-ofa": "ofa",
    "mobilenetv3-ofa-w1.2": "ofa",
    "mobilenetv3-binas": "binas",
    "nas-bench-macro": "nas-bench-macro",
    "resnet20-channels": "resnet20-channels",
}


@pytest.mark.parametrize("name", WRITTEN)
def test_every_member_has_a_text_that_reads_back(name):
    rng = np.random.default_rng(0)
    for _ in range(20):
        arch = SPACES[name].sample(rng)
        text = write_published(arch)
        assert format_of(text) == WRITTEN[name]
        assert read_published(text) == (arch, 3)
        assert "\n" not in text


@pytest.mark.parametrize("name", [*WRITTEN, "mobilenetv3-small-images", "mobilenetv3-tiny-images"])
def test_a_network_that_the_text_cannot_hold_is_written_as_json(name):
    arch = SPACES[name].sample(np.random.default_rng(0))
    assert Architecture.from_json(write_published(arch, 1)) == arch


def test_one_number_stands_for_all_positions():
    assert read_published('{"ks": 3, "e": 3, "d": 2}') == read_published(json.dumps(OFA))


def test_positions_beyond_the_depth_have_no_effect():
    other = {**OFA, "ks": [3, 3, 7, 5] * 5, "e": [3, 3, 6, 4] * 5}
    assert read_published(json.dumps(other)) == read_published(json.dumps(OFA))


def test_repeats_are_blocks_without_stride():
    arch, _ = read_published("[['ds_r1_k3_s1_c16_nre'], ['ir_r3_k5_s2_e4_c24_nsw'], ['cn_r1_k1_s1_c96_nr6']]")
    assert [b.stride for b in arch.blocks[2:5]] == [2, 1, 1]
    assert [b.act for b in arch.blocks] == ["hard_swish", "relu", "silu", "silu", "silu", "relu6", "hard_swish"]
    assert read_published(write_published(arch))[0] == arch


def test_the_readme_quotes_are_dropped():
    text = "[['ds_r1_k3_s1_e1_c16_nre'], ['cn_r1_k1_s1_c960']]"
    assert read_published(f'"{text}"') == read_published(text)


def binas(token):
    return f"[['ds_r1_k3_s1_e1_c16_nre'], ['{token}', 'ir_r1_k3_s1_e3_c24'], ['cn_r1_k1_s1_c960']]"


MALFORMED = {
    "ofa syntax": ('{"ks": [3', "no JSON or Python literal"),
    "ofa short": (json.dumps({**OFA, "ks": [3] * 19}), "ks has 19 numbers, expected a list of 20"),
    "ofa value": (json.dumps({**OFA, "ks": [3] * 19 + [9]}), r"ks\[19\]=9, expected one of \(3, 5, 7\)"),
    "ofa depth": (json.dumps({**OFA, "d": [2, 2, 5, 2, 2]}), r"d\[2\]=5, expected one of \(2, 3, 4\)"),
    "ofa type": (json.dumps({**OFA, "e": [True] * 20}), r"e\[0\]=True, expected"),
    "ofa missing": ('{"ks": 3, "e": 3}', "d has nothing, expected a list of 5"),
    "ofa unknown": ('{"ks": 3, "e": 3, "d": 2, "q": 1}', "unknown field 'q'"),
    "ofa width": ('{"ks": 3, "e": 3, "d": 2, "wid": 1.1}', "wid=1.1, expected 1.0 or 1.2"),
    "ofa width list": ('{"ks": 3, "e": 3, "d": 2, "wid": [1]}', r"wid=\[1\], expected 1.0 or 1.2"),
    "binas syntax": ("[['ds_r1_k3_s1_e1_c16'", "no list of lists"),
    "binas nesting": ("[['ds_r1_k3_s1_e1_c16'], 3]", r"got .*expected \[\["),
    "binas type": (binas("er_r1_k3_s1_e3_c24"), "stage 1, block 0 'er_r1.*: type 'er', expected one of ds, ir, cn"),
    "binas missing": (binas("ir_r1_k3_s1_c24"), "stage 1, block 0 .*: e is missing"),
    "binas option": (binas("ir_r1_k3_s1_e3_c24_noskip"), "'noskip', expected r, k, s"),
    "binas activation": (binas("ir_r1_k3_s1_e3_c24_nxx"), "'nxx', expected"),
    "binas twice": (binas("ir_r1_k3_k5_s1_e3_c24"), "k stands twice"),
    "binas part": (binas("ir_r1_k3_s1_e2.5_c24"), "e=2.5, expected a whole number"),
    "binas gate": (binas("ir_r1_k3_s1_e3_c24_se0.5"), "se=0.5, expected se0.25"),
    "binas expansion": (binas("ir_r1_k3_s1_e1_c24"), "e=1, expected 2 or more"),
    "binas even": (binas("ir_r1_k4_s1_e3_c24"), "kernel=4, expected an odd number"),
    "binas repeats": (binas("ir_r999_k3_s1_e3_c24"), "r=999, expected 1 to 100"),
    "binas late stride": (
        binas("ir_r1_k3_s2_e3_c24', 'ir_r1_k3_s2_e3_c24"),
        "block 1 .*: s=2, expected 1 but in the first",
    ),
    "macro short": ("macro:0121", "4 digits, expected macro: and eight digits"),
    "macro digit": ("macro:01210213", "digit 8 is '3'"),
    "resnet count": ("resnet20:16-16", "2 numbers, expected 19 or 20"),
    "resnet width": ("resnet20:" + "-".join(["20"] * 19), r"width 1 is '20', expected one of \(4, 8, 12, 16\)"),
    "resnet word": ("resnet20:" + "-".join(["4"] * 18 + ["x"]), "width 19 is 'x'"),
}


@pytest.mark.parametrize(("text", "said"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_text_is_one_line_that_names_the_place(text, said):
    with pytest.raises(InvalidArchitecture, match=said) as caught:
        read_published(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["ofa", "binas", "nas-bench-macro", "resnet20-channels"])
def test_a_foreign_network_has_no_text(name):
    for arch in (Architecture((Block("conv", 8),)), SPACES["zen-tiny"].sample(np.random.default_rng(0))):
        with pytest.raises(InvalidArchitecture, match="expected"):
            FORMATS[name].write(arch, 3)


def test_the_spaces_are_as_large_as_the_papers_say():
    assert SPACES["mobilenetv3-ofa"].cardinality == (9**2 + 9**3 + 9**4) ** 5  # about 2e19
    assert SPACES["mobilenetv3-binas"].cardinality == (12**2 + 12**3 + 12**4) ** 5
    assert SPACES["nas-bench-macro"].cardinality == 6561
    assert SPACES["resnet20-channels"].cardinality == 4**7 * 8**6 * 16**6


def test_neighbouring_stages_differ_in_width():
    with pytest.raises(ValueError, match=r"mine: stages of \[24, 24\] channels, expected neighbours to differ"):
        MobileNetSpace(
            "mine", (), (MobileStage(24, 2, "relu"), MobileStage(24, 1, "relu")), (), Elastic((2,), (3,), (3,))
        )


@pytest.mark.parametrize(("field", "value"), [("kernel", 3), ("stride", 2), ("depth", 2)])
def test_a_pooled_convolution_is_one_by_one_and_alone(field, value):
    block = Block("pooled_conv", 8, 1)
    check_block(block)
    with pytest.raises(InvalidArchitecture, match=f"{field}={value}, expected 1 for pooled_conv"):
        check_block(replace(block, **{field: value}))
